"""NumPy's BLAS on two 1024 x 1024 matrices in f32: what a tuned dense product reaches on this machine."""

PACKAGES = ("numpy",)


def load(model):
    import numpy as np

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((1024, 1024), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    return lambda: [np.matmul(a, b, out=out)]
