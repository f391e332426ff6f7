"""One call of every core ATen op, for `test_ops.py`: `aten.name.overload` -> the call and its example inputs."""

from collections.abc import Callable

import torch

_aten = torch.ops.aten
Case = tuple[Callable[..., object], tuple[torch.Tensor, ...]]


def _values(*shape: int) -> torch.Tensor:
    """Different numbers between -2 and 2, none of them an integer."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.rand(shape, generator=generator) * 3.9 - 1.95


X, Y = _values(2, 3, 4), _values(2, 3, 4).flip(0)
POSITIVE, FRACTION, ABOVE_ONE = X.abs() + 0.1, X / 2, X.abs() + 1
TRUTH, WHOLE = X > 0, (X * 5).to(torch.int64)
PLANE, VOLUME = _values(2, 3, 6, 6), _values(1, 2, 4, 4, 4)
ROWS, INDEX = _values(5, 4), torch.tensor([[0, 3], [2, 1]])
PLACES = torch.tensor([[[1, 0, 2, 1]], [[2, 2, 0, 1]]])
VECTOR = _values(3)

_UNARY = {
    X: "abs asinh atan ceil cos cosh erf exp expm1 floor isinf isnan neg reciprocal relu round sigmoid sign sin sinh"
    " tan tanh trunc alias clone mean argmax argmin prod gelu elu hardtanh leaky_relu any logical_not amax amin",
    POSITIVE: "log log10 log1p log2 rsqrt sqrt",
    FRACTION: "acos asin atanh",
    ABOVE_ONE: "acosh",
    WHOLE: "bitwise_not",
}
_BINARY = {
    "Tensor": "add sub mul div eq ne ge gt le lt fmod remainder",
    "Scalar": "add sub mul div eq ne ge gt le lt fmod remainder",
    "default": "maximum minimum atan2",
}


def _simple() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for x, names in _UNARY.items():
        for name in names.split():
            found[f"{name}.default"] = (getattr(_aten, name).default, (x,))
    for overload, names in _BINARY.items():
        for name in names.split():
            op = getattr(getattr(_aten, name), overload)
            if overload == "Scalar":
                found[f"{name}.Scalar"] = (lambda x, op=op: op(x, 1.25), (X,))
            else:
                found[f"{name}.{overload}"] = (op, (X, Y))
    for name in ("and", "or", "xor"):
        bits, logical = getattr(_aten, f"bitwise_{name}"), getattr(_aten, f"logical_{name}").default
        found[f"bitwise_{name}.Tensor"] = (bits.Tensor, (WHOLE, WHOLE.flip(0)))
        found[f"bitwise_{name}.Scalar"] = (lambda x, op=bits.Scalar: op(x, 6), (WHOLE,))
        found[f"logical_{name}.default"] = (logical, (TRUTH, TRUTH.flip(0)))
    return found


_SPECIAL: dict[str, Case] = {
    "_adaptive_avg_pool2d.default": (lambda x: _aten._adaptive_avg_pool2d(x, [2, 3]), (PLANE,)),
    "_adaptive_avg_pool3d.default": (lambda x: _aten._adaptive_avg_pool3d(x, [2, 2, 2]), (VOLUME,)),
    "_cdist_forward.default": (lambda a, b: _aten._cdist_forward(a, b, 2.0, None), (_values(3, 4), _values(5, 4))),
    "_embedding_bag.default": (
        lambda w, i: _aten._embedding_bag(w, i, torch.tensor([0, 2]), False, 0)[0],
        (ROWS, INDEX.flatten()),
    ),
    "_fft_c2r.default": (lambda x: _aten._fft_c2r(torch.complex(x, x), [1], 0, 6), (ROWS,)),
    "_fft_r2c.default": (lambda x: torch.view_as_real(_aten._fft_r2c(x, [1], 0, True)), (ROWS,)),
    "_local_scalar_dense.default": (lambda x: torch.full([2], x.sum().item()), (X,)),
    "_log_softmax.default": (lambda x: _aten._log_softmax(x, 1, False), (X,)),
    "_native_batch_norm_legit.default": (
        lambda x, m, v: _aten._native_batch_norm_legit(x, m, v, m.clone(), v.clone(), False, 0.1, 1e-5)[0],
        (PLANE, VECTOR, VECTOR.abs() + 1),
    ),
    "_native_batch_norm_legit.no_stats": (
        lambda x, w: _aten._native_batch_norm_legit.no_stats(x, w, w, True, 0.1, 1e-5)[0],
        (PLANE, VECTOR),
    ),
    "_native_batch_norm_legit_no_training.default": (
        lambda x, m, v: _aten._native_batch_norm_legit_no_training(x, m, v, m, v, 0.1, 1e-5)[0],
        (PLANE, VECTOR, VECTOR.abs() + 1),
    ),
    "_pdist_forward.default": (lambda x: _aten._pdist_forward(x, 2.0), (ROWS,)),
    "_softmax.default": (lambda x: _aten._softmax(x, 1, False), (X,)),
    "_to_copy.default": (lambda x: _aten._to_copy(x, dtype=torch.int64), (X,)),
    "adaptive_avg_pool1d.default": (lambda x: _aten.adaptive_avg_pool1d(x, [2]), (X,)),
    "avg_pool1d.default": (lambda x: _aten.avg_pool1d(x, [2]), (X,)),
    "addmm.default": (_aten.addmm, (_values(4), _values(2, 3), _values(3, 4))),
    "any.dim": (lambda x: _aten.any.dim(x, 1), (TRUTH,)),
    "any.dims": (lambda x: _aten.any.dims(x, [0, 2]), (TRUTH,)),
    "arange.start_step": (lambda x: x + _aten.arange.start_step(1, 9, 2), (X,)),
    "as_strided.default": (lambda x: _aten.as_strided(x, [2, 2], [4, 1], 1), (X,)),
    "atan2.out": (lambda x, y: _aten.atan2.out(x, y, out=torch.empty(2, 3, 4)), (X, Y)),
    "avg_pool2d.default": (lambda x: _aten.avg_pool2d(x, [3, 3], [2, 2], [1, 1]), (PLANE,)),
    "avg_pool3d.default": (lambda x: _aten.avg_pool3d(x, [2, 2, 2]), (VOLUME,)),
    "bmm.default": (_aten.bmm, (X, Y.transpose(1, 2).contiguous())),
    "cat.default": (lambda x, y: _aten.cat([x, torch.ones(2, 1, 4), y], 1), (X, Y)),
    "clamp.Tensor": (lambda x, y: _aten.clamp.Tensor(x, y, None), (X, Y)),
    "clamp.default": (lambda x: _aten.clamp(x, -0.5, 1.0), (X,)),
    "col2im.default": (
        lambda x: _aten.col2im(x, [6, 6], [2, 2], [1, 1], [0, 0], [2, 2]),
        (_values(2, 12, 9),),
    ),
    "constant_pad_nd.default": (lambda x: _aten.constant_pad_nd(x, [1, 2, 0, 1], 0.5), (X,)),
    "convolution.default": (
        lambda x, w: _aten.convolution(x, w, None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1),
        (PLANE, _values(4, 3, 3, 3)),
    ),
    "copy.default": (lambda x, y: _aten.copy(x, y[0]), (X, Y)),
    "cumsum.default": (lambda x: _aten.cumsum(x, 1), (X,)),
    "diagonal.default": (lambda x: _aten.diagonal(x, 1, 1, 2), (X,)),
    "div.Scalar_mode": (lambda x: _aten.div.Scalar_mode(x, 0.7, rounding_mode="floor"), (X,)),
    "div.Tensor_mode": (lambda x, y: _aten.div.Tensor_mode(x, y, rounding_mode="trunc"), (X, Y)),
    "embedding.default": (_aten.embedding, (ROWS, INDEX)),
    "empty.memory_format": (lambda x: x + _aten.empty.memory_format([3, 4]).fill_(2.0), (X,)),
    "empty_strided.default": (lambda x: x + _aten.empty_strided([3, 4], [4, 1]).fill_(2.0), (X,)),
    "expand.default": (lambda x: _aten.expand(x, [2, 3, 5]), (_values(3, 1),)),
    "fill.Scalar": (lambda x: _aten.fill(x, 2.5), (X,)),
    "flip.default": (lambda x: _aten.flip(x, [0, 2]), (X,)),
    "full.default": (lambda x: x * _aten.full([3, 4], 2.5), (X,)),
    "full_like.default": (lambda x: _aten.full_like(x, 2.5), (X,)),
    "gather.default": (lambda x, i: _aten.gather(x, 1, i), (X, PLACES)),
    "grid_sampler_2d.default": (
        lambda x, g: _aten.grid_sampler_2d(x, g, 0, 0, False),
        (PLANE, FRACTION.reshape(2, 2, 3, 2)),
    ),
    "index.Tensor": (lambda x, i: _aten.index.Tensor(x, [i, None]), (ROWS, INDEX)),
    "index_put.default": (lambda x, i, v: _aten.index_put(x, [i], v), (ROWS, INDEX[1], _values(2, 4))),
    "index_select.default": (lambda x, i: _aten.index_select(x, 1, i), (X, INDEX[1])),
    "masked_scatter.default": (_aten.masked_scatter, (X, TRUTH, Y)),
    "max.dim": (lambda x: _aten.max.dim(x, 1), (X,)),
    "max_pool2d_with_indices.default": (lambda x: _aten.max_pool2d_with_indices(x, [2, 2])[0], (PLANE,)),
    "max_pool3d_with_indices.default": (lambda x: _aten.max_pool3d_with_indices(x, [2, 2, 2])[0], (VOLUME,)),
    "mean.dim": (lambda x: _aten.mean.dim(x, [1], True), (X,)),
    "min.dim": (lambda x: _aten.min.dim(x, 1), (X,)),
    "mm.default": (_aten.mm, (_values(2, 3), _values(3, 4))),
    "native_dropout.default": (lambda x: _aten.native_dropout(x, 0.5, False)[0], (X,)),
    "native_group_norm.default": (
        lambda x, w: _aten.native_group_norm(x, w, w, 2, 3, 36, 3, 1e-5)[0],
        (PLANE, VECTOR),
    ),
    "native_layer_norm.default": (lambda x, w: _aten.native_layer_norm(x, [4], w, w, 1e-5)[0], (X, _values(4))),
    "nonzero.default": (_aten.nonzero, (TRUTH,)),
    "permute.default": (lambda x: _aten.permute(x, [2, 0, 1]), (X,)),
    "pow.Scalar": (lambda x: _aten.pow.Scalar(1.5, x), (X,)),
    "pow.Tensor_Scalar": (lambda x: _aten.pow.Tensor_Scalar(x, 2), (X,)),
    "pow.Tensor_Tensor": (_aten.pow.Tensor_Tensor, (POSITIVE, Y)),
    "prod.dim_int": (lambda x: _aten.prod.dim_int(x, 1), (X,)),
    "rand.default": (lambda x: x + _aten.rand([3, 4]), (X,)),
    "randn.default": (lambda x: x + _aten.randn([3, 4]), (X,)),
    "randperm.default": (lambda x: x + _aten.randperm(4), (X,)),
    "reflection_pad1d.default": (lambda x: _aten.reflection_pad1d(x, [1, 2]), (X,)),
    "reflection_pad2d.default": (lambda x: _aten.reflection_pad2d(x, [1, 2, 2, 0]), (PLANE,)),
    "reflection_pad3d.default": (lambda x: _aten.reflection_pad3d(x, [1, 2, 0, 1, 1, 1]), (VOLUME,)),
    "repeat.default": (lambda x: _aten.repeat(x, [2, 1, 1, 3]), (X,)),
    "replication_pad2d.default": (lambda x: _aten.replication_pad2d(x, [1, 2, 2, 0]), (PLANE,)),
    "replication_pad3d.default": (lambda x: _aten.replication_pad3d(x, [1, 2, 0, 1, 1, 1]), (VOLUME,)),
    "scalar_tensor.default": (lambda x: x + _aten.scalar_tensor(2.5), (X,)),
    "scatter.src": (lambda x, i, y: _aten.scatter.src(x, 1, i, y), (X, PLACES, Y)),
    "scatter.value": (lambda x, i: _aten.scatter.value(x, 1, i, 0.5), (X, PLACES)),
    "scatter_add.default": (lambda x, i, y: _aten.scatter_add(x, 1, i, y), (X, PLACES, Y)),
    "scatter_reduce.two": (lambda x, i, y: _aten.scatter_reduce.two(x, 1, i, y, "amax"), (X, PLACES, Y)),
    "select.int": (lambda x: _aten.select.int(x, 1, 2), (X,)),
    "select_scatter.default": (lambda x, y: _aten.select_scatter(x, y[:, 0], 1, 2), (X, Y)),
    "slice.Tensor": (lambda x: _aten.slice.Tensor(x, 2, 1, 4, 2), (X,)),
    "slice_scatter.default": (lambda x, y: _aten.slice_scatter(x, y[..., :2], 2, 1, 3), (X, Y)),
    "sort.default": (lambda x: _aten.sort(x, 1, True), (X,)),
    "split_with_sizes.default": (lambda x: tuple(_aten.split_with_sizes(x, [1, 3], 2)), (X,)),
    "squeeze.dim": (lambda x: _aten.squeeze.dim(x, 0), (_values(1, 3, 1),)),
    "squeeze.dims": (lambda x: _aten.squeeze.dims(x, [0, 2]), (_values(1, 3, 1),)),
    "sum.dim_IntList": (lambda x: _aten.sum.dim_IntList(x, [0, 2]), (X,)),
    "sym_numel.default": (lambda x: x * _aten.sym_numel(x), (X,)),
    "sym_size.int": (lambda x: x * _aten.sym_size.int(x, 1), (X,)),
    "sym_storage_offset.default": (lambda x: x * (1 + _aten.sym_storage_offset(x)), (X,)),
    "sym_stride.int": (lambda x: x * _aten.sym_stride.int(x, 1), (X,)),
    "topk.default": (lambda x: _aten.topk(x, 2, 1), (X,)),
    "unsqueeze.default": (lambda x: _aten.unsqueeze(x, -2), (X,)),
    "upsample_bilinear2d.vec": (lambda x: _aten.upsample_bilinear2d.vec(x, [9, 4], False, None), (PLANE,)),
    "upsample_nearest2d.vec": (lambda x: _aten.upsample_nearest2d.vec(x, None, [2.0, 1.5]), (PLANE,)),
    "var.correction": (lambda x: _aten.var.correction(x, [1], correction=1), (X,)),
    "var.dim": (lambda x: _aten.var.dim(x, [0, 2], False), (X,)),
    "view.default": (lambda x: _aten.view(x, [6, -1]), (X,)),
    "where.self": (_aten.where.self, (TRUTH, X, Y)),
}

CORE: dict[str, Case] = {**_simple(), **_SPECIAL}


def _write(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    z = x.clone()
    z[:, 1:] *= y[:, 1:]
    z &= 3
    z[0] |= 4
    return z


_LSTM, _GRU = torch.nn.LSTM(4, 3, bidirectional=True), torch.nn.GRU(4, 3)

BESIDE: dict[str, Case] = {
    "__and__.Tensor": (lambda a: a & a.flip(0), (TRUTH,)),
    "__ior__.Scalar": (_write, (WHOLE, WHOLE.flip(0))),
    "__lshift__.Scalar": (lambda x: x << 2, (WHOLE,)),
    "argsort.default": (lambda x: torch.argsort(x, 1), (X,)),
    "batch_norm.default": (
        lambda x, m, v: torch.nn.functional.batch_norm(x, m, v, m, None),
        (PLANE, VECTOR, VECTOR.abs() + 1),
    ),
    "clip.default": (lambda x: x.clip(min=-1), (X,)),
    "copysign.Tensor": (torch.copysign, (X, Y)),
    "cummax.default": (lambda x: torch.cummax(x, 1), (X,)),
    "cumprod.default": (lambda x: torch.cumprod(x, 1), (X,)),
    "einsum.default": (lambda x, y: torch.einsum("abc,abd->acd", x, y), (X, Y)),
    "gru.input": (lambda x: _GRU(x)[0], (X,)),
    "im2col.default": (lambda x: torch.nn.functional.unfold(x, 3, padding=1, stride=2), (PLANE,)),
    "index_put.accumulate": (lambda x, i: x.index_put((i,), x[:2], accumulate=True), (ROWS, INDEX[1])),
    "index_put.inner": (lambda x, i: _aten.index_put(x, [None, i, i], x[:, :2, 0]), (X, INDEX[1] // 2)),
    "index_put.mask": (lambda x, m: x.index_put((m,), torch.tensor(0.5)), (X, TRUTH)),
    "index_put_.default": (lambda x, i: x.clone().index_put_((i, i), torch.tensor(0.5)), (ROWS, INDEX)),
    "lstm.input": (lambda x: _LSTM(x)[0], (X,)),
    "meshgrid.indexing": (lambda x: torch.meshgrid(x, x + 1, indexing="ij"), (VECTOR,)),
    "multiply.Tensor": (torch.multiply, (X, Y)),
    "scatter_reduce.mean": (lambda x, i: x.scatter_reduce(1, i, x, "mean", include_self=False), (X, PLACES)),
    "sort.stable": (lambda x: torch.sort(x // 3, dim=1, stable=True), (WHOLE,)),
    "special_expit.default": (torch.special.expit, (X,)),
    "swapaxes.default": (lambda x: x.swapaxes(0, 2), (X,)),
    "tril.default": (lambda x: torch.tril(x, -1), (X,)),
    "unflatten.int": (lambda x: x.unflatten(2, (2, 2)), (X,)),
    "where.ScalarOther": (lambda m, x: torch.where(m, x, 0.5), (TRUTH, X)),
}
