"""The folders of the user in which programs keep what they may make again, and what they may not."""

import os
import pwd
from pathlib import Path

from .errors import SecateurError

_BELOW_HOME = {"XDG_CACHE_HOME": ".cache", "XDG_DATA_HOME": ".local/share"}


def user_folder(variable: str) -> Path:
    """The folder that `XDG_CACHE_HOME` or `XDG_DATA_HOME` names, or its place in the home folder where that is unset.

    An empty `HOME` counts as unset: the home folder is then the one in the table of users.
    Raises `SecateurError` where that has none.
    """
    chosen = os.environ.get(variable)
    return Path(chosen).expanduser() if chosen else _home(variable) / _BELOW_HOME[variable]


def _home(variable: str) -> Path:
    if os.environ.get("HOME"):
        return Path.home()
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise SecateurError(
            f"the home folder is unknown: HOME is not set and the table of users lacks this one; set HOME or {variable}"
        ) from None
