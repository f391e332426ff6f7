"""Compiled models that generate: their text beside transformers' own, their bundles, and what is refused."""

import re

import numpy as np
import pytest
import torch

from secateur.compiler import compile_model
from secateur.compiler.errors import CompileError
from secateur.compiler.pipeline.levels import Lowering, pipeline_to
from secateur.dialects.errors import SecateurError
from secateur.frontends import Generation, import_decoder
from secateur.runtime_targets import BundleError, GenerationError, Generator, InputError, load, open_bundle
from secateur.runtime_targets.generation import greedy
from secateur.runtime_targets.iree import assemble, compile_assembly
from secateur.runtime_targets.targets import get_target

from .causal_models import FAMILIES, causal_model, greedy_text

PROMPT = np.random.default_rng(5).integers(2, 90, 21).tolist()
TOKENS = 64


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """The model, and its bundle for chunks of two sizes."""
    model, path = causal_model("Llama"), tmp_path_factory.mktemp("generation") / "llama.bundle"
    compile_model(model, context=100, chunks=(4, 16)).save(path)
    return model, path


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "Llama"])
def test_greedy_text_is_that_of_transformers(family):
    model = causal_model(family)
    compiled = compile_model(model, context=TOKENS + len(PROMPT), chunks=(16,), cache=False)
    expected = greedy_text(model, PROMPT, TOKENS)
    # A text of one word would be right by chance.
    assert len(set(expected)) > 5
    assert list(compiled.generator().generate(PROMPT, TOKENS)) == expected


def test_a_bundle_generates(llama):
    model, path = llama
    generator = Generator(load(path))
    assert (generator.context, generator.chunks) == (100, [16, 4])
    expected = greedy_text(model, PROMPT, TOKENS)
    assert len(set(expected)) > 5
    for threads in (1, 2):
        generator = Generator(load(path, threads=threads))
        assert list(generator.generate(PROMPT, TOKENS)) == expected
        # Another text, over what the first left, and the first once more.
        other = PROMPT[::-1][:6]
        assert list(generator.generate(other, 20)) == greedy_text(model, other, 20)
        assert list(generator.generate(PROMPT, TOKENS)) == expected


def test_generating_stops_after_a_token_that_says_so(llama):
    model, path = llama
    expected = greedy_text(model, PROMPT, 30)
    stop = expected[10]
    found = list(Generator(load(path)).generate(PROMPT, 30, stop=[stop]))
    assert found == expected[: expected.index(stop) + 1]
    assert list(Generator(load(path)).generate(PROMPT, 0)) == []


def test_a_text_may_be_taken_up_again_anywhere(llama):
    generator = Generator(load(llama[1]))
    ids = [*PROMPT, *generator.generate(PROMPT, 10)]
    before = generator.logits(ids[8:12], 8)
    generator.logits([3], 9)
    assert np.abs(generator.logits([ids[11]], 11) - before).max() > 1e-3
    np.testing.assert_allclose(generator.logits(ids[8:12], 8), before, rtol=1e-5, atol=1e-6)


def test_a_text_that_another_was_begun_over_does_not_go_on(llama):
    runner = load(llama[1])
    first, second = (Generator(runner).generate(np.array(PROMPT), 5) for _ in range(2))
    next(first)
    assert len(list(second)) == 5
    with pytest.raises(GenerationError, match="another text was begun on this model"):
        next(first)


def test_a_prompt_is_cut_into_the_fewest_full_chunks(llama):
    generator = Generator(load(llama[1]))
    assert list(generator.calls(43)) == [(0, 16), (16, 32), (32, 36), (36, 40), (40, 43)]
    assert list(generator.calls(17, 3)) == [(3, 19), (19, 20)]


def test_what_cannot_be_generated_is_a_sentence(llama):
    generator = Generator(load(llama[1]))
    for arguments, message in (
        (([], 3), "expected a prompt of 1 token or more, found none"),
        ((PROMPT, 80), "a prompt of 21 tokens and 80 that follow do not fit the context of 100 tokens"),
        ((PROMPT, -1), "a prompt of 21 tokens and -1 that follow do not fit"),
    ):
        with pytest.raises(GenerationError, match=message):
            generator.generate(*arguments)
    with pytest.raises(GenerationError, match="the tokens 99 to 100 do not fit the context of 100 tokens"):
        generator.logits([3, 4], 99)
    with pytest.raises(GenerationError, match="a call takes 1 to 16 tokens, found 17"):
        generator.logits([3] * 17, 0)
    with pytest.raises(GenerationError, match="the model gives logits that are no numbers"):
        greedy(np.array([0.0, np.nan], np.float32))
    with pytest.raises(InputError, match="input 'input_ids' holds 90; accepted are 0 to 89"):
        generator.logits([90], 0)


def test_positions_are_checked_without_a_generator_too(llama):
    runner = load(llama[1])
    with pytest.raises(InputError, match="input 'position' holds 100; accepted are 0 to 99"):
        runner.run({"input_ids": np.array([[3]]), "position": np.array([100], np.int32)}, "decode")
    with pytest.raises(InputError, match="3 tokens from position 98 on do not fit the context of 100 tokens"):
        runner.run({"input_ids": np.array([[3, 4, 5]]), "position": np.array([98], np.int32)}, "prefill_4")
    with pytest.raises(BundleError, match="the model has no function 'main'; it has: decode, prefill_16, prefill_4"):
        runner(input_ids=np.array([[3]]))


def test_a_bundle_lists_functions_and_state(llama):
    manifest = open_bundle(llama[1]).manifest
    assert sorted(manifest.functions) == ["decode", "prefill_16", "prefill_4", "reset"]
    capacity = manifest.state["key_0"].shape[1]
    assert sorted(manifest.state) == ["key_0", "key_1", "value_0", "value_1"] and capacity >= 100 + 15
    assert len(manifest.layers) == 15
    assert manifest.targets[0].note.startswith("verified against PyTorch")


def test_no_cache_is_copied(llama):
    """Every cache has memory of its own, and a token changes it where it is."""
    imported = import_decoder(llama[0], Generation(110, (4,)))
    lowering = Lowering(imported.module, imported.weights)
    lowering.lower("structural", pipeline_to("structural"))
    for level in ("scheduled", "kernels"):
        lowering.lower(level, pipeline_to(level))
    target = get_target("host-cpu")
    assembly = assemble(imported.module, imported.weights, target=target)
    stream = compile_assembly(assembly, target, flags=["--compile-to=stream"]).decode()
    size = 4 * 16 * int(re.search(r"tensor<1x(\d+)x16xf32>", assembly.text)[1])

    def function(name):
        text = stream[stream.index(f"util.func public @{name}") :]
        return text[: text.find("util.func public", 1)]

    assert len(re.findall(rf"stream\.cmd\.fill [^\n]* for %c{size}\]", function("reset"))) == 4
    decode = function("decode")
    assert f"for %c{4 * size}] : !stream.resource<variable>" in decode
    copied = [int(n) for n in re.findall(r"stream\.cmd\.copy [^\n]*, %c(\d+) :", decode)]
    assert copied and max(copied) < 64


def test_a_model_that_does_not_generate_is_none(tmp_path):
    path = tmp_path / "b"
    compile_model(torch.nn.Linear(3, 2), {"input": torch.zeros(1, 3)}).save(path)
    with pytest.raises(GenerationError, match="the model has the functions main; one that generates has 'decode' and"):
        Generator(load(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 32, "target": "android-vulkan"}, "is a GPU, on which caches of keys and values were never tried"),
        ({"context": 32, "batch": 2}, "a batch of 2 is not accepted with a 'context'"),
        ({"context": 32, "tune": True}, "tuning is not accepted with a 'context'"),
        ({"context": 32, "verify": "layers"}, "'verify=\"layers\"' is not accepted with a 'context'"),
        ({"chunks": (4,)}, "'chunks' are those of prompts; they need a 'context'"),
        ({"context": 200}, "a context of 200 tokens exceeds the 128 positions"),
    ],
)
def test_what_is_not_there_yet_is_refused(options, message):
    with pytest.raises(SecateurError, match=message) as caught:
        compile_model(causal_model("GPT2"), **options)
    assert isinstance(caught.value, CompileError) or "positions" in message
