"""`secateur profile` and its page."""

import html.parser
import json

import pytest


class _Page(html.parser.HTMLParser):
    """Checks that tags nest, and collects what a reader sees and what a browser would fetch or run."""

    VOID = ("meta", "br", "hr")

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.fetched, self.words = [], set(), [], []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href", "srcset", "onclick")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.words.append(data)


def test_the_table_names_kernels_modules_and_limits(secateur, bundle):
    code, out, err = secateur("profile", bundle, "--runs", "3")
    assert code == 0
    assert "encoder.layer.*.attention.self.query/key/value" in "".join(out.split("\n  ")).replace("\n", "").replace(
        " ", ""
    )
    assert "times and rates: medians of 3 runs" in out and "best" not in out
    assert "outside of dispatches" in out and "GFLOP/s (multiply-adds on registers)" in out
    assert "compile the model again" not in err


def test_operations_on_bytes_are_told(secateur, byte_bundle, bundle, tmp_path):
    page = tmp_path / "profile.html"
    code, out, _ = secateur("profile", byte_bundle, "--runs", "3", "--html", page)
    assert code == 0
    assert "of them on bytes; at " in out and "GOP/s (products of bytes" in out
    words = " ".join(_Page(page.read_text()).words)
    assert "on bytes" in words and "GOP/s (products of bytes" in words
    assert "of them on bytes" not in secateur("profile", bundle, "--runs", "3").out


def test_by_layer_prints_every_call(secateur, bundle):
    code, out, _ = secateur("profile", bundle, "--runs", "3", "--by-layer")
    assert code == 0
    assert out.count("attention_4x16") == 2
    assert out.index("encoder.layer.0.output.dense") < out.index("encoder.layer.1.output.dense")


def test_json_and_page(secateur, bundle, tmp_path):
    page = tmp_path / "profile.html"
    code, out, _ = secateur("profile", bundle, "--runs", "3", "--threads", "2", "--scaling", "--json", "--html", page)
    assert code == 0
    value = json.loads(out)
    assert value["threads"] == 2 and value["total"]["speedup"] > 0
    # One statistic, whatever the figure.
    rows = [value["total"], *value["kernels"], *value["dispatches"]]
    assert value["statistic"] == "median" and not [key for part in [value, *rows] for key in part if "min_ms" in key]
    for row in rows:
        assert row["speedup"] == pytest.approx(row["one_thread_median_ms"] / row["median_ms"])
        assert row["gflops"] is None or row["gflops"] == pytest.approx(row["flops"] / row["median_ms"] / 1e6)
    text = page.read_text()
    parsed = _Page(text)
    assert not parsed.fetched and not parsed.seen & {"script", "link", "img", "iframe"}
    assert "http" not in text and "url(" not in text and "@import" not in text
    assert "prefers-color-scheme: dark" in text
    words = " ".join(parsed.words)
    for row in value["dispatches"]:
        assert row["kernel"] in words
    assert "encoder.layer.1.attention.self.query/key/value" in words


def test_a_page_escapes_names(bundle):
    import dataclasses

    from secateur.compiler.measure.profile import profile
    from secateur.compiler.measure.profile_html import page

    found = profile(bundle, runs=2)
    rows = tuple(dataclasses.replace(row, paths=("<script>alert(1)</script>",)) for row in found.rows)
    parsed = _Page(page(dataclasses.replace(found, rows=rows, model="<b>&\"'")))
    assert "script" not in parsed.seen and "<b>&\"'" in " ".join(parsed.words)


def test_an_old_bundle_gets_times_and_a_hint(secateur, bundle, tmp_path):
    from secateur.runtime_targets.bundle import open_bundle

    opened = open_bundle(bundle)
    target = opened.manifest.targets[0].model_copy(update={"dispatches": ()})
    opened.manifest = opened.manifest.model_copy(update={"targets": (target,)})
    opened.save(tmp_path / "old.zip")
    code, out, err = secateur("profile", tmp_path / "old.zip", "--runs", "2")
    assert code == 0
    assert "compile the model again" in err
    assert "attention_4x16" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["profile", "/nowhere"], 2, "there is no bundle at '/nowhere'"),
        (["profile", "/nowhere", "--scaling"], 2, "needs --threads of 2 or more"),
        (["profile", "/nowhere", "--threads", "0"], 2, "--threads"),
        (["profile"], 2, "BUNDLE"),
    ],
)
def test_errors_are_a_sentence(secateur, arguments, code, message):
    found, out, err = secateur(*arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
