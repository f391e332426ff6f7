"""Models made small: pruning, training, and rates chosen by latency."""
