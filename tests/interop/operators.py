"""Operators of com.microsoft in the reference executor: what ONNX Runtime computes, on random shapes and options."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from safetensors.numpy import load_file, save_file

from common import CLI, Report, scratch

ROUNDS = 20
OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]


class Case:
    """One node with its inputs; None is an input left out."""

    def __init__(self, op, inputs, outputs=1, tolerance=1e-4, domain="com.microsoft", **attributes):
        self.op, self.tolerance, self.attributes = op, tolerance, attributes
        self.inputs, self.outputs, self.domain = inputs, outputs, domain
        self.rows = None  # outputs are compared there only: {output: mask}
        self.same = None  # inputs of the same meaning for ONNX Runtime, whose kernel does not take these

    def feed(self, inputs=None):
        return {f"i{i}": np.asarray(v) for i, v in enumerate(inputs or self.inputs) if v is not None}

    def model(self, inputs=None):
        names = ["" if v is None else f"i{i}" for i, v in enumerate(inputs or self.inputs)]
        wanted = range(self.outputs) if isinstance(self.outputs, int) else self.outputs
        outputs = [f"o{i}" if i in wanted else "" for i in range(max(wanted) + 1)]
        node = helper.make_node(self.op, names, outputs, domain=self.domain, **self.attributes)
        ports = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in self.feed(inputs).items()]
        results = [helper.make_tensor_value_info(o, TensorProto.UNDEFINED, None) for o in outputs if o]
        for port in results:
            port.ClearField("type")
        return helper.make_model(helper.make_graph([node], "g", ports, results), opset_imports=OPSETS, ir_version=10)


def floats(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def coin(rng, value, other=None):
    return value if rng.random() < 0.5 else other


def multi_head(rng):
    b, s, n, d = rng.integers(1, 4), rng.integers(1, 6), rng.integers(1, 4), 4 * rng.integers(1, 4)
    t, hidden = rng.integers(1, 7), n * d
    form = rng.choice(["plain", "plain", "packed_kv", "packed_qkv", "past"])
    attributes = {"num_heads": int(n)}
    if rng.random() < 0.3:
        attributes["scale"] = 0.3
    bias = coin(rng, floats(rng, 3 * hidden)) if form != "packed_kv" else None
    past = [None, None]
    if form == "packed_qkv":
        operands, t = [floats(rng, b, s, n, 3, d), None, None], s
    elif form == "packed_kv":
        operands = [floats(rng, b, s, hidden), floats(rng, b, t, n, 2, d), None]
    else:
        if form == "past":
            t = s
        operands = [floats(rng, b, s, hidden), floats(rng, b, t, hidden), floats(rng, b, t, hidden)]
    if form == "past":
        p = rng.integers(0, 4)
        past, t = [floats(rng, b, n, p, d), floats(rng, b, n, p, d)], t + p
    if s == t and form == "plain" and rng.random() < 0.5:
        attributes["unidirectional"] = 1
    kind = rng.integers(0, 4)
    mask = [None, rng.integers(1, t + 1, b), rng.integers(0, 2, (b, t)), rng.integers(0, 2, (b, s, t))][kind]
    if mask is not None:
        mask = mask.astype(np.int32)
        mask[..., 0] = 1 if kind > 1 else mask[..., 0]  # rows of nothing but -10000 are inexact
    extra = coin(rng, floats(rng, rng.choice([1, b]), rng.choice([1, n]), s, t))
    outputs = 3 if form == "past" else 1
    case = Case("MultiHeadAttention", [*operands, bias, mask, extra, *past], outputs, **attributes)
    if form.startswith("packed"):
        packed = operands[1] if form == "packed_kv" else operands[0]
        parts = [packed[:, :, :, i].reshape(b, t, hidden) for i in range(packed.shape[3])]
        case.same = [*([operands[0]] if form == "packed_kv" else []), *parts, *case.inputs[3:]]
    return case


def angles(rng, length, half):
    a = rng.random((length, half)).astype(np.float32) * 6
    return np.cos(a), np.sin(a)


def grouped(rng):
    b, m, per, d = rng.integers(1, 4), rng.integers(1, 3), rng.integers(1, 4), 16
    n = m * per
    past = int(rng.integers(0, 5))
    s = int(rng.integers(1, 6)) if past == 0 or b == 1 else 1
    total = past + s
    lengths = np.full(b, total - 1, np.int32)
    if past == 0 and s > 1:
        lengths = np.append(rng.integers(0, s, b - 1), s - 1).astype(np.int32)
    attributes = {"num_heads": int(n), "kv_num_heads": int(m)}
    operands = [floats(rng, b, s, n * d), floats(rng, b, s, m * d), floats(rng, b, s, m * d)]
    if rng.random() < 0.5:
        operands = [np.concatenate(operands, axis=2), None, None]
    caches = [floats(rng, b, m, past, d), floats(rng, b, m, past, d)] if past else [None, None]
    rotary = [None, None]
    if rng.random() < 0.5:
        attributes |= {"do_rotary": 1, "rotary_interleaved": int(rng.integers(0, 2))}
        rotary = angles(rng, 32, d // 2)
    if rng.random() < 0.3:
        attributes["softcap"] = 2.0
    if rng.random() < 0.2:
        attributes["causal"] = 0
    elif rng.random() < 0.3:
        attributes["local_window_size"] = int(rng.integers(1, 5))
    extra = coin(rng, floats(rng, rng.choice([1, b]), rng.choice([1, n]), s, total))
    sink = coin(rng, floats(rng, n))
    if sink is None and rng.random() < 0.3:
        attributes["smooth_softmax"] = 1
    scores = rng.random() < 0.3
    if scores:
        attributes["qk_output"] = int(rng.integers(1, 3))
    inputs = [*operands, *caches, lengths, np.array(total, np.int32), *rotary, None, extra, sink]
    case = Case("GroupQueryAttention", inputs, 4 if scores else 3, **attributes)
    valid = np.arange(s)[None] <= (lengths - past)[:, None] if past == 0 else np.ones((b, s), bool)
    case.rows = {0: np.broadcast_to(valid[..., None], (b, s, n * d))}
    kept = np.arange(total)[None] <= lengths[:, None]
    for i in (1, 2):
        case.rows[i] = np.broadcast_to(kept[:, None, :, None], (b, m, total, d))
    if scores:
        own = (past + np.arange(s))[:, None]
        seen = ((np.arange(total) <= own) | (attributes.get("causal", 1) == 0)) & (np.arange(total) > own - attributes.get("local_window_size", total))
        seen = seen & valid[:, None, :, None]
        case.rows[3] = np.broadcast_to(seen & kept[:, None, None], (b, n, s, total))
    return case


def chunks(rng):
    """A cache with room, and chunks whose ends are padding."""
    b, m, per, d, s = rng.integers(1, 4), rng.integers(1, 3), rng.integers(1, 3), 16, int(rng.integers(1, 5))
    n, room = m * per, 12
    past, fresh = rng.integers(0, 6, b), rng.integers(1, s + 1, b)
    lengths = (past + fresh - 1).astype(np.int32)
    operands = [floats(rng, b, s, n * d), floats(rng, b, s, m * d), floats(rng, b, s, m * d)]
    caches = [floats(rng, b, m, room, d), floats(rng, b, m, room, d)]
    inputs = [*operands, *caches, lengths, np.array(room, np.int32), *[None] * 9, fresh.astype(np.int32)]
    case = Case("GroupQueryAttention", inputs, 3, num_heads=int(n), kv_num_heads=int(m))
    valid, kept = np.arange(s) < fresh[:, None], np.arange(room) <= lengths[:, None]
    case.rows = {0: np.broadcast_to(valid[..., None], (b, s, n * d))}
    for i in (1, 2):
        case.rows[i] = np.broadcast_to(kept[:, None, :, None], (b, m, room, d))
    return case


def integers(rng, shape, dtype=None):
    dtype = dtype or rng.choice([np.uint8, np.int8])
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return rng.integers(low, high + 1, shape).astype(dtype)


def scale(rng):
    return np.array(rng.uniform(0.01, 0.1), np.float32)


def zero(rng, dtype):
    return integers(rng, (), dtype)


def quantized(rng, shape, dtype):
    """A tensor with its scale and zero point."""
    return [integers(rng, shape, dtype), scale(rng), zero(rng, dtype)]


def shapes(rng, n):
    return [int(d) for d in rng.integers(1, 6, n)]


def fused_matmul(rng):
    a, b, m, k, n = shapes(rng, 5)
    x, y = [[a, b, m, k], [a, b, k, n]]
    attributes = {"alpha": float(rng.uniform(0.5, 2))}
    for name, shape in (("A", x), ("B", y)):
        if rng.random() < 0.5:  # rows and columns change places
            attributes[f"trans{name}"] = 1
            shape[2], shape[3] = shape[3], shape[2]
        if rng.random() < 0.3:
            attributes[f"transBatch{name}"] = 1
            shape[:3] = [shape[2], *shape[:2]]
    return Case(rng.choice(["FusedMatMul", "TransposeMatMul"]) if "transBatchA" not in attributes and "transBatchB" not in attributes
                else "FusedMatMul", [floats(rng, *x), floats(rng, *y)], **attributes)


ACTIVATIONS = [("Relu", []), ("Tanh", []), ("Sigmoid", []), ("LeakyRelu", [0.3]), ("HardSigmoid", [0.3, 0.4]), ("Clip", [-0.5, 0.5])]


def fused_gemm(rng):
    m, k, n = shapes(rng, 3)
    name, values = ACTIVATIONS[rng.integers(0, 5)]
    attributes = dict(zip(["activation_alpha", "activation_beta"], values))
    bias = coin(rng, floats(rng, n), floats(rng, m, 1))
    return Case("FusedGemm", [floats(rng, m, k), floats(rng, k, n), bias], activation=name, alpha=0.5, beta=2.0, **attributes)


def fused_conv(rng):
    n, c, m = shapes(rng, 3)
    name, values = ACTIVATIONS[rng.integers(0, len(ACTIVATIONS))]
    attributes = {"activation_params": values} if values else {}
    extra = coin(rng, floats(rng, n, m, 6, 7))
    inputs = [floats(rng, n, c, 6, 7), floats(rng, m, c, 3, 3), coin(rng, floats(rng, m)), extra]
    return Case("FusedConv", inputs, activation=name, pads=[1, 1, 1, 1], kernel_shape=[3, 3], **attributes)


def qlinear_pair(rng):
    shape, dtype = shapes(rng, 3), rng.choice([np.uint8, np.int8])
    other = [d if rng.random() < 0.7 else 1 for d in shape]
    inputs = quantized(rng, shape, dtype) + quantized(rng, other, dtype) + [scale(rng), zero(rng, dtype)]
    return Case(rng.choice(["QLinearAdd", "QLinearMul"]), inputs, tolerance=1)


def qlinear_one(rng):
    dtype = rng.choice([np.uint8, np.int8])
    op, attributes = [("QLinearSigmoid", {}), ("QLinearLeakyRelu", {"alpha": 0.2}), ("QLinearSoftmax", {"axis": 1, "opset": 13})][rng.integers(0, 3)]
    return Case(op, quantized(rng, shapes(rng, 3), dtype) + [scale(rng), zero(rng, dtype)], tolerance=1, **attributes)


def qlinear_pool(rng):
    n, c = shapes(rng, 2)
    last, dtype = int(rng.integers(0, 2)), np.uint8
    inputs = quantized(rng, [n, 7, 6, c] if last else [n, c, 7, 6], dtype) + [scale(rng), zero(rng, dtype)]
    if rng.random() < 0.5:
        return Case("QLinearGlobalAveragePool", inputs, tolerance=1, channels_last=last)
    attributes = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1], "count_include_pad": int(rng.integers(0, 2))}
    return Case("QLinearAveragePool", inputs, tolerance=1, channels_last=last, **attributes)


def qlinear_where(rng):
    shape, dtype = shapes(rng, 3), rng.choice([np.uint8, np.int8])
    inputs = [rng.integers(0, 2, shape).astype(bool)] + quantized(rng, shape, dtype) + quantized(rng, [1, shape[1], shape[2]], dtype)
    return Case("QLinearWhere", inputs + [scale(rng), zero(rng, dtype)], tolerance=1)


def qlinear_concat(rng):
    shape, dtype, axis = shapes(rng, 3), rng.choice([np.uint8, np.int8]), int(rng.integers(0, 3))
    parts = []
    for _ in range(rng.integers(1, 5)):
        shape[axis] = int(rng.integers(1, 5))
        parts += quantized(rng, shape, dtype)
    return Case("QLinearConcat", [scale(rng), zero(rng, dtype), *parts], tolerance=1, axis=axis)


def qlinear_conv(rng):
    n, c, m = shapes(rng, 3)
    last = int(rng.integers(0, 2))
    x = quantized(rng, [n, 6, 5, c] if last else [n, c, 6, 5], np.uint8)
    w = quantized(rng, [m, c, 3, 3], np.int8)[:2] + [np.array(0, np.int8)]
    bias = coin(rng, rng.integers(-500, 500, m).astype(np.int32))
    inputs = [*x, *w, scale(rng) * 20, zero(rng, np.uint8), bias]
    return Case("QLinearConv", inputs, tolerance=1, channels_last=last, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def qgemm(rng):
    m, k, n = shapes(rng, 3)
    b = integers(rng, (n, k), np.int8)
    inputs = [*quantized(rng, (m, k), np.uint8), b, scale(rng), zero(rng, np.int8), coin(rng, rng.integers(-99, 99, n).astype(np.int32))]
    if rng.random() < 0.5:
        inputs += [scale(rng) * 10, zero(rng, np.uint8)]
    return Case("QGemm", inputs, tolerance=1 if len(inputs) > 7 else 1e-4, transB=1, alpha=1.0)


def integer_products(rng):
    m, k, n = shapes(rng, 3)
    b, bias = integers(rng, (k, n), np.int8), coin(rng, floats(rng, n))
    b_scale, b_zero = coin(rng, scale(rng), rng.uniform(0.01, 0.1, n).astype(np.float32)), np.int8(3)
    b_zero = np.full(b_scale.shape, b_zero)
    if rng.random() < 0.5:
        return Case("DynamicQuantizeMatMul", [floats(rng, m, k), b, b_scale, b_zero, bias], tolerance=5e-3)
    return Case("MatMulIntegerToFloat", [integers(rng, (m, k), np.uint8), b, scale(rng), b_scale, np.uint8(9), b_zero, bias])


def short_products(rng):
    m, k, n = shapes(rng, 3)
    return Case("MatMulInteger16", [integers(rng, (2, m, k), np.int16), integers(rng, (k, n), np.int16) // 16], tolerance=0)


def nhwc_max_pool(rng):
    n, c = shapes(rng, 2)
    return Case("NhwcMaxPool", [integers(rng, (n, 7, 6, c))], tolerance=0, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])


def gather_block_quantized(rng):
    rows, width, block = int(rng.integers(2, 7)), 16 * int(rng.integers(1, 5)), int(rng.choice([16, 32]))
    bits, blocks = int(rng.choice([4, 8])), -(-width // block)
    data = integers(rng, (rows, width * bits // 8), np.uint8)
    zeros = coin(rng, integers(rng, (rows, (blocks * bits + 7) // 8), np.uint8))
    indices = rng.integers(-rows, rows, shapes(rng, rng.integers(1, 3)))
    scales = floats(rng, rows, blocks)
    return Case("GatherBlockQuantized", [data, indices, scales, zeros], bits=bits, block_size=block, quantize_axis=1, gather_axis=0)


def q_embed(rng):
    b, s, hidden, dtype = *shapes(rng, 2), 8, np.uint8
    tables = [integers(rng, (n, hidden), dtype) for n in (9, 8, 2)] + [integers(rng, hidden, dtype) for _ in range(2)]
    ids, segments = rng.integers(0, 9, (b, s)).astype(np.int32), rng.integers(0, 2, (b, s)).astype(np.int32)
    mask = np.sort(rng.integers(0, 2, (b, s)).astype(np.int32))[:, ::-1]
    scales, zeros = [scale(rng) for _ in range(5)], [zero(rng, dtype) for _ in range(5)]
    return Case("QEmbedLayerNormalization", [ids, segments, *tables, mask, *scales, *zeros], 2, tolerance=1e-3)


def activations(rng):
    x, bias = floats(rng, *shapes(rng, 2), 6), floats(rng, 6)
    return [Case("QuickGelu", [x], alpha=1.3), Case("BiasGelu", [x, bias]), Case("FastGelu", [x, coin(rng, bias)]), Case("Gelu", [x])][rng.integers(0, 4)]


def skip_normalization(rng):
    b, s, hidden = *shapes(rng, 2), 8
    x, skip, gamma = floats(rng, b, s, hidden), floats(rng, rng.choice([1, b]), s, hidden), floats(rng, hidden)
    bias = coin(rng, floats(rng, hidden))
    if rng.random() < 0.5:
        return Case("SkipSimplifiedLayerNormalization", [x, skip, gamma, bias], [0, 3], epsilon=1e-5)
    return Case("SkipLayerNormalization", [x, skip, gamma, coin(rng, floats(rng, hidden)), bias], [0, 3], epsilon=1e-5)


def attention(rng):
    b, s, n, d, wide = *shapes(rng, 2), int(rng.integers(1, 4)), 4 * int(rng.integers(1, 3)), 7
    hidden, past = n * d, int(rng.integers(0, 4))
    total = past + s
    kind = rng.integers(0, 3)
    mask = [None, rng.integers(0, 2, (b, total)), rng.integers(0, 2, (b, s, total))][kind]
    if mask is not None:
        mask = mask.astype(np.int32)
        mask[..., 0] = 1
    inputs = [floats(rng, b, s, wide), floats(rng, wide, 3 * hidden), floats(rng, 3 * hidden), mask,
              floats(rng, 2, b, n, past, d) if past else None, coin(rng, floats(rng, 1, n, s, total))]
    return Case("Attention", inputs, 2 if past else 1, num_heads=n, unidirectional=int(rng.integers(0, 2)))


def rotary(rng):
    b, s, n, d = *shapes(rng, 3), 8
    cs = angles(rng, 20, d // 2)
    x = coin(rng, floats(rng, b, s, n * d), floats(rng, b, n, s, d))
    positions = coin(rng, np.array([3]), rng.integers(0, 20, (b, s)))
    return Case("RotaryEmbedding", [x, positions, *cs], interleaved=int(rng.integers(0, 2)))


def n_bits(rng):
    m, n, block, bits = *shapes(rng, 2), int(rng.choice([16, 32])), int(rng.choice([4, 8]))
    k = int(rng.integers(1, 70))
    blocks = -(-k // block)
    inputs = [floats(rng, m, k), integers(rng, (n, blocks, block * bits // 8), np.uint8), floats(rng, n, blocks),
              coin(rng, integers(rng, (n, (blocks * bits + 7) // 8), np.uint8)), None, coin(rng, floats(rng, n))]
    return Case("MatMulNBits", inputs, tolerance=1e-2, K=k, N=n, bits=bits, block_size=block)


def recurrent(rng):
    length, b, wide, hidden = shapes(rng, 4)
    op, gates, each = [("RNN", 1, 1), ("GRU", 3, 2), ("LSTM", 4, 3)][rng.integers(0, 3)]
    way = rng.choice(["forward", "reverse", "bidirectional"])
    d = 2 if way == "bidirectional" else 1
    known = ["Sigmoid", "Tanh", "Relu", "LeakyRelu", "HardSigmoid", "Elu", "Softsign", "Affine", "ScaledTanh"]
    names = [str(n) for n in rng.choice(known, each * d)]
    alphas = [n for n in names if n in ("LeakyRelu", "HardSigmoid", "Elu", "Affine", "ScaledTanh")]
    betas = [n for n in names if n in ("HardSigmoid", "Affine", "ScaledTanh")]
    attributes = {"activations": names, "hidden_size": hidden, "direction": way}
    if alphas:
        attributes["activation_alpha"] = [float(a) for a in rng.uniform(0.1, 0.6, len(alphas))]
    if betas:
        attributes["activation_beta"] = [float(b) for b in rng.uniform(0.1, 0.6, len(betas))]
    if op == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(0, 2))
    inputs = [floats(rng, length, b, wide), floats(rng, d, gates * hidden, wide), floats(rng, d, gates * hidden, hidden),
              coin(rng, floats(rng, d, 2 * gates * hidden)), coin(rng, rng.integers(0, length + 1, b).astype(np.int32))]
    return Case(op, inputs, 3 if op == "LSTM" else 2, tolerance=1e-3, domain="", **attributes)


MAKERS = [
    activations, attention, chunks, fused_conv, fused_gemm, fused_matmul, gather_block_quantized, grouped, integer_products, multi_head,
    n_bits, nhwc_max_pool, q_embed, qgemm, qlinear_concat, qlinear_conv, qlinear_one, qlinear_pair, qlinear_pool, qlinear_where, recurrent, rotary,
    short_products, skip_normalization,
]


def check(maker, seed, directory):
    case = maker(np.random.default_rng(seed))
    model, inputs, outputs = (f"{directory}/{n}" for n in ("m.onnx", "i.safetensors", "o.safetensors"))
    onnx.save(case.model(), model)
    theirs = case.feed(case.same)
    save_file({k: np.array(v, order="C") for k, v in case.feed().items()}, inputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(case.model(case.same).SerializeToString(), options, providers=["CPUExecutionProvider"])
        wanted = dict(zip([o.name for o in session.get_outputs()], session.run(None, theirs), strict=True))
    except Exception as error:  # what its kernel does not take says nothing about ours
        return f"{case.op}: ONNX Runtime refuses it: {str(error)[:200]}"
    command = [CLI, "run", "--executor", "reference", model, "-i", inputs, "-o", outputs]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, f"{case.attributes} {result.stderr.strip()[-300:]}"
    got = load_file(outputs)
    for name, want in wanted.items():
        compare(case, name, got[name], want)
    return case.op


def compare(case, name, got, want):
    assert got.dtype == want.dtype and got.shape == want.shape, f"{name}: {got.dtype} {got.shape}, expected {want.dtype} {want.shape}"
    rows = (case.rows or {}).get(int(name[1:]))
    if rows is not None:
        got, want = got[rows], want[rows]
    if want.dtype.kind in "iub":
        off = np.abs(got.astype(np.int64) - want.astype(np.int64))
        share = 1 if case.op == "QLinearSoftmax" else 0.1  # its kernel sums a table of integers
        assert off.max(initial=0) <= case.tolerance and (off > 0).sum() <= max(1, share * off.size), f"{case.op} {name}: up to {off.max()} off, {(off > 0).sum()} of {off.size}"
        return
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), case.tolerance, case.tolerance, err_msg=f"{name} {case.attributes}")


def main():
    report = Report()
    wanted = sys.argv[1:]
    with scratch() as directory:
        for maker in MAKERS:
            for seed in range(ROUNDS):
                if not wanted or maker.__name__ in wanted:
                    report.check(f"{maker.__name__} {seed}", check, maker, seed, directory)
    report.close()


if __name__ == "__main__":
    main()
