"""A causal language model as level 1: `prefill_N` for each size of a chunk, and `decode`, over caches that are state.

func.func @decode(%ids, %position, %key_0, ...) -> (logits, new key_0, ...)      as exported
->
ml_program.global private mutable @key_0(dense<0.0> : tensor<1x384x64xf32>) : tensor<1x384x64xf32> {sparsity.state}
func.func @decode(%ids, %position) -> logits                                     loads and stores @key_0 ...
"""

from collections.abc import Collection

import torch
from torch import nn
from torch._ops import OpOverload
from torch_mlir import ir

from secateur.dialects.entry_points import DECODE, PREFILL
from secateur.frontends.axes import TOKENS, TensorSpec
from secateur.frontends.importer import CallForm, ImportedModel, prepare_context
from secateur.frontends.padding_mask import TOKEN_COUNT
from secateur.frontends.programs import export_program, import_programs

from .cache_in_ir import convert_cache_ops, keep_in_state
from .model import CachedDecoder, Generation, cached_decoder, example_caches


def import_decoder(module: nn.Module, generation: Generation, context: ir.Context | None = None) -> ImportedModel:
    """Imports a causal language model of transformers for sequences of one batch, whose keys and values stay.

    The functions take token ids [1, tokens] and the position [1] of the first; they give the logits [1, vocabulary]
    of the last. What lies in the caches from `position` on is written anew: a sequence may be continued, or taken up at
    any earlier token. Raises `FrontendError` as `import_model` does, and for a model that is none of these.
    """
    decoder, shape = cached_decoder(module, generation)
    name = type(module).__name__
    sizes = {f"{PREFILL}{tokens}": tokens for tokens in sorted(generation.chunks)} | {DECODE: 1}
    caches = example_caches(shape, generation)

    def programs(apart: Collection[OpOverload]) -> dict[str, torch.export.ExportedProgram]:
        return {
            function: export_program(decoder, (*_example(tokens), *caches), name, apart)
            for function, tokens in sizes.items()
        }

    imported, weights = import_programs(programs, decoder, prepare_context(context), name, convert_cache_ops)
    names = [f"{what}_{layer}" for what in ("key", "value") for layer in range(len(shape.keys))]
    with imported.context, ir.Location.unknown():
        keep_in_state(imported, dict(zip(names, caches, strict=True)))
    forms = {function: _form(decoder, generation, tokens) for function, tokens in sizes.items()}
    return ImportedModel(imported.context, imported, weights, forms)


def _example(tokens: int) -> tuple[torch.Tensor, ...]:
    one = torch.ones(1, dtype=torch.int32)
    given = torch.zeros(1, tokens, dtype=torch.int64), one * 0
    return (*given, one) if tokens > 1 else given


def _form(decoder: CachedDecoder, generation: Generation, tokens: int) -> CallForm:
    vocabulary = decoder.module.config.get_text_config().vocab_size
    inputs = [
        TensorSpec("input_ids", (1, tokens), "int64", (None, TOKENS if tokens > 1 else None)),
        TensorSpec("position", (1,), "int32", (None,), limit=generation.context),
    ]
    if tokens > 1:
        inputs.append(TensorSpec(TOKEN_COUNT, (1,), "int32", (None,), counts=TOKENS))
    return CallForm(inputs, [TensorSpec("logits", (1, vocabulary), "float32", (None, None))], "dict")
