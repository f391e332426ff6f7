"""Short names of values, for keys of records."""

import hashlib
import json
from typing import Any


def digest_of(*parts: Any) -> str:
    """A short digest of JSON-able values."""
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=12).hexdigest()
