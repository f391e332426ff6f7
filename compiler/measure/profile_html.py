"""A profile as one page that needs nothing but itself: figures, a timeline by layer, tables. No scripts, no network.

The timeline has a line per numbered part of the model (`encoder.layer.3`), one more before and after them; a block is a
call, as wide as its time. Colour says the kernel and is never the only thing that does: blocks carry their names, and
the table below holds every figure of the picture.
"""

from collections.abc import Sequence
from html import escape

from .module_paths import layer_of, short_path
from .profile import RECOMPILE, BundleProfile
from .profile_rows import Row

# Pairs that stay apart for colour-blind readers (Okabe and Ito), with text that has a contrast of 4.5 or more.
_COLOURS = (
    ("#56b4e9", "#000"), ("#e69f00", "#000"), ("#009e73", "#000"), ("#f0e442", "#000"),
    ("#0072b2", "#fff"), ("#cc79a7", "#000"), ("#d55e00", "#000"), ("#999999", "#000"),
)  # fmt: skip

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #5c5c5c; --line: #d5d5d5; --band: #f4f4f4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececec; --paper: #161616; --soft: #b0b0b0; --line: #3a3a3a; --band: #212121; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 90rem; color: var(--ink); background: var(--paper);
  font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; max-width: 60rem; } .soft { color: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem; margin: 1rem 0; }
dl div { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .8rem; }
dt { color: var(--soft); font-size: .85rem; } dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1rem; padding: 0; margin: .5rem 0 1rem; list-style: none; }
.key i { display: inline-block; width: .9rem; height: .9rem; border-radius: .2rem; margin-right: .35rem;
  vertical-align: -.1rem; }
.lane { display: grid; grid-template-columns: 10rem minmax(0, 1fr) 5rem; gap: .6rem; align-items: center;
  margin: .2rem 0; font-size: .85rem; }
.lane > :first-child { overflow-wrap: anywhere; }
.lane > :last-child { text-align: right; font-variant-numeric: tabular-nums; }
.bar { display: flex; height: 1.7rem; gap: 1px; margin: 0; padding: 0; list-style: none; }
.bar li { overflow: hidden; white-space: nowrap; text-overflow: clip; font-size: .75rem; line-height: 1.7rem;
  padding-left: .25rem; border-radius: .15rem; min-width: 0; }
.bar li.thin { padding: 0; color: transparent !important; }
.scroll { overflow-x: auto; } .scroll:focus { outline: 2px solid #0072b2; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 16rem; overflow-wrap: anywhere; }
thead th { position: sticky; top: 0; background: var(--paper); }
tbody tr:nth-child(even) { background: var(--band); }
tfoot td { font-weight: 600; border-top: 2px solid var(--line); }
td small { color: var(--soft); display: block; } .meter { display: inline-block; width: 4rem; height: .6rem;
  background: var(--line); border-radius: .3rem; overflow: hidden; margin-right: .4rem; }
.meter b { display: block; height: 100%; background: #009e73; }
"""


def page(found: BundleProfile) -> str:
    """The page of a profile, as HTML."""
    total = found.total
    colours = {row.kernel: _COLOURS[i % len(_COLOURS)] for i, row in enumerate(found.by_kernel())}
    facts = [
        ("latency, median", f"{found.latency_median_ms:.2f} ms"),
        ("in dispatches", f"{total.median_ms:.2f} ms"),
        ("outside of dispatches", f"{found.outside_ms:.2f} ms"),
        ("kept operations", _figure(None if total.flops is None else total.flops / 1e9, " GFLOP", 2)),
        ("speed in dispatches", _figure(total.gflops, " GFLOP/s", 0)),
        ("of the roofline", _figure(_hundred(total.roofline_fraction), " %", 0)),
    ]
    if found.one_thread_latency_median_ms is not None:
        faster = found.one_thread_latency_median_ms / found.latency_median_ms
        facts.append((f"{found.threads} threads against one", f"{faster:.2f} times"))
    cards = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    hint = "" if any(row.known for row in found.rows) else f"<p role=note>{escape(RECOMPILE)}</p>"
    place = "a GPU" if found.peak is None else f"{found.threads} thread{'s' if found.threads > 1 else ''}"
    heading = f"{escape(found.model)} on {place}"
    limits = "".join(f"<p class=soft>{escape(sentence)}</p>" for sentence in found.limits)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Profile of {escape(found.model)}</title><style>{_STYLE}</style></head>\n<body><main>"
        f"<h1>Profile of {heading}</h1><p class=soft>{escape(found.bundle)}; times and rates: medians of "
        f"{found.runs} runs</p>{hint}"
        f"<dl>{cards}</dl>{limits}"
        f"<h2>Timeline by layer</h2>{_key(colours)}{_timeline(found.rows, colours)}"
        f"<h2>By kernel</h2>{_table(found.by_kernel(), total, 'kernels, the longest first')}"
        f"<h2>Every call, in order</h2>{_table(found.rows, total, 'calls in the order of execution')}"
        "</main></body></html>\n"
    )


def _figure(value: float | None, unit: str = "", digits: int = 1) -> str:
    return "?" if value is None else f"{value:.{digits}f}{unit}"


def _hundred(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _key(colours: dict[str, tuple[str, str]]) -> str:
    items = "".join(f'<li><i style="background:{c}"></i>{escape(k)}</li>' for k, (c, _) in colours.items())
    return f'<ul class=key aria-label="colours of the kernels">{items}</ul>'


def lanes(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Neighbouring calls of one layer; a call without a layer of its own between two of one layer stays with them."""
    found: list[tuple[str, list[Row]]] = []
    for row in rows:
        layer = layer_of(row.paths)
        if not found or layer != found[-1][0]:
            found.append((layer, []))
        found[-1][1].append(row)
    return found


def _timeline(rows: Sequence[Row], colours: dict[str, tuple[str, str]]) -> str:
    groups = lanes(rows)
    longest = max((sum(r.median_ms for r in group) for _, group in groups), default=0.0) or 1.0
    lines = []
    for layer, group in groups:
        time = sum(row.median_ms for row in group)
        name = layer or short_path(group[0].paths).partition(",")[0] or group[0].kernel
        blocks = "".join(_block(row, row.median_ms / time if time else 0.0, longest, colours) for row in group)
        lines.append(
            f'<div class=lane role=group aria-label="{escape(name)}, {time:.3f} ms"><span>{escape(name)}</span>'
            f'<ol class=bar style="width:{100 * time / longest:.2f}%">{blocks}</ol><span>{time:.3f} ms</span></div>'
        )
    return "".join(lines)


def _block(row: Row, part: float, longest: float, colours: dict[str, tuple[str, str]]) -> str:
    background, ink = colours[row.kernel]
    text = f"{row.kernel}: {row.median_ms:.3f} ms"
    detail = f"{text}, {short_path(row.paths)}" if row.paths else text
    if row.bound:
        share = _figure(_hundred(row.roofline_fraction), "", 0)
        detail += f", {_figure(row.gflops)} GFLOP/s, {share} % of the roofline"
    thin = " class=thin" if row.median_ms / longest < 0.06 else ""
    style = f"flex:{part:.4f} 1 0;background:{background};color:{ink}"
    return f'<li{thin} style="{style}" title="{escape(detail)}">{escape(text)}</li>'


def _table(rows: Sequence[Row], total: Row, caption: str) -> str:
    scaling = total.one_thread_median_ms is not None
    names = ["dispatch and module", "calls", "median ms", "share"]
    names += ["1 thread, median ms", "speed-up", "at most", "busy threads", "workgroups"] if scaling else []
    names += [
        "MFLOP",
        "on bytes",
        "padding",
        "weights kB",
        "indices kB",
        "read kB",
        "written kB",
        "GFLOP/s",
        "GB/s",
        "FLOP/B",
    ]
    names += ["roofline", "bound"]
    head = "".join(f"<th scope=col>{name}</th>" for name in names)
    body = "".join(f"<tr>{_cells(row, total, scaling)}</tr>" for row in rows)
    return (
        f'<div class=scroll tabindex=0 role=region aria-label="{caption}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody><tfoot><tr>{_cells(total, total, scaling)}</tr></tfoot></table></div>"
    )


def _cells(row: Row, total: Row, scaling: bool) -> str:
    module = f"<small>{escape(short_path(row.paths))}</small>" if row.paths and row is not total else ""
    fraction = row.roofline_fraction
    meter = "?"
    if fraction is not None:
        width = min(100.0, 100 * fraction)
        meter = f'<span class=meter aria-hidden=true><b style="width:{width:.0f}%"></b></span>{100 * fraction:.0f} %'
    sizes = (row.weight_bytes, row.index_bytes, row.read_bytes, row.written_bytes)
    cells = [str(row.calls), f"{row.median_ms:.3f}"]
    cells += [f"{100 * row.median_ms / total.median_ms:.1f} %" if total.median_ms else "?"]
    if scaling:
        cells += [_figure(row.one_thread_median_ms, "", 3), _figure(row.speedup, "", 2)]
        cells += ["" if row is total else f"{row.most_speedup:.2f}", _figure(row.busy_threads, "", 2)]
        cells += ["" if row is total else str(row.workgroups)]
    cells += [_figure(None if row.flops is None else row.flops / 1e6)]
    cells += [_figure(row.byte_flops / 1e6), _figure(row.padding_flops / 1e6)]
    cells += [f"{value / 1e3:.1f}" if row.known else "?" for value in sizes]
    cells += [_figure(row.gflops), _figure(row.gb_s), _figure(row.intensity), meter, row.bound or "?"]
    first = f"<td>{escape(row.kernel)}{module}</td>"
    return first + "".join(f"<td>{cell}</td>" for cell in cells)
