"""What is measured: each function runs one workload and returns its record, which is a line of the results."""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from . import models
from .peers.contest import Candidate, Score, contest
from .peers.registry import PEERS, ROUNDED, Peer
from .squad_contest import squad_candidates
from .workshop import Workshop

Record = dict[str, Any]

SGEMM_FLOPS = 2 * 1024**3
PROFILES = 5


def bert_base(shop: Workshop, rounds: int) -> Record:
    """BERT-base on one thread: every engine dense, DeepSparse with unstructured zeros, Secateur with every scheme."""
    dense, inputs = models.bert_base(), models.bert_inputs()
    unstructured = models.pruned(dense, "unstructured", None, 0.9)
    ours = {
        "Secateur 90 % 16x1": models.pruned(dense, "bcr", "16x1", 0.9),
        "Secateur 90 % 4x1": models.pruned(dense, "bcr", "4x1", 0.9),
        "Secateur 90 % BCR 4x16": models.pruned(dense, "bcr", "4x16", 0.9),
        "Secateur 95 % 16x1": models.pruned(dense, "bcr", "16x1", 0.95),
        "Secateur dense": dense,
    }
    candidates = [shop.for_secateur(name, module, inputs) for name, module in ours.items()]
    candidates += [
        shop.for_peer(f"{peer.title} dense", peer, dense, inputs)
        for peer in PEERS.values()
        if peer.title != "DeepSparse"
    ]
    candidates.append(shop.for_peer("DeepSparse 90 % unstructured", PEERS["DeepSparse"], unstructured, inputs))
    candidates.append(
        Candidate("NumPy sgemm 1024^3", Peer("NumPy", "numpy_sgemm", ""), candidates[-1].model, compared=False)
    )
    record = run_contest(shop, candidates, rounds)
    bcr = next(c for c in candidates if c.name == "Secateur 90 % BCR 4x16")
    record["padding_fraction"] = _stored_values(bcr) / models.kept_weights(ours[bcr.name]) - 1
    record["flops"] = {
        "Secateur 90 % 16x1": models.remaining_flops(ours["Secateur 90 % 16x1"], models.TOKENS),
        "NumPy sgemm 1024^3": SGEMM_FLOPS,
    }
    return record


def bert_base_int8(shop: Workshop, rounds: int) -> Record:
    """BERT-base on one thread: what people deploy (LiteRT, ONNX Runtime, OpenVINO, rounded), DeepSparse with zeros of
    the kind that it skips in f32 and in int8, and Secateur on bytes.
    """
    dense, inputs = models.bert_base(), models.bert_inputs()
    ours = {"Secateur dense int8": dense}
    for percent in (70, 90):
        for scheme, block in (("bcr", "4x1"), ("bcr", "16x1"), ("tile", "4x4"), ("tile", "1x4")):
            pruned = models.pruned(dense, scheme, block, percent / 100)
            ours[f"Secateur {percent} % {block} int8"] = pruned
    candidates = [shop.for_secateur(name, module, inputs, **models.BYTES) for name, module in ours.items()]
    sixteen = models.pruned(dense, "bcr", "16x1", 0.9)
    candidates.append(shop.for_secateur("Secateur 90 % 16x1", sixteen, inputs))
    peers = [PEERS["LiteRT"], PEERS["OpenVINO"], *ROUNDED.values()]
    candidates += [shop.for_peer(f"{peer.title} dense", peer, dense, inputs) for peer in peers]
    candidates += [
        shop.for_peer(f"DeepSparse {zeros} int8", ROUNDED["DeepSparse int8"], ours[f"Secateur {zeros} int8"], inputs)
        for zeros in ("90 % 1x4", "70 % 1x4")
    ]
    unstructured = models.pruned(dense, "unstructured", None, 0.9)
    candidates.append(shop.for_peer("DeepSparse 90 % unstructured", PEERS["DeepSparse"], unstructured, inputs))
    return run_contest(shop, candidates, rounds)


def squad(shop: Workshop, rounds: int) -> Record:
    """The MiniLM-L6 of `make demo`, dense and at 70 %, in every engine and precision: time of a window and F1."""
    candidates, score = squad_candidates(shop)
    return run_contest(shop, candidates, rounds, score)


def bert_base_threads(shop: Workshop, rounds: int) -> Record:
    """BERT-base at 90 % on one thread and on two, in turns, and the scaling of every kernel."""
    module, inputs = models.pruned(models.bert_base(), "bcr", "16x1", 0.9), models.bert_inputs()
    candidates = [
        shop.for_secateur(f"Secateur, threads: {threads}", module, inputs, threads=threads) for threads in (1, 2)
    ]
    record = run_contest(shop, candidates, rounds)
    from secateur.compiler.measure.profile import profile

    found = profile(candidates[-1].model / "model.bundle", threads=2, scaling=True, progress=shop.progress)
    record["scaling"] = [
        {
            "kernel": row.kernel,
            "calls": row.calls,
            "one_thread_ms": row.one_thread_median_ms,
            "two_threads_ms": row.median_ms,
        }
        for row in found.by_kernel()
    ]
    return record


def minilm_l6(shop: Workshop, rounds: int) -> Record:
    """The shape of MiniLM-L6 on one thread: LiteRT dense and Secateur at 80 % BCR."""
    dense, inputs = models.minilm_l6(), models.bert_inputs()
    ours = shop.for_secateur("Secateur 80 % BCR 4x16", models.pruned(dense, "bcr", "4x16", 0.8), inputs)
    return run_contest(shop, [ours, shop.for_peer("LiteRT dense", PEERS["LiteRT"], dense, inputs)], rounds)


def linear_128_tokens(shop: Workshop, rounds: int) -> Record:
    """One linear layer at 90 %, 128 tokens: Secateur, and compressed sparse rows in PyTorch and SciPy."""
    module, inputs = models.pruned(models.linear(), "bcr", "16x1", 0.9), models.linear_inputs(models.TOKENS)
    candidates = [shop.for_secateur("Secateur 90 % 16x1", module, inputs, repeat=5)]
    for title, adapter in (("torch.sparse CSR", "torch_csr"), ("SciPy CSR", "scipy_csr")):
        candidates.append(shop.for_peer(title, Peer(title, adapter), module, inputs, repeat=5))
    record = run_contest(shop, candidates, rounds)
    record["kernels_ms"] = _kernels(candidates[:1])
    return record


def linear_1_token(shop: Workshop, rounds: int) -> Record:
    """One linear layer, one token: Secateur dense and with every scheme at 90 %, weights of f32 and of int8; the bytes
    of weights that a run reads.
    """
    dense, inputs = models.linear(), models.linear_inputs(1)
    ours = {
        "Secateur dense": dense,
        "Secateur 90 % 16x1": models.pruned(dense, "bcr", "16x1", 0.9),
        "Secateur 90 % 4x1": models.pruned(dense, "bcr", "4x1", 0.9),
        "Secateur 90 % BCR 4x16": models.pruned(dense, "bcr", "4x16", 0.9),
        "Secateur 90 % unstructured": models.pruned(dense, "unstructured", None, 0.9),
    }
    candidates = [
        shop.for_secateur(name + suffix, module, inputs, repeat=50, **options)
        for suffix, options in (("", {}), (", int8", {"weights": "int8"}))
        for name, module in ours.items()
    ]
    record = run_contest(shop, candidates, rounds)
    record["kernels_ms"] = _kernels(candidates)
    record["weight_bytes"] = {
        c.name: sum(f.stat().st_size for f in (c.model / "model.bundle").rglob("*.irpa")) for c in candidates
    }
    return record


def compilation(shop: Workshop, rounds: int) -> Record:
    """BERT-base from the module to a saved bundle without the cache: seconds, and memory of all processes."""
    shop.progress("compiling BERT-base in a process of its own")
    environment = {**os.environ, "SECATEUR_CACHE": "off"}
    environment.pop("OMP_NUM_THREADS", None)
    command = [sys.executable, "-m", f"{__package__}.compile_cost"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"compiling BERT-base failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


MEASUREMENTS: dict[str, Callable[[Workshop, int], Record]] = {
    "bert-base": bert_base,
    "bert-base-int8": bert_base_int8,
    "squad": squad,
    "bert-base-threads": bert_base_threads,
    "minilm-l6": minilm_l6,
    "linear-128-tokens": linear_128_tokens,
    "linear-1-token": linear_1_token,
    "compilation": compilation,
}


def run_contest(shop: Workshop, candidates: list[Candidate], rounds: int, score: Score | None = None) -> Record:
    """All candidates in turns: what each did, with its threads, and why some did not take part."""
    outcome = contest(candidates, environments=shop.environments, rounds=rounds, score=score, progress=shop.progress)
    return {
        "entries": {name: dataclasses.asdict(entry) for name, entry in outcome.entries.items()},
        "threads": {candidate.name: candidate.threads for candidate in candidates},
        "skipped": outcome.skipped,
    }


def _stored_values(candidate: Candidate) -> int:
    """Weights that the kernels of a bundle read: the packed values of every linear layer, padding included."""
    import iree.runtime

    values = 0
    for file in (candidate.model / "model.bundle").rglob("*.irpa"):
        index = iree.runtime.ParameterIndex()
        index.load(str(file), format="irpa")
        values += sum(entry.length // 4 for key, entry in index.items() if key.endswith("/values"))
    return values


def _kernels(candidates: list[Candidate]) -> dict[str, dict[str, float]]:
    """By candidate and kernel, the milliseconds of a run from the start of its first workgroup to the end of its last:
    medians of `PROFILES` profiles, for which the candidates take turns.
    """
    from secateur.runtime_targets.bundle import open_bundle
    from secateur.runtime_targets.profile import profile_bundle

    found: dict[str, list[dict[str, float]]] = {candidate.name: [] for candidate in candidates}
    for candidate in candidates * PROFILES:
        run: dict[str, float] = {}
        for call in profile_bundle(open_bundle(candidate.model / "model.bundle"), threads=candidate.threads).calls:
            run[call.kernel] = run.get(call.kernel, 0.0) + call.median_ms
        found[candidate.name].append(run)
    return {
        name: {kernel: statistics.median(run[kernel] for run in runs) for kernel in runs[0]}
        for name, runs in found.items()
    }
