"""What goes wrong when latencies choose blocks and rates."""

from secateur.dialects.errors import SecateurError


class LatencyError(SecateurError):
    """Nothing can be chosen. The text is one sentence: what was found and what is accepted."""
