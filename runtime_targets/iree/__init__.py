"""IREE: a level-4 module becomes text that IREE compiles, a parameter archive, and a session that runs them.

Only this package knows IREE. Names are imported when they are first used, so that running a bundle
needs neither the compiler nor MLIR.
"""

from typing import TYPE_CHECKING

from secateur.dialects.lazy_names import lazy_names

if TYPE_CHECKING:
    from .assembly import Assembly, AssemblyError, assemble
    from .compile import CompilationError, compile_assembly
    from .parameters import ParameterError, write_parameters
    from .session import Session, SessionError

_HOMES = {
    "Assembly": "assembly",
    "AssemblyError": "assembly",
    "CompilationError": "compile",
    "ParameterError": "parameters",
    "Session": "session",
    "SessionError": "session",
    "assemble": "assembly",
    "compile_assembly": "compile",
    "write_parameters": "parameters",
}

__all__ = [
    "Assembly",
    "AssemblyError",
    "CompilationError",
    "ParameterError",
    "Session",
    "SessionError",
    "assemble",
    "compile_assembly",
    "write_parameters",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
