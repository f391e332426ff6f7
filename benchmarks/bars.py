"""The bars: what a record must show. Figures only; nothing is measured here."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

Record = dict[str, Any]

GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class Bar:
    """`value(record)` of the measurement `measurement` is to be `limit` or more; with `at_most`, `limit` or less."""

    measurement: str
    workload: str
    what: str
    limit: float
    value: Callable[[Record], float]
    unit: str = "x"
    at_most: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
    """A bar and its measured value; None where the record is missing or a candidate of it did not take part."""

    bar: Bar
    value: float | None
    missing: str = ""

    @property
    def met(self) -> bool | None:
        """None where there is no value."""
        if self.value is None:
            return None
        return self.value <= self.bar.limit if self.bar.at_most else self.value >= self.bar.limit


class MissingError(Exception):
    """A candidate did not take part; the text says why."""


def median_ms(record: Record, name: str) -> float:
    """Median latency of a candidate. Raises `MissingError`."""
    if name not in record["entries"]:
        raise MissingError(f"{name}: {record['skipped'].get(name, 'it was not measured')}")
    return record["entries"][name]["latency"]["median_ms"]


def faster(slow: str, fast: str) -> Callable[[Record], float]:
    """How many times faster the second candidate is than the first, by medians."""
    return lambda record: median_ms(record, slow) / median_ms(record, fast)


def faster_in_kernels(slow: str, fast: str) -> Callable[[Record], float]:
    """As `faster`, by the time inside kernels: a call from Python takes as long as a kernel of one token."""

    def value(record: Record) -> float:
        median_ms(record, slow), median_ms(record, fast)
        return sum(record["kernels_ms"][slow].values()) / sum(record["kernels_ms"][fast].values())

    return value


def _share_of_sgemm(record: Record) -> float:
    ours, sgemm = (record["flops"][name] / median_ms(record, name) for name in (_16X1, "NumPy sgemm 1024^3"))
    return ours / sgemm


_16X1, _4X1, _BCR, _95 = (f"Secateur {s}" for s in ("90 % 16x1", "90 % 4x1", "90 % BCR 4x16", "95 % 16x1"))
_DEEPSPARSE = "DeepSparse 90 % unstructured"
_BERT = "bert-base"


_INT8_90, _INT8_70, _SQUAD = "Secateur 90 % 4x1 int8", "Secateur 70 % 4x1 int8", "Secateur pruned int8"


def _int8(workload: str, ours: str, other: str, limit: float) -> Bar:
    return Bar("bert-base-int8", workload, f"faster than {other}", limit, faster(other, ours))


def _bert(workload: str, ours: str, other: str, limit: float) -> Bar:
    return Bar(_BERT, workload, f"faster than {other}", limit, faster(other, ours))


def _one_token(scheme: str, ours: str, limit: float, weights: str = "") -> Bar:
    dense = f"Secateur dense{weights}"
    workload = f"linear 3072x768, 1 token, 90 %, {scheme}{weights}"
    return Bar(
        "linear-1-token", workload, f"kernel faster than {dense}", limit, faster_in_kernels(dense, ours + weights)
    )


BARS = (
    _bert("BERT-base 90 %, bands of 16 rows", _16X1, "LiteRT dense", 8),
    _bert("BERT-base 90 %, bands of 16 rows", _16X1, "OpenVINO dense", 6),
    _bert("BERT-base 90 %, bands of 16 rows", _16X1, _DEEPSPARSE, 2.4),
    _bert("BERT-base 90 %, bands of 4 rows", _4X1, "LiteRT dense", 6.5),
    _bert("BERT-base 90 %, bands of 4 rows", _4X1, _DEEPSPARSE, 2),
    _bert("BERT-base 90 %, BCR 4x16", _BCR, "LiteRT dense", 5),
    _bert("BERT-base 90 %, BCR 4x16", _BCR, _DEEPSPARSE, 1.6),
    _bert("BERT-base 95 %, bands of 16 rows", _95, "LiteRT dense", 11),
    Bar("bert-base-threads", "BERT-base 90 %, bands of 16 rows, 2 threads", "faster than 1 thread", 1.75,
        faster("Secateur, threads: 1", "Secateur, threads: 2")),
    _bert("BERT-base dense", "Secateur dense", "LiteRT dense", 1),
    Bar("minilm-l6", "MiniLM-L6 80 %, BCR 4x16", "faster than LiteRT dense", 4,
        faster("LiteRT dense", "Secateur 80 % BCR 4x16")),
    Bar("linear-128-tokens", "linear 3072x768, 128 tokens, 90 %", "faster than torch.sparse CSR", 14,
        faster("torch.sparse CSR", _16X1)),
    Bar("linear-128-tokens", "linear 3072x768, 128 tokens, 90 %", "faster than SciPy CSR", 14,
        faster("SciPy CSR", _16X1)),
    _one_token("bands of 16 rows", _16X1, 5),
    _one_token("BCR 4x16", _BCR, 4),
    _one_token("bands of 16 rows", _16X1, 4, ", int8"),
    _one_token("BCR 4x16", _BCR, 4, ", int8"),
    Bar(_BERT, "BERT-base 90 %, bands of 16 rows", "FLOP/s of NumPy's sgemm 1024^3", 0.85, _share_of_sgemm, "of"),
    *(_int8(*bar) for bar in (
        ("BERT-base 90 %, int8", _INT8_90, "LiteRT int8 dense", 4.5),
        ("BERT-base 90 %, int8", _INT8_90, "LiteRT dense", 15),
        ("BERT-base 70 %, int8", _INT8_70, "LiteRT int8 dense", 2.2),
        ("BERT-base 70 %, int8", _INT8_70, "LiteRT dense", 7.5),
        ("BERT-base dense, int8", "Secateur dense int8", "LiteRT int8 dense", 1.0),
        ("BERT-base 90 %, int8", _INT8_90, _DEEPSPARSE, 4),
        ("BERT-base 90 %, int8", _INT8_90, "DeepSparse 90 % 1x4 int8", 1.5),
        ("BERT-base 70 %, int8", _INT8_70, "DeepSparse 70 % 1x4 int8", 1.5),
    )),
    Bar("squad", "MiniLM-L6 SQuAD, pruned, int8", "faster than LiteRT int8 dense", 2.3,
        faster("LiteRT int8 dense", _SQUAD)),
    Bar("squad", "MiniLM-L6 SQuAD, pruned, int8", "faster than LiteRT dense", 7, faster("LiteRT dense", _SQUAD)),
    Bar("compilation", "compile BERT-base, import to bundle", "time", 40, lambda r: r["seconds"], "s", True),
    Bar("compilation", "compile BERT-base, import to bundle", "peak memory", 4,
        lambda r: r["peak_memory_bytes"] / GIB, "GiB", True),
    Bar(_BERT, "BERT-base 90 %, BCR 4x16", "padding from packing", 5,
        lambda r: 100 * r["padding_fraction"], "%", True),
)  # fmt: skip
"""In the order of the table."""


def judge(records: Mapping[str, Record]) -> list[Result]:
    """Every bar with the value that the records (by measurement) give it."""
    results = []
    for bar in BARS:
        record = records.get(bar.measurement)
        try:
            if record is None:
                raise MissingError(f"'{bar.measurement}' was not measured")
            results.append(Result(bar, bar.value(record)))
        except MissingError as error:
            results.append(Result(bar, None, str(error)))
    return results
