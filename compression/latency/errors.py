"""What goes wrong when latencies choose blocks and rates."""


class LatencyError(Exception):
    """Nothing can be chosen. The text is one sentence: what was found and what is accepted."""
