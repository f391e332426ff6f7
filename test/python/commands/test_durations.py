"""Durations on the command line."""

import pytest
import typer

from secateur.commands.durations import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90s", 90), ("10m", 600), ("10min", 600), ("1.5h", 5400), ("2h", 7200), ("1h30m", 5400), ("7", 7)),
        *(("500ms", 0.5), ("1m 30s", 90), (" 2 Hours ", 7200), ("1s500ms", 1.5), ("1d", 86400)),
    ],
)
def test_durations_are_read(text, seconds):
    assert seconds_of(text, "--budget") == pytest.approx(seconds)


def test_a_number_alone_counts_the_units_of_the_option():
    assert seconds_of("20", "--target-latency", plain=0.001) == pytest.approx(0.02)
    assert seconds_of("0.5s", "--target-latency", plain=0.001) == 0.5


@pytest.mark.parametrize("text", ["", "m", "-5m", "0", "0s", "ten", "nan", "inf", "30m1h", "1h1h", "9" * 400, "5 5"])
def test_what_is_no_duration_is_refused_with_the_option(text):
    with pytest.raises(typer.BadParameter, match="accepted are durations above 0") as caught:
        seconds_of(text, "--budget")
    assert caught.value.param_hint == "--budget"
