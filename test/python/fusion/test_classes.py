"""The published table of mapping classes, and the class of every op."""

import itertools
from pathlib import Path

import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.dialects.sparsity.ops import OPS
from secateur.passes.base import walk
from secateur.passes.structural.fusion import KINDS, REWRITES
from secateur.passes.structural.fusion.classes import CLASSES, LEGALITY, MappingClass, Verdict, judge, mapping_class

ONE, MANY, DENSE, REORGANISE, SHUFFLE = MappingClass


def test_the_table_has_every_pair_once():
    assert set(LEGALITY) == set(itertools.product(MappingClass, MappingClass))


def test_a_one_to_one_op_fuses_with_every_class_and_leaves_it():
    for other in MappingClass:
        assert judge(ONE, other) == (Verdict.FUSE, other)
        assert judge(other, ONE) == (Verdict.FUSE, other)


def test_the_two_pairs_that_never_pay():
    never = {pair for pair, (verdict, _) in LEGALITY.items() if verdict is Verdict.NEVER}
    assert never == {(MANY, DENSE), (DENSE, DENSE)}
    assert all(fused is None for pair, (_, fused) in LEGALITY.items() if pair in never)


def test_moving_ops_fuse_among_themselves_and_depend_on_a_measurement_beside_others():
    moving = (REORGANISE, SHUFFLE)
    for pair in itertools.product(moving, moving):
        assert LEGALITY[pair][0] is Verdict.FUSE
    for first, second in itertools.product(moving, (MANY, DENSE)):
        assert LEGALITY[first, second] == (Verdict.DEPENDS, second)
        assert LEGALITY[second, first] == (Verdict.DEPENDS, second)


def test_an_op_without_a_class_is_never_fused():
    assert judge(None, ONE) == (Verdict.NEVER, None)


def test_every_structural_op_has_a_class():
    constants = {"sparsity.weight"}
    assert {name for name in OPS if name not in CLASSES} <= constants


GENERIC = """
func.func @f(%x: tensor<2x3xf32>, %r: tensor<3xf32>, %t: tensor<3x2xf32>) -> tensor<2x3xf32> {{
  %k = arith.constant dense<2.0> : tensor<f32>
  %e = tensor.empty() : tensor<{shape}xf32>
  %g = linalg.generic {{indexing_maps = [{maps}], iterator_types = [{loops}]}}
    ins({operands} : {types}) outs(%e : tensor<{shape}xf32>) {{
  ^bb0({arguments}, %o: f32):
    %s = arith.addf %a, %o : f32
    linalg.yield %s : f32
  }} -> tensor<{shape}xf32>
  return %x : tensor<2x3xf32>
}}
"""
SAME, ROW, TURNED = (f"affine_map<(d0, d1) -> ({inner})>" for inner in ("d0, d1", "d1", "d1, d0"))
NONE, LEFT = "affine_map<(d0, d1) -> ()>", "affine_map<(d0, d1) -> (d0)>"


@pytest.mark.parametrize(
    ("operands", "result", "last", "expected"),
    [
        ({"%x": SAME}, SAME, "parallel", ONE),
        ({"%x": SAME, "%k": NONE}, SAME, "parallel", ONE),
        ({"%x": SAME, "%r": ROW}, SAME, "parallel", MANY),
        ({"%t": TURNED}, SAME, "parallel", SHUFFLE),
        ({"%x": SAME}, LEFT, "reduction", DENSE),
    ],
)
def test_the_class_of_a_generic_is_read_off_its_loops_and_maps(operands, result, last, expected):
    kinds = {"%x": "tensor<2x3xf32>", "%r": "tensor<3xf32>", "%t": "tensor<3x2xf32>", "%k": "tensor<f32>"}
    text = GENERIC.format(
        shape="2x3" if result == SAME else "2",
        maps=", ".join([*operands.values(), result]),
        loops=f'"parallel", "{last}"',
        operands=", ".join(operands),
        types=", ".join(kinds[name] for name in operands),
        arguments=", ".join(f"%{'abc'[i]}: f32" for i in range(len(operands))),
    )
    with make_context():
        module = ir.Module.parse(text)
        assert mapping_class(walk(module, "linalg.generic")[0]) is expected


def test_classes_of_other_ops():
    text = """
    func.func @f(%x: tensor<2x3xf32>) -> tensor<6xf32> {
      %c = tensor.collapse_shape %x [[0, 1]] : tensor<2x3xf32> into tensor<6xf32>
      %m = math.exp %c : tensor<6xf32>
      %z = arith.constant dense<0.0> : tensor<6xf32>
      %y = func.call @g(%m) : (tensor<6xf32>) -> tensor<6xf32>
      return %y : tensor<6xf32>
    }
    func.func private @g(tensor<6xf32>) -> tensor<6xf32>
    """
    with make_context():
        module = ir.Module.parse(text)
        found = {op.operation.name: mapping_class(op) for op in walk(module)}
    assert found["tensor.collapse_shape"] is REORGANISE
    assert found["math.exp"] is ONE
    assert found["arith.constant"] is None
    assert found["func.call"] is None


def test_the_page_shows_the_tables_of_the_code():
    text = (Path(__file__).parents[3] / "docs/fusion.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    shown = {row[0]: row[1:] for row in rows}
    for producer in MappingClass:
        cells = (LEGALITY[producer, consumer] for consumer in MappingClass)
        # The first table of the page; the second lists ops under the same names.
        first = next(row[1:] for row in rows if row[0] == producer)
        assert first == [str(verdict) if fused is None else f"{verdict}: {fused}" for verdict, fused in cells]
    for rewrite in REWRITES:
        assert shown[f"`{rewrite.name}`"][0] == rewrite.property
        assert (shown[f"`{rewrite.name}`"][2] == "same") != rewrite.rounds
    variants = {row[0].partition(":")[0].strip("`"): row[1] for row in rows}
    for kind in KINDS.values():
        assert variants[kind.name] == ", ".join(f"`{variant}`" for variant in kind.variants)
