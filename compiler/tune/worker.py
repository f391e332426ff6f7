"""The program of a worker process: it calls one function after the other and sends back what they return.

A candidate runs here and nowhere else, so that one that crashes, hangs or takes the memory ends this process and not
the search. Started by `workers.Worker` with the number of a connected socket, the parent's process id and the limit of
memory.
"""

import ctypes
import gc
import importlib
import os
import resource
import signal
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

from .errors import CandidateError

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serves calls until the other side closes the connection."""
    _die_with(int(sys.argv[2]))
    connection = Connection(int(sys.argv[1]))
    _limit_memory(int(sys.argv[3]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a compiler prints belongs to no one's result.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    while True:
        try:
            reference, arguments = connection.recv()
        except (EOFError, OSError):
            return
        connection.send(_answer(reference, arguments))


def _answer(reference: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    """`("ok", result)` of the function `module:name`, or `(kind, text)` of its failure."""
    module, _, name = reference.partition(":")
    try:
        return "ok", getattr(importlib.import_module(module), name)(*arguments)
    except CandidateError as error:
        return error.kind, str(error)
    except MemoryError:
        gc.collect()
        return "memory", "it needs more memory than a candidate may have"
    except BaseException as error:
        return "crashed", f"{type(error).__name__}: {error}\n{traceback.format_exc()}"


def _limit_memory(limit: int) -> None:
    """At most `limit` bytes of address space (0: any), and no core files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _die_with(parent: int) -> None:
    """Lets the system end this process with its parent, which may be killed at any moment."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
