"""A level-4 module written by hand: two sparse layers that share one kernel, and a tensor-level sum."""

import dataclasses

import iree.runtime as rt
import numpy as np
import pytest

from secateur.compiler.semantics.evaluation import evaluate
from secateur.dialects.sparsity.kernel_ops import segment_sizes
from secateur.dialects.weight_store import WeightStore
from secateur.runtime_targets.bundle import write_bundle
from secateur.runtime_targets.iree import Assembly, Session, assemble, compile_assembly, write_parameters
from secateur.runtime_targets.manifest import Function, LayerSparsity, Manifest, ModelInfo, TargetFiles, TensorSpec
from secateur.runtime_targets.targets import Target, get_target

from .level4 import parse

FEATURES, PANEL, PANELS, GROUPS, ROWS = 24, 32, 2, 4, 6

# Rows g * ROWS .. of the result are weighted sums of the features that columns[bounds[g] .. bounds[g + 1]] list.
# Each list has its own length, so one kernel serves any mask. A workgroup computes one group of one panel.
KERNEL = f"""
func.func private @gemm(%x: memref<{PANELS}x{FEATURES}x{PANEL}xf32>, %values: memref<?x{ROWS}xf32>,
    %columns: memref<?xi32>, %bounds: memref<{GROUPS + 1}xi32>, %y: memref<{PANELS}x{FEATURES}x{PANEL}xf32>,
    %g: index, %p: index, %unused: index) attributes {{sparsity.kernel}} {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  %rows = arith.constant {ROWS} : index
  %panel = arith.constant {PANEL} : index
  %zero = arith.constant dense<0.0> : vector<16xf32>
  %next = arith.addi %g, %c1 : index
  %b0 = memref.load %bounds[%g] : memref<{GROUPS + 1}xi32>
  %b1 = memref.load %bounds[%next] : memref<{GROUPS + 1}xi32>
  %first = arith.index_cast %b0 : i32 to index
  %last = arith.index_cast %b1 : i32 to index
  %row0 = arith.muli %g, %rows : index
  %scratch = memref.alloca() {{alignment = 64 : i64}} : memref<16xf32>
  scf.for %t = %c0 to %panel step %c16 {{
    scf.for %r = %c0 to %rows step %c1 {{
      %sum = scf.for %c = %first to %last step %c1 iter_args(%a = %zero) -> (vector<16xf32>) {{
        %ki = memref.load %columns[%c] : memref<?xi32>
        %k = arith.index_cast %ki : i32 to index
        %v = vector.load %x[%p, %k, %t] : memref<{PANELS}x{FEATURES}x{PANEL}xf32>, vector<16xf32>
        %w = memref.load %values[%c, %r] : memref<?x{ROWS}xf32>
        %b = vector.broadcast %w : f32 to vector<16xf32>
        %n = vector.fma %b, %v, %a : vector<16xf32>
        scf.yield %n : vector<16xf32>
      }}
      vector.store %sum, %scratch[%c0] : memref<16xf32>, vector<16xf32>
      %again = vector.load %scratch[%c0] : memref<16xf32>, vector<16xf32>
      %row = arith.addi %row0, %r : index
      vector.store %again, %y[%p, %row, %t] : memref<{PANELS}x{FEATURES}x{PANEL}xf32>, vector<16xf32>
    }}
  }}
  return
}}
"""


@dataclasses.dataclass(frozen=True)
class Model:
    """The module's text, the weights it names, and what it computes."""

    text: str
    weights: dict[str, np.ndarray]
    dense: list[np.ndarray]

    def expected(self, x: np.ndarray) -> np.ndarray:
        """`x` [panels, features, panel] -> the same shape, in double precision."""
        for weight in self.dense:
            x = np.einsum("of,pft->pot", weight.astype(np.float64), x)
        return x + self.weights["shift"][None, :, None]


def _layer(name: str, seed: int, weights: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    # A group may be empty: its rows are zero.
    kept = [np.sort(rng.permutation(FEATURES)[:n]) for n in (5, 0, 24, 9 + seed)]
    weights[f"{name}.columns"] = np.concatenate(kept).astype(np.int32)
    weights[f"{name}.bounds"] = np.cumsum([0, *map(len, kept)]).astype(np.int32)
    total = len(weights[f"{name}.columns"])
    weights[f"{name}.values"] = rng.standard_normal((total, ROWS)).astype(np.float32)
    dense = np.zeros((FEATURES, FEATURES), np.float32)
    for g, columns in enumerate(kept):
        start = weights[f"{name}.bounds"][g]
        for c, column in enumerate(columns):
            dense[g * ROWS : (g + 1) * ROWS, column] = weights[f"{name}.values"][start + c]
    x, y = (f"tensor<{PANELS}x{FEATURES}x{PANEL}xf32>",) * 2
    types = [f"tensor<{total}x{ROWS}xf32>", f"tensor<{total}xi32>", f"tensor<{GROUPS + 1}xi32>"]
    text = "".join(
        f'  %{name}_{what} = "sparsity.weight"() {{source = "{name}.{what}"}} : () -> {kind}\n'
        for what, kind in zip(("values", "columns", "bounds"), types, strict=True)
    )
    text += (
        f'  %{name} = "sparsity.dispatch"(%IN, %{name}_values, %{name}_columns, %{name}_bounds) '
        f"{{kernel = @gemm, grid = array<i64: {GROUPS}, {PANELS}, 1>, {segment_sizes(4)}}} "
        f": ({', '.join([x, *types])}) -> {y}\n"
    )
    return text, dense


@pytest.fixture(scope="session")
def model() -> Model:
    weights: dict[str, np.ndarray] = {}
    first, dense_first = _layer("first", 0, weights)
    second, dense_second = _layer("second", 1, weights)
    weights["shift"] = np.random.default_rng(2).standard_normal(FEATURES).astype(np.float32)
    panels = f"tensor<{PANELS}x{FEATURES}x{PANEL}xf32>"
    text = f"""
module attributes {{sparsity.target = #sparsity.target<{{vector_bytes = 64 : i64, registers = 32 : i64}}>}} {{
{KERNEL}
func.func @main(%x: {panels}) -> {panels} {{
{first.replace("%IN", "%x")}{second.replace("%IN", "%first")}
  %shift = "sparsity.weight"() {{source = "shift", test.note = 1 : i64}} : () -> tensor<{FEATURES}xf32>
  %empty = tensor.empty() : {panels}
  %y = linalg.generic {{indexing_maps = [affine_map<(p, f, t) -> (p, f, t)>, affine_map<(p, f, t) -> (f)>,
      affine_map<(p, f, t) -> (p, f, t)>], iterator_types = ["parallel", "parallel", "parallel"]}}
      ins(%second, %shift : {panels}, tensor<{FEATURES}xf32>) outs(%empty : {panels}) {{
    ^bb0(%a: f32, %b: f32, %o: f32):
      %s = arith.addf %a, %b : f32
      linalg.yield %s : f32
  }} -> {panels}
  return %y : {panels}
}}
}}
"""
    return Model(text, weights, [dense_first, dense_second])


@pytest.fixture(scope="session")
def target() -> Target:
    return get_target("host-cpu", workers=2)


@pytest.fixture(scope="session")
def assembly(model: Model) -> Assembly:
    return assemble(parse(model.text), model.weights)


@pytest.fixture(scope="session")
def compiled(assembly: Assembly, target: Target, tmp_path_factory: pytest.TempPathFactory):
    """The folder with `model.vmfb` and `model.irpa`."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "model.vmfb").write_bytes(compile_assembly(assembly, target))
    write_parameters(folder / "model.irpa", assembly.parameters)
    return folder


@pytest.fixture(scope="session")
def manifest(target: Target) -> Manifest:
    spec = {"shape": (PANELS, FEATURES, PANEL), "dtype": "float32"}
    return Manifest(
        model=ModelInfo(name="two layers", sha256="0" * 64),
        functions={
            "main": Function(
                inputs=(TensorSpec(name="x", axes=("batch", None, "tokens"), **spec),),
                outputs=(TensorSpec(name="y", axes=("batch", None, "tokens"), **spec),),
                output_form="tensor",
            )
        },
        targets=(
            TargetFiles(
                name=target.name,
                module="host-cpu/model.vmfb",
                parameters=("host-cpu/model.irpa",),
                architecture=target.architecture,
                cpu_features=target.cpu_features,
                workers=2,
                note="unverified: made by a test",
            ),
        ),
        layers=(LayerSparsity(name="first", rows=FEATURES, columns=FEATURES, encoding="bcr", sparsity_fraction=0.6),),
        tools={"iree": "3.13.0"},
        tokenizer=("tokenizer/vocab.txt",),
    )


@pytest.fixture(scope="session")
def contents(compiled) -> dict:
    return {
        "host-cpu/model.vmfb": compiled / "model.vmfb",
        "host-cpu/model.irpa": (compiled / "model.irpa").read_bytes(),
        "tokenizer/vocab.txt": b"[PAD]\nword\n",
    }


@pytest.fixture
def bundle_folder(tmp_path, manifest, contents):
    """A fresh bundle, as a folder."""
    write_bundle(tmp_path / "model.bundle", manifest, contents)
    return tmp_path / "model.bundle"


@pytest.fixture
def run(target, tmp_path):
    """The results of `@main` by IREE on one and on two threads and by the reference, which all leave inputs alone."""

    def results(text, inputs, weights=None):
        module = parse(text)
        store = WeightStore()
        store.update(weights or {})
        found = [evaluate(module, inputs, store)]
        assembly = assemble(module, weights or {})
        write_parameters(tmp_path / "w.irpa", assembly.parameters)
        code = compile_assembly(assembly, target)
        for threads in (1, 2):
            session = Session(code, tmp_path / "w.irpa", threads=threads)
            found.append(session.run(inputs))
            given = [rt.asdevicearray(session._device, array) for array in inputs]
            found.append([np.array(r.to_host()) for r in _tuple(session._invokers["main"](*given))])
            for array, before in zip(given, inputs, strict=True):
                np.testing.assert_array_equal(np.array(array.to_host()), before)
        return found

    return results


def _tuple(found):
    return found if isinstance(found, tuple) else (found,)
