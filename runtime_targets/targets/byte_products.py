"""Which instruction of a CPU sums products of bytes, from the names of its features as /proc/cpuinfo has them."""

from collections.abc import Collection


def dot_instruction(architecture: str, features: Collection[str], vector_bytes: int) -> dict[str, str]:
    """The field `dot` of `#sparsity.target`; empty where kernels know no instruction.

    `vpdpbusd` multiplies four unsigned bytes with four signed ones into a sum of 32 bits (AVX-512 VNNI, AVX-VNNI),
    `sdot` four signed ones with four signed ones (Arm's dotprod), `smmla` two rows of eight with two columns of eight
    (Arm's i8mm, beside `sdot`). Where a CPU has none of them, bytes are multiplied as 16 bits: `vpmaddwd` sums pairs of
    such products (x86), `saddlp` sums of two (Arm).
    """
    if architecture in ("aarch64", "arm64"):
        if "asimddp" not in features:
            return {"dot": "saddlp"}
        return {"dot": "smmla" if "i8mm" in features else "sdot"}
    if architecture in ("x86_64", "AMD64"):
        known = ("avx512_vnni",) if vector_bytes == 64 else ("avx512_vnni", "avx_vnni")
        return {"dot": "vpdpbusd" if any(feature in features for feature in known) else "vpmaddwd"}
    return {}
