from secateur.compression.search.scaled import scaled_evenly
from secateur.compression.search.space import Dimension, Space


def _few(candidate):
    return candidate["heads"] + candidate["rate"] < 12


def test_scales_numbers_together_and_leaves_the_rest():
    dimensions = (
        Dimension("layer", (True, False)),
        Dimension("heads", (12, 8, 4)),
        Dimension("rate", (0.0, 0.5, 0.7, 0.8, 0.9)),
        Dimension("scheme", ("bcr 4x1", "bcr 16x1"), 0, ("rate", (0.5, 0.7, 0.8, 0.9))),
    )
    space = Space("some", dimensions)
    found = scaled_evenly(space, 3)
    assert [(c["layer"], c["heads"], c["rate"], c["scheme"]) for c in found] == [
        (True, 12, 0.0, "bcr 4x1"),
        (True, 8, 0.7, "bcr 4x1"),
        (True, 4, 0.9, "bcr 4x1"),
    ]
    # More steps than choices: none twice.
    more = scaled_evenly(space, 30)
    assert len(more) == len({tuple(c.values()) for c in more}) <= 7
    assert scaled_evenly(Space("ruled", dimensions, (_few,)), 3) == found[1:]
