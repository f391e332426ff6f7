"""Deploying: what is pushed, what is checked first, and what is left after every fault."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from secateur.commands.app import main
from secateur.compiler.measure.deploy import deploy
from secateur.compiler.measure.self_test import SelfTestError
from secateur.runtime_targets.devices import DeviceError, open_device, staging
from secateur.runtime_targets.devices.runner_folder import RUNNER_FILES
from secateur.runtime_targets.manifest import BundleError

A76 = "android-arm64:cortex-a76"


def test_code_and_programs_go_onto_a_phone_and_run(phone, emulated, make_bundle):
    done = deploy(make_bundle(), "adb")
    assert (done.device, done.target) == ("adb:PHONE1", A76)
    assert 0 < done.self_test.relative_l2 < 1e-6
    assert {"runner/iree-run-module", "weights/shared.irpa", "android-arm64-cortex-a76/model.vmfb"} <= set(done.pushed)
    assert len(done.pushed) == len(RUNNER_FILES) + 2 and not done.copied and not done.skipped
    # Nothing but what is listed is there: no staging folder, no input or output of the self-test.
    (model,) = (name for name in phone.folders() if name.startswith("model-"))
    (runner,) = (name for name in phone.folders() if name.startswith("runner-"))
    assert done.folder == f"/data/local/tmp/secateur/{model}"
    expected = {f"{runner}/{name}" for name in RUNNER_FILES}
    assert set(phone.files()) == expected | {f"{model}/{n}" for n in done.pushed if not n.startswith("runner/")}
    assert any("never run on a phone" in note for note in done.notes)


def test_a_second_deployment_pushes_nothing(phone, emulated, make_bundle):
    path = make_bundle()
    first, files, pushed = deploy(path), phone.files(), len(phone.pushed)
    second = deploy(path)
    # The self-test's input is all that goes there; it runs every time.
    assert [name for name in phone.pushed[pushed:] if not re.search(r"/call-\w+-input-0\.npy", name)] == []
    assert (second.pushed, second.copied, second.skipped) == ({}, {}, first.pushed)
    assert second.self_test is not None and phone.files() == files


def test_new_weights_replace_the_old_version_and_nothing_else(phone, emulated, make_bundle):
    old, other = deploy(make_bundle(seed=1)), deploy(make_bundle(name="another"))
    new = deploy(make_bundle(seed=2))
    assert set(new.pushed) == {"weights/shared.irpa"}
    assert set(new.copied) == {"android-arm64-cortex-a76/model.vmfb"}
    assert new.removed == (old.folder.rpartition("/")[2],)
    kept = {new.folder.rpartition("/")[2], other.folder.rpartition("/")[2]}
    assert {name for name in phone.folders() if not name.startswith("runner-")} == kept


def test_two_deployments_at_once_take_turns(make_bundle, tmp_path, monkeypatch):
    """Each is another version of one model, which would remove the files that the other is putting there."""
    paths = [make_bundle(seed=seed, targets=["host-cpu"]).rename(tmp_path / f"{seed}.bundle") for seed in (1, 2)]
    events, fill = [], staging._fill

    def slow(device, plan, progress):
        events.append("begins")
        fill(device, plan, progress)
        time.sleep(0.5)
        events.append("ends")

    monkeypatch.setattr(staging, "_fill", slow)
    stages: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(deploy, path, "local", progress=stages.append) for path in paths]
        done = [job.result() for job in jobs]
    assert events == ["begins", "ends"] * 2
    assert "waiting for another deployment to local" in stages
    assert all(one.self_test is not None for one in done)
    (left,) = [folder for folder in (tmp_path / "data/secateur/local").iterdir() if folder.is_dir()]
    assert str(left) in {one.folder for one in done}


def test_a_damaged_file_on_the_phone_is_replaced(phone, emulated, make_bundle):
    path = make_bundle()
    done = deploy(path)
    (phone.root / done.folder.lstrip("/") / "weights/shared.irpa").write_bytes(b"something else")
    again = deploy(path)
    assert set(again.pushed) == {"weights/shared.irpa"} and again.self_test is not None
    assert deploy(path).pushed == {}


def test_a_failed_self_test_leaves_the_version_before(phone, emulated, make_bundle):
    deploy(make_bundle(seed=1))
    files = phone.files()
    with pytest.raises(SelfTestError, match=r"^the code for target 'android-arm64:cortex-a76' fails its self-test: "):
        deploy(make_bundle(seed=2, error=0.5))
    assert phone.files() == files


def test_weights_that_give_no_number_fail_the_self_test(phone, emulated, make_bundle):
    weights = np.full((64, 64), np.nan, np.float32)
    with pytest.raises(SelfTestError, match="relative L2 nan"):
        deploy(make_bundle(weights=weights))
    assert not [name for name in phone.folders() if not name.startswith("runner-")]


def test_a_bundle_without_a_self_test(phone, emulated, make_bundle):
    done = deploy(make_bundle(self_test=False))
    assert done.self_test is None and "the bundle has no self-test" in done.notes[-1]


def test_the_target_follows_the_cpu(serve, emulated, make_bundle):
    serve("OLD", cpu="cortex-a53", cpu_features="fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid")
    path = make_bundle()
    assert deploy(path).target == "android-arm64:generic"
    with pytest.raises(DeviceError, match=r"needs the CPU features asimddp, asimdhp.* which the device lacks"):
        deploy(path, target=A76)
    with pytest.raises(BundleError, match="has no code for the target 'android-arm64'; it has: "):
        deploy(path, target="android-arm64")


def test_another_abi(serve, emulated, make_bundle):
    (phone,) = serve("EMULATOR", abis="x86_64,arm64-v8a")
    with pytest.raises(DeviceError, match="it is made for aarch64, and the device is x86_64"):
        deploy(make_bundle(targets=(A76,)))
    assert phone.pushed == []


def test_too_little_space(serve, emulated, make_bundle):
    (phone,) = serve("PHONE1", free_kb=40_000)
    with pytest.raises(DeviceError, match=r"^'adb:PHONE1' has 41\.0 MB free, and 42\.\d MB are needed"):
        deploy(make_bundle())
    assert phone.pushed == []


@pytest.mark.parametrize("capacity_bytes", [1_000_000, 9_127_000])
def test_a_disk_that_fills_up(phone, emulated, make_bundle, capacity_bytes):
    phone.capacity_bytes = capacity_bytes
    with pytest.raises(DeviceError, match=r"^'.*' cannot be copied to 'adb:PHONE1': its disk is full$"):
        deploy(make_bundle())
    # In the second case the programs were complete when it happened.
    assert len(phone.folders()) == (capacity_bytes > 9_000_000) and not [f for f in phone.files() if "new" in f]


def test_a_cable_that_is_pulled(phone, emulated, make_bundle):
    path = make_bundle()
    phone.pulled_after_bytes = 6_000_000
    with pytest.raises(DeviceError, match=r"^'lib.*' cannot be copied to 'adb:PHONE1': it is offline: unplug it"):
        deploy(path)
    # Nothing could be cleaned up, but nothing has its name either.
    assert [name for name in phone.folders() if not name.startswith(".new-")] == []
    phone.pulled_after_bytes, phone.state, phone.pushed_bytes = None, "device", 0
    done = deploy(path)
    assert done.self_test is not None and not [f for f in phone.files() if "new" in f]
    # What had arrived whole was not pushed again.
    assert 0 < phone.pushed_bytes < 6_000_000 and "runner/iree-run-module" in done.skipped


def test_a_deployment_that_is_killed(phone, emulated, make_bundle):
    path = make_bundle()
    process = None

    def kill(pushed_bytes):
        if pushed_bytes > 5_000_000:
            process.send_signal(signal.SIGKILL)

    phone.on_data = kill
    process = subprocess.Popen([sys.executable, "-m", "secateur.commands.app", "deploy", str(path), "-q"])
    assert process.wait(60) == -signal.SIGKILL
    phone.on_data = None
    assert [name for name in phone.folders() if not name.startswith(".new-")] == []
    assert deploy(path).self_test is not None
    assert not [f for f in phone.files() if "new" in f]


def test_an_interrupted_deployment_cleans_up(phone, emulated, make_bundle, monkeypatch):
    def interrupt(pushed_bytes):
        if pushed_bytes > 5_000_000:
            os.kill(os.getpid(), signal.SIGINT)
            phone.on_data = None
            time.sleep(0.2)

    phone.on_data = interrupt
    assert main(["deploy", str(make_bundle()), "-q"]) == 130
    # What the phone still had to do when adb ended is done at once; nothing of it is left.
    time.sleep(0.2)
    assert phone.folders() == []


@pytest.mark.parametrize("device", ["local", "qemu:cortex-a76"])
def test_other_devices(device, make_bundle, request, tmp_path):
    if device != "local":
        request.getfixturevalue("emulated")
    path = make_bundle(seed=1)
    done = deploy(path, device)
    assert done.target == {"local": "host-cpu"}.get(device, A76)
    assert done.self_test.relative_l2 < 1e-6 and done.folder.startswith(str(tmp_path / "data/secateur"))
    assert deploy(path, device).pushed == {}
    new = deploy(make_bundle(seed=2), device)
    assert set(new.pushed) == {"weights/shared.irpa"} and len(new.removed) == 1


def test_what_is_deployed_needs_no_second_push_to_run(phone, emulated, make_bundle):
    from secateur.runtime_targets.bundle import open_bundle
    from secateur.runtime_targets.devices import RemoteSession

    path = make_bundle()
    done = deploy(path)
    before = len(phone.pushed)
    with open_bundle(path, runnable=False) as bundle:
        x = np.ones((4, 64), np.float32)
        RemoteSession(open_device("adb", folder=done.folder), bundle, A76).run([x])
    assert len(phone.pushed) == before + 1


def test_the_command(phone, emulated, make_bundle, capsys):
    path = make_bundle()
    assert main(["deploy", str(path), "--device", "adb:PHONE1"]) == 0
    shown = capsys.readouterr()
    assert "pushed       weights/shared.irpa (20.5 kB)" in shown.out and "passed: relative L2" in shown.out
    assert "never run on a phone" in shown.err
    assert main(["deploy", str(path), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["pushed"] == {} and value["self_test"]["relative_l2"] < 1e-6
    assert main(["deploy", str(path), "--device", "adb:PHONE"]) == 1
    assert "error: there is no phone 'PHONE'; attached: PHONE1" in capsys.readouterr().err
    assert main(["deploy", "nothing.bundle"]) == 2
    assert "there is no bundle at 'nothing.bundle'" in capsys.readouterr().err


def test_the_command_without_adb(monkeypatch, make_bundle, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    assert main(["deploy", str(make_bundle())]) == 1
    assert "'adb', which is not installed" in capsys.readouterr().err
    assert shutil.which("adb") is None
