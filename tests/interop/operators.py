"""Operators of com.microsoft in the reference executor: what ONNX Runtime computes, on random shapes and options."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from safetensors.numpy import load_file, save_file

from common import CLI, Report, scratch

ROUNDS = 60
OPSETS = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]


class Case:
    """One node with its inputs; None is an input left out."""

    def __init__(self, op, inputs, outputs=1, tolerance=1e-4, **attributes):
        self.op, self.tolerance, self.attributes = op, tolerance, attributes
        self.inputs, self.outputs = inputs, outputs
        self.rows = None  # outputs are compared there only: {output: mask}
        self.same = None  # inputs of the same meaning for ONNX Runtime, whose kernel does not take these

    def feed(self, inputs=None):
        return {f"i{i}": np.asarray(v) for i, v in enumerate(inputs or self.inputs) if v is not None}

    def model(self, inputs=None):
        names = ["" if v is None else f"i{i}" for i, v in enumerate(inputs or self.inputs)]
        wanted = range(self.outputs) if isinstance(self.outputs, int) else self.outputs
        outputs = [f"o{i}" if i in wanted else "" for i in range(max(wanted) + 1)]
        node = helper.make_node(self.op, names, outputs, domain="com.microsoft", **self.attributes)
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


MAKERS = [multi_head, grouped, chunks]


def check(maker, seed, directory):
    case = maker(np.random.default_rng(seed))
    model, inputs, outputs = (f"{directory}/{n}" for n in ("m.onnx", "i.safetensors", "o.safetensors"))
    onnx.save(case.model(), model)
    theirs = case.feed(case.same)
    save_file({k: np.ascontiguousarray(v) for k, v in case.feed().items()}, inputs)
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
        assert off.max(initial=0) <= case.tolerance and (off > 0).mean() <= 0.05, f"{name}: up to {off.max()} off, {(off > 0).sum()} of {off.size}"
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
