"""Files quantized here and by Optimum: the same operators, names and bytes; ONNX Runtime runs both to the same numbers.

Also blocks of few bits against ONNX Runtime's own kernels, float16 against float32, and MiniLM's embeddings by every preset.
"""

import json
import logging
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType
from onnxruntime.quantization.calibrate import CalibrationDataReader, MinMaxCalibrater
from onnxruntime.quantization.registry import QLinearOpsRegistry
from safetensors.numpy import load_file, save_file
from onnxruntime.capi import _pybind_state
from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig, ORTConfig

from common import CLI, DATA, Report, checkpoint, export, onnx_files, scratch

TASKS = ["bert/text-classification", "distilbert/question-answering", "gpt2/text-generation-with-past",
         "llama/text-generation-with-past", "t5/text2text-generation-with-past"]
STATIC_TASKS = ["bert/text-classification", "distilbert/question-answering", "gpt2/text-generation-with-past"]
SEEDS = ["attention", "conv", "lstm", "mixed"]
PRESETS = [("avx2", False, False), ("arm64", True, False), ("avx512", True, True), ("avx512_vnni", False, False)]


def run_cli(*args):
    result = subprocess.run([CLI, "onnxruntime", "quantize", "-q", *map(str, args)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr.strip()[-300:]


def contents(path):
    """Nodes by scope and name, initializers by scope and name."""
    nodes, tensors = {}, {}

    def visit(graph, scope):
        for t in graph.initializer:
            tensors[scope, t.name] = numpy_helper.to_array(t)
        for n in graph.node:
            key = scope, n.name or f"{n.op_type} {n.output[0]}"
            nodes[key] = n
            for a in n.attribute:
                if a.type == onnx.AttributeProto.GRAPH:
                    visit(a.g, f"{scope}/{n.name}.{a.name}")

    visit(onnx.load(path).graph, "")
    return nodes, tensors


def described(node):
    attributes = sorted(a.SerializeToString() for a in node.attribute if a.type != onnx.AttributeProto.GRAPH)
    return node.op_type, node.domain, list(node.input), list(node.output), attributes


def same_files(ours, theirs):
    onnx.checker.check_model(ours)
    (nodes, tensors), (their_nodes, their_tensors) = contents(ours), contents(theirs)
    assert nodes.keys() == their_nodes.keys(), f"nodes {sorted(nodes.keys() ^ their_nodes.keys())[:3]}"
    for key, node in nodes.items():
        assert described(node) == described(their_nodes[key]), f"node {key}"
    assert tensors.keys() == their_tensors.keys(), f"tensors {sorted(tensors.keys() ^ their_tensors.keys())[:3]}"
    for key, t in tensors.items():
        other = their_tensors[key]
        assert (t.dtype, t.shape, t.tobytes()) == (other.dtype, other.shape, other.tobytes()), f"tensor {key}"
    onnxruntime.InferenceSession(ours, providers=["CPUExecutionProvider"])
    return f"{len(nodes)} nodes, {len(tensors)} tensors"


def against_optimum(file, preset, per_channel, reduce_range, directory):
    config = getattr(AutoQuantizationConfig, preset)(is_static=False, per_channel=per_channel)
    config.reduce_range = reduce_range
    ours, theirs = pathlib.Path(directory) / "ours", pathlib.Path(directory) / "theirs"
    ORTQuantizer(file, config=None).quantize(quantization_config=config, save_dir=theirs)
    ORTConfig(quantization=config).save_pretrained(directory)
    run_cli("--onnx_model", file, "-c", pathlib.Path(directory) / "ort_config.json", "-o", ours)
    name = f"{file.stem}_quantized.onnx"
    return same_files(str(ours / name), str(theirs / name))


def same_config(preset, file, directory):
    """ort_config.json is Optimum's, byte for byte."""
    ORTConfig(quantization=getattr(AutoQuantizationConfig, preset)(is_static=False, per_channel=False)).save_pretrained(
        directory)
    run_cli("--onnx_model", file, f"--{preset}", "--as_optimum", "-o", pathlib.Path(directory) / "out")
    texts = [(pathlib.Path(directory) / d / "ort_config.json").read_text() for d in (".", "out")]
    assert texts[0] == texts[1], texts[1]


# How a static configuration differs from that of a preset.
STATIC = {
    "QDQ": {},
    "QDQ per channel": {"per_channel": True},
    "QDQ reduced": {"reduce_range": True, "per_channel": True},
    "QDQ symmetric": {"activations_symmetric": True, "activations_dtype": QuantType.QInt8},
    "QDQ uint8": {"weights_dtype": QuantType.QUInt8, "weights_symmetric": False},
    "QDQ uint8 per channel": {"weights_dtype": QuantType.QUInt8, "weights_symmetric": False, "per_channel": True},
    "QOperator": {"format": QuantFormat.QOperator},
    "QOperator per channel": {"format": QuantFormat.QOperator, "per_channel": True},
    "QOperator reduced": {"format": QuantFormat.QOperator, "per_channel": True, "reduce_range": True},
    "QOperator symmetric": {"format": QuantFormat.QOperator, "activations_symmetric": True, "activations_dtype": QuantType.QInt8},
    "QOperator uint8": {"format": QuantFormat.QOperator, "weights_dtype": QuantType.QUInt8, "weights_symmetric": False},
    "QOperator int8, uneven": {"format": QuantFormat.QOperator, "weights_symmetric": False, "per_channel": True},
}


def static_config(preset, per_channel=False, changes=None):
    config = getattr(AutoQuantizationConfig, preset)(per_channel=per_channel, **({} if preset == "tensorrt" else {"is_static": True}))
    for key, value in (changes or {}).items():
        setattr(config, key, value)
    if config.format == QuantFormat.QOperator:
        config.operators_to_quantize = list(QLinearOpsRegistry)
    return config


def samples_of(file):
    """Made-up inputs of one length."""
    rng = np.random.default_rng(0)
    sizes = {"batch_size": 1, "sequence_length": 12, "past_sequence_length": 4, "total_sequence_length": 16,
             "past_sequence_length + sequence_length": 16}
    samples = [{} for _ in range(4)]
    for i in onnx.load(file, load_external_data=False).graph.input:
        shape = [d.dim_value or sizes[d.dim_param] for d in i.type.tensor_type.shape.dim]
        for sample in samples:
            if i.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
                sample[i.name] = rng.standard_normal(shape).astype(np.float32)
            elif "mask" in i.name:
                sample[i.name] = np.ones(shape, np.int64)
            elif "position" in i.name:
                sample[i.name] = np.arange(4, 16).reshape(shape)
            else:
                sample[i.name] = rng.integers(0, 2 if "type" in i.name else 90, shape)
    return samples


def static_against_optimum(file, config, directory):
    """Min-max ranges over the same samples: the same file."""
    samples, directory = samples_of(file), pathlib.Path(directory)
    save_file({f"{k}.{i}": v for i, s in enumerate(samples) for k, v in s.items()}, directory / "samples.safetensors")

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(samples)

        def get_next(self):
            return next(self.rest, None)

    calibrater = MinMaxCalibrater(str(file), [str(o) for o in config.operators_to_quantize], str(directory / "augmented.onnx"))
    calibrater.augment_graph()
    calibrater.create_inference_session()
    calibrater.collect_data(Reader())
    ORTQuantizer(file, config=None).quantize(quantization_config=config, save_dir=directory / "theirs",
                                             calibration_tensors_range=calibrater.compute_data())
    ORTConfig(quantization=config).save_pretrained(directory)
    run_cli("--onnx_model", file, "-c", directory / "ort_config.json", "--calibration_tensors", directory / "samples.safetensors",
            "-o", directory / "ours")
    name = f"{file.stem}_quantized.onnx"
    return same_files(str(directory / "ours" / name), str(directory / "theirs" / name))


def write_convolutions(directory):
    """A model with what static quantization knows beyond text models."""
    rng = np.random.default_rng(7)
    helper, value = onnx.helper, onnx.helper.make_tensor_value_info
    weights = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 8, 3, 3), "b2": (8,), "w3": (8, 1, 3, 3), "fc": (5, 16), "fcb": (5,),
               "fc2": (5, 4), "scale": (8, 1, 1)}
    tensors = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32) * 0.3, n) for n, s in weights.items()]
    constants = {"zero": np.float32(0), "six": np.float32(6), "pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1]), "half": np.float32(0.5),
                 "scales": np.float32([1, 1, 2, 2]), "last": np.int64([2, 3]), "halves": np.int64([4, 4])}
    tensors += [numpy_helper.from_array(v, n) for n, v in constants.items()]
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], "relu1"),
        node("MaxPool", ["r1"], ["m1"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Pad", ["m1", "pads"], ["p1"], "pad"),
        node("Conv", ["p1", "w2", "b2"], ["c2"], "conv2"),
        node("Clip", ["c2", "zero", "six"], ["k2"], "clip"),
        node("Add", ["k2", "m1"], ["a1"], "add"),
        node("Conv", ["a1", "w3"], ["c3"], "depthwise", group=8, pads=[1, 1, 1, 1]),
        node("LeakyRelu", ["c3"], ["l3"], "leaky", alpha=0.2),
        node("Mul", ["l3", "scale"], ["u3"], "mul"),
        node("Sigmoid", ["u3"], ["s3"], "sigmoid"),
        node("Resize", ["s3", "", "scales"], ["z3"], "resize", mode="nearest"),
        node("AveragePool", ["z3"], ["v3"], "average", kernel_shape=[2, 2], strides=[2, 2]),
        node("Pad", ["v3", "pads", "half"], ["p3"], "pad_half"),
        node("Transpose", ["p3"], ["t3"], "transpose", perm=[0, 1, 3, 2]),
        node("Split", ["t3", "halves"], ["h1", "h2"], "split", axis=1),
        node("Concat", ["h2", "h1", "t3"], ["cat"], "concat", axis=1),
        node("GlobalAveragePool", ["cat"], ["g"], "global"),
        node("Squeeze", ["g", "last"], ["q"], "squeeze"),
        node("Flatten", ["q"], ["f"], "flatten"),
        node("Gemm", ["f", "fc", "fcb"], ["y1"], "gemm", transB=1),
        node("MatMul", ["y1", "fc2"], ["y2"], "matmul"),
        node("Softmax", ["y2"], ["y"], "softmax"),
    ]
    graph = helper.make_graph(nodes, "g", [value("x", 1, [1, 3, 8, 8])], [value("y", 1, [1, 4]), value("y1", 1, [1, 5])], tensors)
    file = pathlib.Path(directory) / "convolutions.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    return file


def decoder_feed(file, cached):
    """Inputs of a merged decoder: the first step, or one more token."""
    rng = np.random.default_rng(3)
    feed = {}
    for i in onnx.load(file, load_external_data=False).graph.input:
        shape = []
        for d in i.type.tensor_type.shape.dim:
            parts = d.dim_param.split(" + ")
            kinds = [(p.isdigit() and int(p)) or ("batch" in p and 1) or ("past" in p and "encoder" not in p and cached * 5) or
                     ("encoder" in p and 7) or ("past" not in p and (1 if cached else 6)) or 0 for p in parts]
            shape.append(d.dim_value or sum(kinds))
        kind = i.type.tensor_type.elem_type
        if kind == onnx.TensorProto.BOOL:
            feed[i.name] = np.full(shape, cached)
        elif kind == onnx.TensorProto.FLOAT:
            feed[i.name] = (rng.standard_normal(shape) * 0.3).astype(np.float32)
        else:
            feed[i.name] = np.ones(shape, np.int64) if "mask" in i.name else rng.integers(0, 90, shape)
    return feed


def static_branches(task, preset, directory):
    """Both branches of a merged decoder are quantized, and give about what they gave."""
    directory = pathlib.Path(directory)
    export(checkpoint(task, directory), directory / "onnx", "--task", f"{task.split('/')[1]}-with-past", "--decoder", "merged")
    run_cli("--onnx_model", directory / "onnx", f"--{preset}", "--static", "-o", directory / "out")
    files = directory / "onnx/decoder_model_merged.onnx", directory / "out/decoder_model_merged_quantized.onnx"
    onnx.checker.check_model(str(files[1]))
    nodes, _ = contents(files[1])
    for branch in "then_branch", "else_branch":
        assert any(n.op_type == "QuantizeLinear" and scope.endswith(branch) for (scope, _), n in nodes.items()), branch
    worst = 0
    for cached in False, True:
        feed = decoder_feed(files[0], cached)
        was, now = (onnxruntime.InferenceSession(str(f), providers=["CPUExecutionProvider"]).run(None, feed) for f in files)
        worst = max(worst, *(float(np.linalg.norm(a - b) / max(np.linalg.norm(a), 1e-6)) for a, b in zip(was, now) if a.size))
    assert worst < 0.15, f"relative difference {worst:.3f}"
    return f"relative difference {worst:.3f}"


def static_embeddings(model, preset, least):
    """MiniLM calibrated on texts through its tokenizer."""
    recorded = DATA / "real/all-MiniLM-L6-v2/texts.json"
    with scratch() as directory:
        lines = pathlib.Path(directory) / "texts.jsonl"
        lines.write_text("".join(json.dumps(t) + "\n" for t in json.loads(recorded.read_text())))
        return embeddings(model, [f"--{preset}", "--static", "--calibration_texts", str(lines)], least)


def tool_blocks(w, bits, size, symmetric):
    """What ONNX Runtime's tool makes of a [K, N] weight."""
    k, n = w.shape
    blocks, per_byte = -(-k // size), 8 // bits
    packed = np.zeros((n, blocks, size // per_byte), np.uint8)
    scales = np.zeros((n, blocks), np.float32)
    zeros = np.zeros((n, -(-blocks // per_byte)), np.uint8)
    padded = np.pad(w, ((0, blocks * size - k), (0, 0)))
    function = _pybind_state.quantize_matmul_4bits if bits == 4 else _pybind_state.quantize_matmul_8bits
    function(packed, padded, scales, zeros, size, n, k, symmetric)
    return {f"_Q{bits}": packed, "_scales": scales} | ({} if symmetric else {"_zero_points": zeros})


def blocks(bits, size, symmetric, directory):
    rng = np.random.default_rng(bits * 1000 + size)
    k, n = 70, 6
    w = {"w": rng.standard_normal((k, n)).astype(np.float32), "t": rng.standard_normal((n, k)).astype(np.float32)}
    w["w"][:32, 1] = 0
    helper, shape = onnx.helper, onnx.helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "mm"), helper.make_node("Gemm", ["x", "t"], ["z"], "g", transB=1)],
        "g", [shape("x", 1, ["n", k])], [shape("y", 1, ["n", n]), shape("z", 1, ["n", n])],
        [numpy_helper.from_array(v, name) for name, v in w.items()])
    file = pathlib.Path(directory) / "b.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), file)
    more = [] if symmetric else ["--asymmetric"]
    run_cli("--onnx_model", file, f"--int{bits}", "--block_size", size, *more, "-o", pathlib.Path(directory) / "out")
    _, tensors = contents(pathlib.Path(directory) / "out/b_quantized.onnx")
    for name, weight in (("w", w["w"]), ("t", np.ascontiguousarray(w["t"].T))):
        for ending, t in tool_blocks(weight, bits, size, symmetric).items():
            assert np.array_equal(tensors["", name + ending], t), name + ending


def tool_codes(w, code, size):
    """What ONNX Runtime's tool makes of a [K, N] weight by MatMulBnb4Quantizer."""
    k, n = w.shape
    packed, scales = np.zeros((n * k + 1) // 2, np.uint8), np.zeros(-(-n * k // size), w.dtype)
    _pybind_state.quantize_matmul_bnb4(packed, w.T.copy(), scales, size, code, n, k)
    return {"_Bnb4": packed, "_absmax": scales}


def near_limits():
    """Elements at and beside every threshold of both kinds, below a largest one of 1."""
    table = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
             -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
             0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
    magnitudes = [0, 5.208333333e-3, 1 / 6, 0.25, 1 / 3, 0.5, 2 / 3, 1]
    middles = [(a + b) / 2 for t in (table, magnitudes) for a, b in zip(t, t[1:])] + [0.00260417, 0.583333]
    steps = np.float32(middles).view(np.int32)[:, None] + np.arange(-4, 5, dtype=np.int32)
    return np.concatenate([steps.view(np.float32).ravel() * s for s in (1, -1)])


def codes(kind, size, directory):
    """NF4 and FP4 against the tool's own kernel; ONNX Runtime and the reference executor run the file to the same numbers."""
    rng = np.random.default_rng(size)
    directory = pathlib.Path(directory)
    k, n = 70, 9 if kind == "nf4" else 8 # an odd number of elements, too
    w = {"w": rng.standard_normal((k, n)).astype(np.float32), "t": rng.standard_normal((n, k)).astype(np.float32)}
    limits = near_limits()
    for at in range(0, n * k, size): # every block begins with its largest element
        w["t"].reshape(-1)[at:at + size] = np.resize(np.roll(limits, -at), min(size, n * k - at))
        w["t"].reshape(-1)[at] = 1
    w["w"][:32, 1] = 0
    helper, shape = onnx.helper, onnx.helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "mm"), helper.make_node("Gemm", ["x", "t"], ["z"], "g", transB=1)],
        "g", [shape("x", 1, ["n", k])], [shape("y", 1, ["n", n]), shape("z", 1, ["n", n])],
        [numpy_helper.from_array(v, name) for name, v in w.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), directory / "b.onnx")
    run_cli("--onnx_model", directory / "b.onnx", f"--{kind}", "--block_size", size, "-o", directory / "out")
    file = directory / "out/b_quantized.onnx"
    nodes, tensors = contents(file)
    for name, weight in (("w", w["w"]), ("t", np.ascontiguousarray(w["t"].T))):
        for ending, t in tool_codes(weight, ["fp4", "nf4"].index(kind), size).items():
            assert tensors["", name + ending].tobytes() == t.tobytes(), name + ending
    theirs = MatMulBnb4Quantizer(onnx.load(directory / "b.onnx"), ["fp4", "nf4"].index(kind), size)
    theirs.process()
    node = next(v for v in theirs.model.model.graph.node if v.op_type == "MatMulBnb4")
    assert described(nodes["", node.name]) == described(node), node
    feed = {"x": rng.standard_normal((3, k)).astype(np.float32)}
    save_file(feed, directory / "in.safetensors")
    subprocess.run([CLI, "run", "--executor", "reference", file, "--inputs", directory / "in.safetensors", "--output",
                    directory / "got.safetensors"], check=True)
    got = load_file(directory / "got.safetensors")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for name, want in zip("yz", session.run(["y", "z"], feed), strict=True):
        assert np.allclose(got[name], want, atol=1e-5), name


def embeddings(model, arguments, least):
    """The mean cosine of MiniLM's embeddings with PyTorch's. --as_optimum loses what the original's files lose: they are equal."""
    from transformers import AutoTokenizer

    recorded = DATA / "real/all-MiniLM-L6-v2"
    texts = json.loads((recorded / "texts.json").read_text())
    want = load_file(recorded / "expected.safetensors")["outputs/sentence_embedding"]
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokens = dict(tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="np"))
    with scratch() as directory:
        out = pathlib.Path(directory) / "onnx"
        export(model, out)
        run_cli("--onnx_model", out, *arguments, "-o", pathlib.Path(directory) / "q")
        file = str(pathlib.Path(directory) / "q/model_quantized.onnx")
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        names = {i.name for i in session.get_inputs()}
        got = session.run(["sentence_embedding"], {k: v for k, v in tokens.items() if k in names})[0]
    a, b = (x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (got, want))
    cosine = float((a * b).sum(axis=1).mean())
    assert cosine >= least, f"cosine {cosine:.4f}"
    return f"cosine {cosine:.5f}"


def main(minilm):
    logging.disable(logging.WARNING)
    report = Report()
    for task in TASKS:
        with scratch() as directory:
            out = pathlib.Path(directory) / "onnx"
            export(checkpoint(task.removesuffix("-with-past"), directory), out, "--task", task.split("/")[1])
            for i, file in enumerate(onnx_files(out)):
                for preset in PRESETS if i == 0 else PRESETS[:1]:
                    if file.stem != "decoder_model_merged": # the original's branches each get a copy of the weights
                        with scratch() as work:
                            report.check(f"{task} {file.name} {preset}", against_optimum, file, *preset, work)
            with scratch() as work:
                report.check(f"ort_config.json of {task}", same_config, "avx2", out, work)
    for seed in SEEDS:
        for preset in PRESETS:
            with scratch() as work:
                file = DATA / "fuzz/quantize" / f"{seed}.onnx"
                report.check(f"{seed} {preset}", against_optimum, file, *preset, work)
    with scratch() as directory:
        out = pathlib.Path(directory) / "onnx"
        export(checkpoint("bert/text-classification", directory), out, "--task", "text-classification")
        for preset, per_channel in (("avx512_vnni", False), ("avx512_vnni", True), ("tensorrt", False)):
            with scratch() as work:
                report.check(f"static, {preset}, per channel {per_channel}", static_against_optimum, out / "model.onnx",
                             static_config(preset, per_channel), work)
    with scratch() as directory:
        files = [write_convolutions(directory)]
        for task in STATIC_TASKS:
            out = pathlib.Path(directory) / task.replace("/", "-")
            export(checkpoint(task.removesuffix("-with-past"), directory), out, "--task", task.split("/")[1])
            files.append(out / "model.onnx")
        for file in files:
            for name, changes in STATIC.items():
                if "gpt2" in str(file) and name.startswith("QDQ") and changes.get("per_channel"):
                    continue # the tool gives rows of the table that is also a weight the scales of its columns
                with scratch() as work:
                    report.check(f"static, {file.parent.name} {file.name}, {name}", static_against_optimum, file,
                                 static_config("avx512_vnni", changes=changes), work)
    for task in ("t5/text2text-generation", "bart/text2text-generation"):
        for preset in ("avx512_vnni", "tensorrt"):
            with scratch() as work:
                report.check(f"static, {task}, merged decoder, {preset}", static_branches, task, preset, work)
    for preset, least in (("avx2", 0.99), ("avx512_vnni", 0.99), ("tensorrt", 0.98)):
        report.check(f"MiniLM {preset}, static, calibrated on texts", static_embeddings, minilm, preset, least)
    for bits in (4, 8):
        for size in (16, 32, 128):
            for symmetric in (True, False):
                with scratch() as work:
                    report.check(f"{bits} bits, blocks of {size}, symmetric {symmetric}", blocks, bits, size, symmetric, work)
    for kind in ("nf4", "fp4"):
        for size in (16, 64, 128):
            with scratch() as work:
                report.check(f"{kind}, blocks of {size}", codes, kind, size, work)
    for arguments, least in (("--avx2 --as_optimum", 0.9), ("--avx2 --as_optimum --per_channel", 0.98), ("--avx2", 0.985), ("--arm64", 0.99),
                             ("--int8", 0.999), ("--int4 --hqq", 0.95), ("--int8 --float16", 0.999), ("--nf4", 0.95), ("--float16", 0.99999)):
        report.check(f"MiniLM {arguments}", embeddings, minilm, arguments.split(), least)
    report.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
