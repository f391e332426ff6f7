"""The ops of levels 2 and 3, a file each: fields, verifier, NumPy reference, operations, and facts for the passes."""

from .activation import ActivationOp
from .add import AddOp
from .attention import AttentionOp
from .cached_attention import CachedAttentionOp
from .conv import ConvOp
from .embedding import EmbeddingOp
from .gated import GatedOp
from .layer_norm import LayerNormOp
from .linear import LinearOp
from .max_pool import MaxPoolOp
from .packed_conv import PackedConvOp
from .packed_linear import PackedLinearOp
from .panels import FromPanelsOp, ToPanelsOp
from .planes import FromPlanesOp, ToPlanesOp
from .quantize_heads import QuantizeHeadsOp
from .quantize_tokens import QuantizeTokensOp
from .quantized_attention import QuantizedAttentionOp
from .quantized_linear import QuantizedLinearOp
from .rms_norm import RmsNormOp
from .rotary import RotaryOp
from .sliced_linear import SlicedLinearOp
from .token_scales import TokenScalesOp
from .weight import WeightOp

OPS = {
    op.OPERATION_NAME: op
    for op in (
        WeightOp,
        LinearOp,
        ConvOp,
        MaxPoolOp,
        AttentionOp,
        CachedAttentionOp,
        LayerNormOp,
        RmsNormOp,
        RotaryOp,
        ActivationOp,
        GatedOp,
        AddOp,
        EmbeddingOp,
        PackedLinearOp,
        SlicedLinearOp,
        TokenScalesOp,
        QuantizeTokensOp,
        QuantizedLinearOp,
        QuantizeHeadsOp,
        QuantizedAttentionOp,
        ToPanelsOp,
        FromPanelsOp,
        PackedConvOp,
        ToPlanesOp,
        FromPlanesOp,
    )
}
"""Every op of the two levels by its name, in the order of the docs."""
