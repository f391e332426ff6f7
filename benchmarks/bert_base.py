"""Times a pruned BERT-base: Secateur beside PyTorch and stock IREE on the same dense weights, in turns.

12 layers, hidden size 768, 12 heads, FFN 3072, random weights (latency and correctness do not depend on training),
batch 1, fp32. Every encoder linear is pruned by magnitude in one shot. Run: `make bench`.
"""

import argparse
import json
import os
import sys


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", nargs="+", default=["4x16", "16x1"], help="BCR blocks, rows x columns")
    parser.add_argument("--sparsity", type=float, default=0.9, help="fraction of encoder weights to remove")
    parser.add_argument("--layers", type=int, default=12, help="encoder layers")
    parser.add_argument("--tokens", type=int, default=128, help="sequence length")
    parser.add_argument("--threads", type=int, default=1, help="threads of every candidate")
    parser.add_argument("--rounds", type=int, default=20, help="interleaved rounds")
    parser.add_argument("--json", action="store_true", help="print JSON on standard output")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    # Before torch is imported: its thread pools read this once.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch
    from transformers import BertConfig, BertModel

    from secateur.compiler import compile_model
    from secateur.compiler.measure.baselines import stock_iree, torch_eager
    from secateur.compiler.measure.timing import interleave, ratio
    from secateur.compression.prune import parse_scheme, prune_model

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    torch.manual_seed(0)
    dense = BertModel(BertConfig(num_hidden_layers=options.layers), add_pooling_layer=False).eval()
    generator = torch.Generator().manual_seed(0)
    shape = (1, options.tokens)
    ids = torch.randint(0, dense.config.vocab_size, shape, generator=generator)
    inputs = {"input_ids": ids, "attention_mask": torch.ones(shape, dtype=torch.int64)}
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}

    candidates, details = {}, {}
    for block in options.blocks:
        name = f"secateur bcr {block}"
        say(f"pruning and compiling: {name}")
        pruned, _ = prune_model(dense, parse_scheme("bcr", block), options.sparsity)
        compiled = compile_model(pruned, inputs, threads=options.threads)
        details[name] = compiled.report
        candidates[name] = lambda model=compiled: model.run(arrays)
    say("compiling: stock IREE")
    stock, eager = stock_iree(pruned, inputs, options.threads), torch_eager(pruned, options.threads)
    candidates["stock IREE"] = lambda: stock(arrays)
    candidates["PyTorch"] = lambda: eager(arrays)
    say("timing")
    latencies = interleave(candidates, rounds=options.rounds)

    result = {
        "model": f"BERT, {options.layers} layers, random weights, {options.tokens} tokens, batch 1, fp32",
        "threads": options.threads,
        "latency_ms": {name: vars(latency) for name, latency in latencies.items()},
        "times_faster_than": {
            name: {other: ratio(latencies[other], latencies[name]) for other in ("stock IREE", "PyTorch")}
            for name in details
        },
        "sparsity_fraction": {name: report.sparsity_fraction for name, report in details.items()},
        "relative_l2": {name: max(d.relative_l2 for d in report.verification) for name, report in details.items()},
    }
    if options.json:
        print(json.dumps(result, indent=2))
        return 0
    print(f"{result['model']}, {options.threads} thread(s), {latencies['PyTorch'].runs} interleaved runs")
    print(f"{'':24}{'min':>9}{'p25':>9}{'median':>9}  ms   times faster than stock IREE / PyTorch")
    for name, latency in latencies.items():
        line = f"{name:24}{latency.min_ms:9.1f}{latency.p25_ms:9.1f}{latency.median_ms:9.1f}"
        if name in details:
            faster = result["times_faster_than"][name]
            line += f"       {faster['stock IREE']:.2f} / {faster['PyTorch']:.2f}"
            line += f"   ({details[name].sparsity_fraction:.1%} of the encoder's weights zero)"
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
