"""What IR computes: evaluation of every level on arrays, by the NumPy reference and by the execution engine."""
