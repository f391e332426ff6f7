"""Booleans in a GPU's memory: words, whatever holds them, and right on the profile that reads no bytes."""

import numpy as np
import pytest
import torch
from torch_mlir import ir

from secateur.compiler import compile_model
from secateur.compiler.pipeline.context import make_context
from secateur.runtime_targets import iree
from secateur.runtime_targets.iree.lavapipe import LavapipeSession
from secateur.runtime_targets.targets import get_target

BASELINE = get_target("android-vulkan")


class Masks(torch.nn.Module):
    """Positions by a sum of booleans, and a causal mask that several ops read: both are tensors between ops."""

    def __init__(self):
        super().__init__()
        self.positions = torch.nn.Embedding(80, 8)

    def forward(self, input_ids, attention_mask):
        real = input_ids.ne(1)
        x = self.positions(real.long().cumsum(1) * real)
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        causal = torch.logical_and(causal, attention_mask.bool()[:, None])
        scores = (x @ x.transpose(1, 2)).masked_fill(~causal, -1e4)
        return scores.softmax(-1) @ x, causal.float().sum(-1)


@pytest.mark.parametrize("tokens", [64, 7])
def test_a_model_with_boolean_tensors_agrees_with_pytorch(lavapipe, tokens):
    torch.manual_seed(0)
    inputs = {"input_ids": torch.randint(0, 4, (2, tokens)), "attention_mask": torch.ones(2, tokens, dtype=torch.int64)}
    found = compile_model(Masks().eval(), inputs, target="android-vulkan", cache=False).report.targets[0]
    assert not found.unverified_reason


def assembled(body, weights=None, signature="(%x: tensor<8x8xi32>) -> tensor<8x8xi32>", result="tensor<8x8xi32>"):
    text = f"func.func @main{signature} {{\n{body}\n return %r : {result}\n}}"
    with make_context(), ir.Location.unknown():
        return iree.assemble(ir.Module.parse(text), weights or {}, target=BASELINE)


MAP, ROWS = "affine_map<(i, j) -> (i, j)>", "affine_map<(i, j) -> (i)>"
SELECT = f"""
    %e = tensor.empty() : tensor<8x8xi32>
    %r = linalg.generic {{indexing_maps = [{MAP}, {MAP}, {MAP}], iterator_types = ["parallel", "parallel"]}}
      ins(%m, %x : tensor<8x8xi1>, tensor<8x8xi32>) outs(%e : tensor<8x8xi32>) {{
    ^bb0(%bit: i1, %in: i32, %out: i32):
      %zero = arith.constant 0 : i32
      %s = arith.select %bit, %in, %zero : i32
      linalg.yield %s : i32
    }} -> tensor<8x8xi32>"""
ODD = f"""
    %em = tensor.empty() : tensor<8x8xi1>
    %m = linalg.generic {{indexing_maps = [{MAP}, {MAP}], iterator_types = ["parallel", "parallel"]}}
      ins(%x : tensor<8x8xi32>) outs(%em : tensor<8x8xi1>) {{
    ^bb0(%in: i32, %out: i1):
      %odd = arith.trunci %in : i32 to i1
      linalg.yield %odd : i1
    }} -> tensor<8x8xi1>
    %barrier = tensor.cast %m : tensor<8x8xi1> to tensor<?x?xi1>"""
TRIANGLE = np.tril(np.ones((8, 8), bool))
LIST = str(TRIANGLE.tolist()).lower()
PROGRAMS = {
    "computed": (ODD + SELECT, lambda x: np.where(x % 2 == 1, x, 0)),
    "constant": (f"%m = arith.constant dense<{LIST}> : tensor<8x8xi1>" + SELECT, lambda x: np.where(TRIANGLE, x, 0)),
    "one value": ("%m = arith.constant dense<true> : tensor<8x8xi1>" + SELECT, lambda x: x),
    "filled": (
        "%t = arith.constant true\n %q = tensor.empty() : tensor<8x8xi1>\n"
        "%m = linalg.fill ins(%t : i1) outs(%q : tensor<8x8xi1>) -> tensor<8x8xi1>" + SELECT,
        lambda x: x,
    ),
    "broadcast": (
        "%c = arith.constant dense<[true, false, true, true, false, false, false, true]> : tensor<8xi1>\n"
        "%q = tensor.empty() : tensor<8x8xi1>\n"
        "%m = linalg.broadcast ins(%c : tensor<8xi1>) outs(%q : tensor<8x8xi1>) dimensions = [1]" + SELECT,
        lambda x: np.where(np.array([1, 0, 1, 1, 0, 0, 0, 1], bool)[:, None], x, 0),
    ),
    "reshaped": (
        f"%c = arith.constant dense<{str(TRIANGLE.reshape(-1).tolist()).lower()}> : tensor<64xi1>\n"
        "%m = tensor.expand_shape %c [[0, 1]] output_shape [8, 8] : tensor<64xi1> into tensor<8x8xi1>" + SELECT,
        lambda x: np.where(TRIANGLE, x, 0),
    ),
    "one element": (
        f"%c = arith.constant dense<{LIST}> : tensor<8x8xi1>\n %i = arith.constant 3 : index\n"
        "%b = tensor.extract %c[%i, %i] : tensor<8x8xi1>\n %q = tensor.empty() : tensor<8x8xi1>\n"
        "%m = linalg.fill ins(%b : i1) outs(%q : tensor<8x8xi1>) -> tensor<8x8xi1>" + SELECT,
        lambda x: x,
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_holds_booleans_holds_words(lavapipe, name):
    program, expected = PROGRAMS[name]
    made = assembled(program)
    assert "xi1>" not in made.text
    x = np.arange(64, dtype=np.int32).reshape(8, 8)
    with LavapipeSession(iree.compile_assembly(made, BASELINE), lanes=8) as session:
        np.testing.assert_array_equal(session.run([x])[0], expected(x))


def test_a_weight_of_booleans_is_stored_as_words():
    made = assembled('%m = "sparsity.weight"() {source = "mask"} : () -> tensor<8x8xi1>' + SELECT, {"mask": TRIANGLE})
    assert made.parameters["mask"].dtype == np.int32
    np.testing.assert_array_equal(made.parameters["mask"], TRIANGLE)


def test_booleans_in_the_signature_are_refused():
    signature = "(%m: tensor<8x8xi1>, %x: tensor<8x8xi32>) -> tensor<8x8xi32>"
    with pytest.raises(iree.AssemblyError, match="has the input 0 of type tensor<8x8xi1>; for a GPU, integers are"):
        assembled(SELECT, signature=signature)
    with pytest.raises(iree.AssemblyError, match="has the result 0 of type tensor<8x8xi1>"):
        assembled(
            ODD + "\n %r = tensor.cast %barrier : tensor<?x?xi1> to tensor<8x8xi1>",
            signature="(%x: tensor<8x8xi32>) -> tensor<8x8xi1>",
            result="tensor<8x8xi1>",
        )


def test_other_ops_on_tensors_of_booleans_are_refused():
    program = ODD + "\n %m2 = arith.andi %m, %m : tensor<8x8xi1>" + SELECT.replace("%m,", "%m2,")
    with pytest.raises(iree.AssemblyError, match="works on a tensor of booleans"):
        assembled(program)
