"""Schemes: how the zeros of a weight lie. What each keeps, costs and prunes to stands in one file. NumPy only."""

from .bcr import Bcr
from .block import Block
from .dense import Dense
from .detect import detect
from .encoding import Encoding, IllegalEncodingError, csr_bytes, nonzeros
from .kgs import Kgs
from .nm import NM
from .pattern import Pattern
from .pruning import Pruning, SchemeError, Units
from .punched import Punched
from .registry import ENCODINGS, PRUNINGS, encoding_of, pruning_of
from .unstructured import Unstructured

__all__ = [
    "ENCODINGS",
    "NM",
    "PRUNINGS",
    "Bcr",
    "Block",
    "Dense",
    "Encoding",
    "IllegalEncodingError",
    "Kgs",
    "Pattern",
    "Pruning",
    "Punched",
    "SchemeError",
    "Units",
    "Unstructured",
    "csr_bytes",
    "detect",
    "encoding_of",
    "nonzeros",
    "pruning_of",
]
