"""A search as people look at it: one HTML file, and a PNG where matplotlib is at hand."""

from .facts import Facts, Reference, facts_of, missed, said
from .page import write_report

__all__ = ["Facts", "Reference", "facts_of", "missed", "said", "write_report"]
