"""A stand-in for the adb server and a phone behind it, so that the `adb` program itself can be tested without one.

It speaks the protocol of the Android sources (`packages/modules/adb`: OVERVIEW.TXT, SERVICES.TXT, SYNC.TXT and
`shell_protocol.h`) on a TCP port: services of the host, `shell,v2`, and the sync service with STAT/STA2/LST2, SEND,
RECV, DATA, DONE, OKAY and FAIL. The phone is a folder. Its shell is this machine's: names of the phone's files are
changed to names in the folder on the way in and back on the way out, and the aarch64 loader is started by qemu.

The faults of `Phone` and `AdbServer` are set by the tests: states, a full disk, a cable that is pulled.
"""

import dataclasses
import errno
import os
import re
import socketserver
import stat
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

# The version that adb's clients have asked for since 2018: with any other they would restart the server.
VERSION = "0029"
FEATURES = "shell_v2,cmd,stat_v2"
WORDS = {
    "unauthorized": "device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\n"
    "Try 'adb kill-server' if that seems wrong.\nOtherwise check for a confirmation dialog on your device.",
    "offline": "device offline",
}
_STDOUT, _STDERR, _EXIT = 1, 2, 3
# Files of a phone that its shell or the sync service may name.
_PHONE_PATHS = re.compile(r"/(?:data/local/tmp|sys/class/thermal|sys/devices/system/cpu|proc/cpuinfo)\b")
_LOADER = re.compile(r"(\S*ld-linux-aarch64\.so\.1)(?= )")

_CPU_INFO = """processor\t: {0}
BogoMIPS\t: 38.40
Features\t: {1}
CPU implementer\t: 0x41
CPU part\t: 0xd0b

"""
# A cortex-a76 as Linux lists it.
FEATURES_OF_A76 = "fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


@dataclasses.dataclass
class Phone:
    """A phone: its files are under `root`. `state` is the word of `adb devices`; the rest are its faults.

    `capacity_bytes`: what fits on its disk while it is written to (its `df` says `free_kb`); `pulled_after_bytes`: the
    cable is pulled when that many bytes were pushed; `on_data` is called with the bytes pushed so far.
    """

    root: Path
    state: str = "device"
    cpu: str = "cortex-a76"
    cpu_features: str = FEATURES_OF_A76
    abis: str = "arm64-v8a,armeabi-v7a"
    free_kb: int = 8_000_000
    capacity_bytes: int | None = None
    pulled_after_bytes: int | None = None
    on_data: Callable[[int], None] | None = None
    pushed: list[str] = dataclasses.field(default_factory=list)
    pushed_bytes: int = 0
    commands: list[str] = dataclasses.field(default_factory=list)

    def boot(self) -> None:
        """Writes the files that a phone has from the beginning."""
        for folder in ("data/local/tmp", "proc", "sys/class/thermal/thermal_zone0", "bin"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        # Programs are pinned to real cores, so it has those that this process may use; the last is the fastest.
        cores = sorted(os.sched_getaffinity(0))
        (self.root / "proc/cpuinfo").write_text("".join(_CPU_INFO.format(core, self.cpu_features) for core in cores))
        for number, core in enumerate(cores):
            folder = self.root / f"sys/devices/system/cpu/cpu{core}/cpufreq"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "cpuinfo_max_freq").write_text(f"{1_785_600 + 100_000 * number}\n")
        zone = self.root / "sys/class/thermal/thermal_zone0"
        (zone / "type").write_text("cpu-1-0\n")
        (zone / "temp").write_text("38500\n")
        self.program("getprop", f"case $1 in *abilist*) echo {self.abis};; *sdk) echo 34;; esac")
        columns = "Filesystem     1K-blocks Used Available Use% Mounted on"
        self.program("df", f"echo '{columns}'; echo '/dev/block/dm-9 99999999 1 {self.free_kb} 1% /data'")
        self.program("uname", "echo aarch64")
        self.program("cmd", 'echo "cmd: Can\'t find service: $1"; exit 20')

    def program(self, name: str, text: str) -> None:
        """Puts a program of its own into the place of this machine's: `text` is a shell script."""
        program = self.root / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)

    def files(self) -> list[str]:
        """Names of the files and links below Secateur's folder."""
        place = self.root / "data/local/tmp/secateur"
        return sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if not p.is_dir())

    def folders(self) -> list[str]:
        """Names of the folders in Secateur's folder."""
        place = self.root / "data/local/tmp/secateur"
        return sorted(p.name for p in place.iterdir()) if place.exists() else []

    def inside(self, text: str) -> str:
        """The phone's names of files -> those in its folder."""
        return _PHONE_PATHS.sub(lambda found: f"{self.root}{found.group()}", text)

    def run(self, command: str) -> tuple[int, bytes, bytes]:
        """A command of its shell: status, standard output, standard error."""
        self.commands.append(command)
        command = _LOADER.sub(rf"qemu-aarch64 -cpu {self.cpu} \1", self.inside(command))
        environment = {"PATH": f"{self.root / 'bin'}:/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.root, env=environment, stdin=subprocess.DEVNULL, capture_output=True
        )
        own = os.fsencode(self.root)
        return done.returncode, done.stdout.replace(own, b""), done.stderr.replace(own, b"")


class AdbServer(socketserver.ThreadingTCPServer):
    """The server: `phones` by serial. Use as a context manager; clients find it at `address` ($ADB_SERVER_SOCKET)."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, phones: dict[str, Phone]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.phones = phones
        for phone in phones.values():
            phone.boot()

    @property
    def address(self) -> str:
        return f"tcp:127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> "AdbServer":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()


class _Gone(Exception):
    """The client, or the phone, is no longer there."""


class _Refused(Exception):
    """A request is answered with FAIL and this text."""


class _Connection(socketserver.BaseRequestHandler):
    server: AdbServer

    def handle(self) -> None:
        phone: Phone | None = None
        try:
            while True:
                request = self._take(int(self._take(4), 16)).decode()
                try:
                    if request.startswith("host"):
                        phone = self._host(request)
                        if phone is None:
                            return
                    elif phone is None:
                        raise _Refused("no transport")
                    else:
                        return self._service(request, phone)
                except _Refused as refusal:
                    return self._send(b"FAIL" + _block(str(refusal)))
        except (_Gone, OSError):
            return

    def _take(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self.request.recv(count - len(found))
            if not part:
                raise _Gone
            found += part
        return found

    def _send(self, data: bytes) -> None:
        self.request.sendall(data)

    def _host(self, request: str) -> Phone | None:
        """Answers a request to the server itself. Returns the phone that later requests go to, if there is one."""
        if request == "host:version":
            self._send(b"OKAY" + _block(VERSION))
        elif request in ("host:devices", "host:devices-l"):
            lines = [f"{serial}\t{phone.state}\n" for serial, phone in self.server.phones.items()]
            self._send(b"OKAY" + _block("".join(lines)))
        elif request.endswith(":features"):
            self._find(request.removeprefix("host-serial:").removesuffix(":features"))
            self._send(b"OKAY" + _block(FEATURES))
        elif request.startswith("host:tport:"):
            phone = self._find(request.removeprefix("host:tport:").removeprefix("serial:"))
            self._send(b"OKAY" + struct.pack("<Q", 1))
            return phone
        elif request.startswith("host:transport"):
            phone = self._find(request.partition(":")[2].removeprefix("transport:"))
            self._send(b"OKAY")
            return phone
        else:
            raise _Refused(f"unknown host service '{request}'")
        return None

    def _find(self, serial: str) -> Phone:
        phones = self.server.phones
        if serial in ("any", "host", "transport-any"):
            if not phones:
                raise _Refused("no devices/emulators found")
            if len(phones) > 1:
                raise _Refused("more than one device/emulator")
            serial = next(iter(phones))
        if serial not in phones:
            raise _Refused(f"device '{serial}' not found")
        phone = phones[serial]
        if phone.state != "device":
            raise _Refused(WORDS[phone.state])
        return phone

    def _service(self, request: str, phone: Phone) -> None:
        if request == "sync:":
            self._send(b"OKAY")
            self._sync(phone)
        elif request.startswith("shell,v2"):
            self._send(b"OKAY")
            status, out, err = phone.run(request.partition(":")[2])
            # A phone that is unplugged while it works sends nothing more, and no exit status.
            if phone.state != "device":
                raise _Gone
            for kind, data in ((_STDOUT, out), (_STDERR, err), (_EXIT, bytes([status & 255]))):
                for start in range(0, len(data), 1 << 15):
                    part = data[start : start + (1 << 15)]
                    self._send(struct.pack("<BI", kind, len(part)) + part)
        else:
            raise _Refused(f"closed: no service '{request}'")

    def _sync(self, phone: Phone) -> None:
        while True:
            kind, size = struct.unpack("<4sI", self._take(8))
            name = self._take(size).decode() if kind not in (b"QUIT",) else ""
            if kind == b"QUIT":
                return
            if kind == b"SEND":
                self._receive_file(phone, *name.rsplit(",", 1))
            elif kind in (b"STAT", b"STA2", b"LST2"):
                self._stat(kind, Path(phone.inside(name)))
            elif kind == b"RECV":
                self._send_file(Path(phone.inside(name)))
            else:
                return self._fail(f"unknown command {kind!r}")

    def _fail(self, text: str) -> None:
        self._send(struct.pack("<4sI", b"FAIL", len(text)) + text.encode())

    def _stat(self, kind: bytes, path: Path) -> None:
        try:
            found, fault = path.lstat(), 0
        except OSError as error:
            found, fault = os.stat_result((0,) * 10), error.errno or errno.EIO
        if kind == b"STAT":
            return self._send(struct.pack("<4sIII", kind, found.st_mode, found.st_size, int(found.st_mtime)))
        times = (int(found.st_atime), int(found.st_mtime), int(found.st_ctime))
        ids = (found.st_mode, found.st_nlink, found.st_uid, found.st_gid)
        self._send(struct.pack("<4sIQQIIIIQqqq", kind, fault, 0, 0, *ids, found.st_size, *times))

    def _receive_file(self, phone: Phone, name: str, mode: str) -> None:
        path = Path(phone.inside(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        fault = None
        with path.open("xb") as file:
            while True:
                kind, size = struct.unpack("<4sI", self._take(8))
                if kind == b"DONE":
                    break
                data = self._take(size)
                phone.pushed_bytes += len(data)
                if phone.on_data is not None:
                    phone.on_data(phone.pushed_bytes)
                if phone.pulled_after_bytes is not None and phone.pushed_bytes > phone.pulled_after_bytes:
                    phone.state = "offline"
                    raise _Gone
                if fault is None and phone.capacity_bytes is not None and phone.pushed_bytes > phone.capacity_bytes:
                    # adbd says so at once, then throws away what still comes.
                    fault = "write failed: No space left on device"
                    self._fail(fault)
                if fault is None:
                    file.write(data)
        if fault is not None:
            path.unlink()
            raise _Gone
        path.chmod(stat.S_IMODE(int(mode)) | 0o600)
        phone.pushed.append(name)
        self._send(struct.pack("<4sI", b"OKAY", 0))

    def _send_file(self, path: Path) -> None:
        try:
            data = path.read_bytes()
        except OSError as error:
            return self._fail(f"open failed: {os.strerror(error.errno or errno.EIO)}")
        for start in range(0, len(data), 1 << 16):
            part = data[start : start + (1 << 16)]
            self._send(struct.pack("<4sI", b"DATA", len(part)) + part)
        self._send(struct.pack("<4sI", b"DONE", 0))


def _block(text: str) -> bytes:
    data = text.encode()
    return b"%04x" % len(data) + data
