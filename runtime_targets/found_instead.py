"""What stands where a bundle is expected."""

import os
import zipfile
from pathlib import Path

MANIFEST = "manifest.json"
MAKE = "`secateur compile MODEL -o OUT` makes a bundle of a Hugging Face folder"

_KINDS = {
    ".mlir": "a file of IR",
    ".mlirbc": "a file of IR",
    ".vmfb": "a module of IREE, as bundles hold one for each target",
    ".irpa": "a parameter archive, as bundles hold them",
    ".safetensors": "a file of weights",
    ".bin": "a file of weights",
    ".pt": "a file of weights",
    ".pth": "a file of weights",
    ".ckpt": "a file of weights",
    ".onnx": "a model for another runtime",
    ".tflite": "a model for another runtime",
    ".npz": "a file of arrays",
    ".npy": "a file of arrays",
}


def is_bundle(path: str | os.PathLike[str]) -> bool:
    """Whether `path` looks like a bundle: a folder with a manifest, or a `.zip`."""
    path = Path(path)
    return path.suffix == ".zip" or (path / MANIFEST).is_file()


def no_bundle(path: str | os.PathLike[str]) -> str | None:
    """One sentence on what `path` is instead, with the command that makes a bundle; None for what may be a bundle."""
    path = Path(path)
    if not path.exists():
        return f"there is no bundle at '{path}'; {MAKE}"
    if path.is_dir():
        if (path / MANIFEST).is_file():
            return None
        if (path / "config.json").is_file():
            how = f"`secateur compile {path} -o OUT` makes a bundle of it"
            return f"'{path}' is a Hugging Face folder and no bundle; {how}"
        found = "a folder without manifest.json" if any(path.iterdir()) else "an empty folder"
        return f"'{path}' is {found} and no bundle; {MAKE}"
    if path.name == MANIFEST:
        return f"'{path}' is the manifest of a bundle; name the folder '{path.parent}' that it lies in"
    kind = _KINDS.get(path.suffix.lower())
    if kind is None and path.suffix != ".zip" and not zipfile.is_zipfile(path):
        kind = "a file that is no ZIP archive" if path.is_file() else "no folder and no file"
    return None if kind is None else f"'{path}' is {kind} and no bundle; {MAKE}"
