/* src/ref/table.c: every operator of ops.def with its kernel (a missing one does not link). */
#include "ref/kernel.h"

const struct ref_op om_ref_ops[OM_OP_COUNT] = {
#define OM_OP(name, min_in, max_in, outputs) \
    [OM_OP_##name] = { om_ref_##name, min_in, max_in, outputs },
#define OM_OP_MS(name, min_in, max_in, outputs) \
    [OM_OP_##name] = { om_ref_ms_##name, min_in, max_in, outputs },
#define OM_OP_MS_AS(id, name, min_in, max_in, outputs) \
    [OM_OP_##id] = { om_ref_ms_##name, min_in, max_in, outputs },
#include "ir/ops.def"
#undef OM_OP
};

enum {
    FLOAT = REF_WIDEN_FLOAT,
    NUMBER = REF_WIDEN_FLOAT | REF_WIDEN_INT,
    ANY = REF_WIDEN_FLOAT | REF_WIDEN_INT | REF_WIDEN_BOOL,
};

/* The operators that compute with their elements; the others move them, whatever their dtype. */
const uint8_t om_ref_widen[OM_OP_COUNT] = {
    [OM_OP_Abs] = NUMBER,
    [OM_OP_Add] = NUMBER,
    [OM_OP_ArgMax] = NUMBER,
    [OM_OP_Attention] = FLOAT,
    [OM_OP_Ceil] = FLOAT,
    [OM_OP_Clip] = NUMBER,
    [OM_OP_Cos] = FLOAT,
    [OM_OP_CumSum] = NUMBER,
    [OM_OP_Div] = NUMBER,
    [OM_OP_Equal] = ANY,
    [OM_OP_Erf] = FLOAT,
    [OM_OP_Exp] = FLOAT,
    [OM_OP_Floor] = FLOAT,
    [OM_OP_Gelu] = FLOAT,
    [OM_OP_Gemm] = FLOAT,
    [OM_OP_Greater] = NUMBER,
    [OM_OP_GreaterOrEqual] = NUMBER,
    [OM_OP_GroupQueryAttention] = FLOAT,
    [OM_OP_LayerNormalization] = FLOAT,
    [OM_OP_LeakyRelu] = FLOAT,
    [OM_OP_Less] = NUMBER,
    [OM_OP_LessOrEqual] = NUMBER,
    [OM_OP_Linear] = FLOAT,
    [OM_OP_Log] = FLOAT,
    [OM_OP_MatMul] = NUMBER,
    [OM_OP_Max] = NUMBER,
    [OM_OP_Min] = NUMBER,
    [OM_OP_Mish] = FLOAT,
    [OM_OP_Mod] = NUMBER,
    [OM_OP_Mul] = NUMBER,
    [OM_OP_MultiHeadAttention] = FLOAT,
    [OM_OP_Neg] = NUMBER,
    [OM_OP_PackedAttention] = FLOAT,
    [OM_OP_Pow] = NUMBER,
    [OM_OP_RMSNormalization] = FLOAT,
    [OM_OP_Range] = NUMBER,
    [OM_OP_Reciprocal] = FLOAT,
    [OM_OP_ReduceL2] = FLOAT,
    [OM_OP_ReduceMax] = ANY,
    [OM_OP_ReduceMean] = NUMBER,
    [OM_OP_ReduceMin] = ANY,
    [OM_OP_ReduceSum] = NUMBER,
    [OM_OP_Relu] = NUMBER,
    [OM_OP_RotaryEmbedding] = FLOAT,
    [OM_OP_Round] = FLOAT,
    [OM_OP_Sigmoid] = FLOAT,
    [OM_OP_Sign] = NUMBER,
    [OM_OP_Sin] = FLOAT,
    [OM_OP_Softmax] = FLOAT,
    [OM_OP_Softplus] = FLOAT,
    [OM_OP_Sqrt] = FLOAT,
    [OM_OP_Sub] = NUMBER,
    [OM_OP_Swish] = FLOAT,
    [OM_OP_Tanh] = FLOAT,
};
