"""Chains whose members update in place what others made, beside NumPy; and what is refused."""

import pytest

from secateur.runtime_targets.iree import AssemblyError, assemble

from .level4 import ROWS, call, check, parse, rows

# A chain: every member touches only the row of its workgroup, which is the second number of the grid.
_OWN = """
func.func private @own(%a: memref<1x8x16xf32>, %s: memref<1x8x16xf32>, %o: memref<1x8x16xf32>,
    %x: index, %p: index, %b: index) attributes {sparsity.kernel} {
  %c0 = arith.constant 0 : index
  %x0 = vector.load %a[%b, %p, %c0] : memref<1x8x16xf32>, vector<16xf32>
  %old = vector.load %s[%b, %p, %c0] : memref<1x8x16xf32>, vector<16xf32>
  %new = arith.addf %x0, %old : vector<16xf32>
  %out = arith.mulf %x0, %old : vector<16xf32>
  vector.store %new, %s[%b, %p, %c0] : memref<1x8x16xf32>, vector<16xf32>
  vector.store %out, %o[%b, %p, %c0] : memref<1x8x16xf32>, vector<16xf32>
  return
}"""
_PANELS = "tensor<1x8x16xf32>"


def _chain(members: str, returned: str, between: str = "") -> str:
    count = returned.count(",") + 1
    kinds = ", ".join([_PANELS] * count)
    return f"""{_OWN}
    func.func @main(%x: {_PANELS}, %s: {_PANELS}) -> ({kinds}) {{
      %t = arith.addf %s, %s : {_PANELS}
      {members}
      return {returned} : {kinds}
    }}"""


def _own(results: str, operands: list[str], ties: list[int], grid="1, 8, 1", more="sparsity.chain = 0 : i64, ") -> str:
    text = call(results, "own", operands, ties, dict.fromkeys(range(2), _PANELS), [_PANELS, _PANELS], more)
    return text.replace(f"{ROWS}, 1, 1", grid)


def test_a_chain_that_updates_what_it_and_others_made(run):
    members = _own("%s1, %o1", ["%x", "%s"], [1, -1]) + _own("%t1, %p1", ["%o1", "%t"], [1, -1])
    members += _own("%o2, %q", ["%s1", "%o1"], [1, -1])
    x, s = rows(0)[None], rows(1)[None]
    s1, o1 = x + s, x * s
    t1, p1 = o1 + 2 * s, o1 * 2 * s
    o2, q = s1 + o1, s1 * o1
    text = _chain(members, "%s1, %t1, %p1, %o2, %q, %s")
    found = assemble(parse(text), {}).text
    assert found.count('"flow.dispatch"') == 1
    # The chain's buffers: x, s and t, of which two are written, and what its three members make besides.
    assert found.count('"stream.binding.subspan"') == 6
    check(run(text, [x, s]), [s1, t1, p1, o2, q, s])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_chain(_own("%a, %b", ["%x", "%t"], [1, -1]) + _own("%c, %d", ["%t", "%b"], [1, -1]), "%a, %c, %d"),
         "'sparsity.dispatch' op reads what '@own' overwrites in its chain"),
        (_chain(_own("%a, %b", ["%x", "%t"], [1, -1]) + _own("%c, %d", ["%x", "%b"], [1, -1]), "%a, %b, %c, %d"),
         "'func.return' op reads what '@own' overwrites in its chain"),
        (_chain(_own("%a, %b", ["%t", "%t"], [1, -1]) + _own("%c, %d", ["%x", "%b"], [1, -1]), "%a, %c, %d"),
         "'sparsity.dispatch' op reads what '@own' overwrites in its chain"),
        (_chain(_own("%a, %b", ["%x", "%t"], [-1, -1], more=""), "%a, %b"), "gives @own 4 tensors, which takes 3"),
        (_chain(_own("%a, %b", ["%x", "%t"], [0, -1], more=""), "%a, %b"),
         "'vector.store' op writes to operand 1 of the kernel '@own', which is read only"),
        (_chain(_own("%a, %b", ["%x", "%t"], [0, -1], more=""), "%a, %b").replace(
            "vector.store %new, %s[", "%view = memref.cast %s : memref<1x8x16xf32> to memref<1x8x?xf32>\n"
            "vector.store %new, %view[").replace("%view[%b, %p, %c0] : memref<1x8x16xf32>", "%view[%b, %p, %c0] : "
            "memref<1x8x?xf32>"),
         "'vector.store' op writes to operand 1 of the kernel '@own', which is read only"),
    ],
)  # fmt: skip
def test_refused(text, message):
    with pytest.raises(AssemblyError, match=message):
        assemble(parse(text), {})
