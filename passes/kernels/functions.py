"""exp, tanh and the activations made of them, as upstream ops on vectors of f32.

They replace `math.exp`, `math.erf` and `math.tanh`, whose lowerings on CPUs are slow inline code or calls of a library.
GELU is computed as a whole: a polynomial for the tail of the normal distribution is shorter than one for erf.
Every function is straight code without branches or tables: multiply-adds, one division at most, integer shifts.

Error, over all inputs whose result is a normal number (the tests measure it; an ulp is one of the result):

    exp < 1.0 ulp      tanh < 1.5 ulp      sigmoid < 2.5 ulp
    gelu, gelu_tanh, silu < 1.5 units of 2^-23 |x|

The second unit is the one that matters to a layer behind the activation, and also the best that
`0.5 x (1 + erf(x / sqrt 2))` in f32 can give: the sum cancels where x is negative. NaN stays NaN; infinities have their
limits, but for silu(-inf), which is NaN as in PyTorch. A result below the smallest normal number (2^-125.5 for exp)
may be zero.

The polynomials are minimax fits (Lawson's iteration on the weighted error), rounded to f32 and corrected by
a search over neighbouring numbers for the smallest error of the whole function in f32 arithmetic.
"""

import math as _math

from torch_mlir import ir
from torch_mlir.dialects import arith, math, vector

Value = ir.Value

# 2 e^r = 2 (1 + r (...)) for |r| <= ln(2) / 2; error 3e-9 of it. Doubled numbers are exact.
_EXP = (
    2.0, 2.0, 0.9999997615814209, 0.33332911133766174, 0.0833370834589004, 0.0167463980615139, 0.0027631800621747971,
)  # fmt: skip
# 2^r for |r| <= 1/2; error 2.6e-6 of it.
_POWER_OF_TWO = (0.9999992847442627, 0.6931217908859253, 0.240247443318367, 0.05591786280274391, 0.009570102207362652)
# ln(2) in two parts: products of the first with exponents leave no rounding error after the subtraction.
_LN2_HIGH, _LN2_LOW = 0.6931471824645996, -1.9046542121259336e-09
# Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits; 126 is the exponent's bias, less the factor 2.
_ROUND = 1.5 * 2**23 + 126
# There the bits of the exponent are those of zero, and the result is infinite.
_EXP_LOWEST, _EXP_HIGHEST = -87.5, 89.0

# erfc(a / sqrt 2)^(1/4) for 0 <= a <= 5.6, where it is made to vanish; its fourth power is off by 1e-7.
_GELU_BOUND = 5.599999904632568
_GELU = (
    1.0, -0.19946999847888947, -0.05969872325658798, 0.005538026802241802, 0.004502364434301853,
    -3.3644184441072866e-05, -0.0003688132856041193, 7.011082925600931e-05, -4.094596079085022e-06,
)  # fmt: skip
# (1 - tanh(sqrt(2 / pi) (a + 0.044715 a^3)))^(1/4) for 0 <= a <= 5.4; its fourth power is off by 4e-8.
_GELU_TANH_BOUND = 5.400000095367432
_GELU_TANH = (
    1.0, -0.19947077333927155, -0.05968713387846947, 0.005641583353281021, 0.00476980023086071,
    -0.00037212696042843163, -6.21722501819022e-05, -0.00019950936257373542, 0.00012341565461777478,
    -3.070031380048022e-05, 3.659190952021163e-06, -1.7285650244502904e-07,
)  # fmt: skip

# tanh(x) / x in x^2, for |x| <= 0.55; error 1e-9 of it.
_TANH_BOUND = 0.55
_TANH = (
    1.0, -0.33333316445350647, 0.13332585990428925, -0.05385230854153633, 0.021071678027510643, -0.006274237763136625,
)  # fmt: skip


def _splat(x: Value, value: float) -> Value:
    """A constant of the type of `x`."""
    element = ir.FloatAttr.get(ir.F32Type.get(), value)
    return arith.constant(x.type, ir.DenseElementsAttr.get_splat(x.type, element))


def _splat_integer(type_: ir.Type, value: int) -> Value:
    return arith.constant(type_, ir.DenseElementsAttr.get_splat(type_, ir.IntegerAttr.get(type_.element_type, value)))


def _polynomial(x: Value, coefficients: tuple[float, ...]) -> Value:
    """`c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule."""
    total = _splat(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = vector.fma(x, total, _splat(x, coefficient))
    return total


def maximum(a: Value, b: Value) -> Value:
    """The larger of two, and `b` where either is NaN.

    Compare and select in this order are one instruction on x86, where `arith.maximumf` is five.
    """
    return arith.select(arith.cmpf(arith.CmpFPredicate.OGT, a, b), a, b)


def minimum(a: Value, b: Value) -> Value:
    return arith.select(arith.cmpf(arith.CmpFPredicate.OLT, a, b), a, b)


def relu(x: Value) -> Value:
    """`max(x, 0)`, NaN for NaN."""
    return maximum(_splat(x, 0.0), x)


def exp(x: Value) -> Value:
    """e^x: x = n ln 2 + r with an integer n, e^r by a polynomial, 2^n from the bits of n."""
    x = maximum(_splat(x, _EXP_LOWEST), minimum(_splat(x, _EXP_HIGHEST), x))
    shifted = vector.fma(x, _splat(x, 1 / _math.log(2)), _splat(x, _ROUND))
    n = arith.subf(shifted, _splat(x, _ROUND))
    r = vector.fma(n, _splat(x, -_LN2_HIGH), x)
    r = vector.fma(n, _splat(x, -_LN2_LOW), r)
    bits = ir.VectorType.get(list(x.type.shape), ir.IntegerType.get_signless(32))
    # Half of 2^n: the exponent of 2^128 would be that of infinity, and e^88.7 is still finite.
    power = arith.shli(arith.bitcast(bits, shifted), _splat_integer(bits, 23))
    return arith.mulf(_polynomial(r, _EXP), arith.bitcast(x.type, power))


def power_of_two(x: Value, factor: float = 1.0) -> Value:
    """`factor * 2^x` for x < 127, off by 3e-6 of it at most; exactly zero for x <= -127, NaN for NaN."""
    x = maximum(_splat(x, -127.0), x)
    shifted = arith.addf(x, _splat(x, _ROUND + 1))
    r = arith.subf(x, arith.subf(shifted, _splat(x, _ROUND + 1)))
    bits = ir.VectorType.get(list(x.type.shape), ir.IntegerType.get_signless(32))
    power = arith.shli(arith.bitcast(bits, shifted), _splat_integer(bits, 23))
    polynomial = _polynomial(r, tuple(factor * coefficient for coefficient in _POWER_OF_TWO))
    return arith.mulf(polynomial, arith.bitcast(x.type, power))


def sigmoid(x: Value) -> Value:
    """1 / (1 + e^-x)."""
    one = _splat(x, 1.0)
    return arith.divf(one, arith.addf(exp(arith.negf(x)), one))


def silu(x: Value) -> Value:
    """x / (1 + e^-x)."""
    return arith.divf(x, arith.addf(exp(arith.negf(x)), _splat(x, 1.0)))


def tanh(x: Value) -> Value:
    """A polynomial near zero, where 1 - 2 / (e^2|x| + 1) would cancel."""
    size, one = math.absf(x), _splat(x, 1.0)
    near = arith.mulf(x, _polynomial(arith.mulf(x, x), _TANH))
    rest = arith.divf(_splat(x, -2.0), arith.addf(exp(arith.addf(size, size)), one))
    far = math.copysign(arith.addf(rest, one), x)
    # NaN is in neither; `far` keeps it.
    return arith.select(arith.cmpf(arith.CmpFPredicate.OLT, size, _splat(x, _TANH_BOUND)), near, far)


def _gated(x: Value, coefficients: tuple[float, ...], bound: float) -> Value:
    """x F(x) where F(-x) = 1 - F(x) and 2 F(-a) = p(a)^4: max(x, 0) - |x| F(-|x|).

    A polynomial for F itself takes twice the degree: F falls like exp(-x^2 / 2), its fourth root hardly bends.
    """
    size = minimum(_splat(x, bound), math.absf(x))
    root = _polynomial(size, coefficients)
    square = arith.mulf(root, root)
    half = arith.mulf(size, _splat(x, -0.5))
    return vector.fma(half, arith.mulf(square, square), relu(x))


def gelu(x: Value) -> Value:
    """0.5 x (1 + erf(x / sqrt 2))."""
    return _gated(x, _GELU, _GELU_BOUND)


def gelu_tanh(x: Value) -> Value:
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    return _gated(x, _GELU_TANH, _GELU_TANH_BOUND)
