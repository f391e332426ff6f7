"""Causal language models with a cache: from PyTorch to level 2, call by call, against PyTorch without a cache."""

import numpy as np
import pytest
import torch
import transformers

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics.evaluation import evaluate
from secateur.frontends import FrontendError, Generation, import_decoder
from secateur.passes.base import PassContext, walk

from .causal_models import MORE_FAMILIES, causal_model

GENERATION = Generation(40, (4,))
OPS = {
    "Llama": {"rms_norm": 5, "rotary": 4, "gated": 2, "cached_attention": 2, "linear": 15},
    "Qwen3": {"rms_norm": 9, "rotary": 4, "gated": 2, "cached_attention": 2, "linear": 15},
    "Gemma": {"rms_norm": 5, "rotary": 4, "gated": 2, "cached_attention": 2, "linear": 15},
    "Phi": {"layer_norm": 3, "rotary": 4, "gated": 0, "cached_attention": 2, "linear": 13},
    "GPT2": {"layer_norm": 5, "rotary": 0, "cached_attention": 2, "linear": 9},
    "OPT": {"layer_norm": 5, "rotary": 0, "cached_attention": 2, "linear": 13},
}


@pytest.mark.parametrize("family", ["Llama", *MORE_FAMILIES])
def test_calls_give_the_logits_of_the_whole_sequence(family):
    model = causal_model(family)
    imported = import_decoder(model, GENERATION, make_context())
    run_pipeline(imported.module, "torch-to-structural", PassContext(weights=imported.weights))
    ids = torch.randint(2, 90, (1, 18), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(input_ids=ids).logits[0].numpy()
    kept: dict[str, np.ndarray] = {}

    def call(begin, end):
        given = [np.zeros((1, 4 if end - begin > 1 else 1), np.int64), np.array([begin], np.int32)]
        given[0][0, : end - begin] = ids[0, begin:end].numpy()
        function = "decode" if end - begin == 1 else "prefill_4"
        given += [np.array([end - begin], np.int32)] if end - begin > 1 else []
        (logits,) = evaluate(imported.module, given, imported.weights, function, kept)
        np.testing.assert_allclose(logits[0], expected[end - 1], rtol=1e-4, atol=1e-4, err_msg=f"{begin} to {end}")

    # Whole chunks and one with padding, single tokens, and again from the middle on, over what was there.
    for begin, end in ((0, 4), (4, 8), (8, 11), (11, 12), (12, 13), (13, 17), (17, 18), (6, 9), (9, 10)):
        call(begin, end)
    assert sorted(kept) == ["key_0", "key_1", "value_0", "value_1"]


@pytest.mark.parametrize("family", OPS)
def test_ops_are_recognised(family):
    imported = import_decoder(causal_model(family), GENERATION, make_context())
    run_pipeline(imported.module, "torch-to-structural", PassContext(weights=imported.weights))
    for function in walk(imported.module, "func.func"):
        names = [op.operation.name for op in walk(function)]
        assert {name: names.count(f"sparsity.{name}") for name in OPS[family]} == OPS[family]


def test_weights_are_shared_by_the_functions_and_a_tied_head_is_the_table():
    model = causal_model("GPT2")
    weights = import_decoder(model, GENERATION, make_context()).weights
    table = model.transformer.wte.weight.detach().numpy()
    assert sum(np.shares_memory(array, table) for array in weights.values()) == 1
    assert sum(array.nbytes for array in weights.values()) < 1.1 * sum(4 * p.numel() for p in model.parameters())


def _refused(model, message, generation=GENERATION):
    with pytest.raises(FrontendError, match=message):
        import_decoder(model, generation, make_context())


def test_models_that_keep_no_such_cache_are_refused():
    sizes = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert = transformers.BertModel(transformers.BertConfig(**sizes, intermediate_size=24))
    _refused(bert, "'BertModel' is no causal language model of transformers, whose 'forward' has no 'logits_to_keep'")
    t5 = transformers.T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2)
    _refused(transformers.T5ForConditionalGeneration(t5), "'T5ForConditionalGeneration' is an encoder and a decoder")
    _refused(torch.nn.Linear(2, 2), "'Linear' is no causal language model of transformers")
    mamba = transformers.MambaConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, state_size=4)
    _refused(
        transformers.MambaForCausalLM(mamba), "'MambaForCausalLM' is no causal language model|keeps something else"
    )
    gemma2 = transformers.Gemma2Config(**sizes, intermediate_size=24, head_dim=8, num_key_value_heads=1)
    _refused(transformers.Gemma2ForCausalLM(gemma2), "'Gemma2Attention' has 'softcap', which attention on a cache does")


def test_contexts_and_chunks_that_cannot_be_are_refused():
    model = causal_model("GPT2")
    _refused(model, "a context of 129 tokens exceeds the 128 positions of 'GPT2LMHeadModel'", Generation(129, (4,)))
    with pytest.raises(FrontendError, match="expected a context of 2 tokens or more, found 1"):
        Generation(1)
    for chunks in ((), (4, 4), (1,)):
        with pytest.raises(FrontendError, match="expected chunks of 2 tokens or more, each once, found"):
            Generation(16, chunks)
