"""Adapters of fake engines, and a model for them: two numbers, doubled."""

import textwrap

import numpy as np
import pytest

ADAPTERS = {
    "doubles": """
        PACKAGES = ("numpy",)

        def load(model):
            print("an engine that prints to standard output")
            return lambda: [2 * array for array in model.inputs.values()]
        """,
    "slow": """
        import time

        def load(model):
            def run():
                time.sleep(0.02)
                return [2 * array for array in model.inputs.values()]
            return run
        """,
    "rounds": """
        def load(model):
            factor = 2 if model.precision == "f32" else 2.2
            return lambda: [factor * array for array in model.inputs.values()]
        """,
    "uneven": """
        import time

        def load(model):
            runs = []
            def run():
                runs.append(1)
                # One run in three is slow: a mean would show it.
                if len(runs) % 3 == 0:
                    time.sleep(0.1)
                return [2 * array for array in model.inputs.values()]
            return run
        """,
    "wrong": """
        def load(model):
            return lambda: [3 * array for array in model.inputs.values()]
        """,
    "other_shape": """
        def load(model):
            return lambda: []
        """,
    "fails_to_load": """
        def load(model):
            raise ValueError("no such op\\nand more")
        """,
    "not_installed": """
        def load(model):
            import an_engine_that_is_not_installed
        """,
    "dies_at_once": """
        import os, sys

        def load(model):
            print("segmentation fault, says the engine", file=sys.stderr)
            sys.stderr.flush()
            os.kill(os.getpid(), 9)
        """,
    "dies_in_its_fifth_run": """
        import os

        def load(model):
            runs = []
            def run():
                runs.append(1)
                if len(runs) == 5:
                    os._exit(3)
                return [2 * array for array in model.inputs.values()]
            return run
        """,
    "hangs": """
        import time

        def load(model):
            time.sleep(60)
        """,
    "tells": """
        import os

        def load(model):
            threads = [model.threads, int(os.environ["OMP_NUM_THREADS"])]
            return lambda: [threads, [os.environ["PIP_NO_INDEX"]]]
        """,
    "spins": """
        import threading

        def load(model):
            def spin():
                while True:
                    pass
            threading.Thread(target=spin, daemon=True).start()
            return lambda: [2 * array for array in model.inputs.values()]
        """,
}


@pytest.fixture(scope="session")
def adapters(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    for name, text in ADAPTERS.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return folder


@pytest.fixture
def doubled(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    np.savez(folder / "inputs.npz", x=np.array([1.0, 2.0], np.float32))
    np.savez(folder / "expected.npz", np.array([2.0, 4.0], np.float32))
    return folder
