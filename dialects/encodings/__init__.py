"""How the zeros of a weight lie: descriptions, what each keeps and costs, the cheapest one. NumPy only."""

from .detect import detect
from .schemes import (
    ENCODINGS,
    NM,
    Bcr,
    Block,
    Dense,
    Encoding,
    IllegalEncodingError,
    Pattern,
    Punched,
    Unstructured,
    csr_bytes,
    encoding_of,
    nonzeros,
)

__all__ = [
    "ENCODINGS",
    "NM",
    "Bcr",
    "Block",
    "Dense",
    "Encoding",
    "IllegalEncodingError",
    "Pattern",
    "Punched",
    "Unstructured",
    "csr_bytes",
    "detect",
    "encoding_of",
    "nonzeros",
]
