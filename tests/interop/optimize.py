"""Files optimized here, ours (with Gemm and with MatMul) and those that Optimum's exporter wrote: ONNX Runtime computes the same
before and after, with padding on either side, with and without a past; the ONNX checker accepts them; and no more nodes are left
than Optimum's optimizer leaves of its own files. Where the onnxscript package is installed, files of PyTorch's newer exporter
(torch.export) are taken as well.
"""

import dataclasses
import importlib.util
import json
import logging
import pathlib
import subprocess

import numpy as np
import onnx
import onnxruntime
from optimum.exporters.onnx import main_export
from optimum.onnxruntime import ORTOptimizer
from optimum.onnxruntime.configuration import AutoOptimizationConfig, OptimizationConfig, ORTConfig

from common import CLI, Report, checkpoint, export, onnx_files, scratch

TASKS = ["bert/text-classification", "roberta/fill-mask", "gpt2/text-generation-with-past",
         "llama/text-generation-with-past", "t5/text2text-generation-with-past"]
LEVELS = [("O1", 1e-5), ("O2", 1e-5), ("O3", 5e-3)]
NEWER = {"bert/text-classification": "AutoModelForSequenceClassification", "gpt2/text-generation-with-past": "AutoModelForCausalLM",
         "llama/text-generation-with-past": "AutoModelForCausalLM"}
EMBEDDINGS = {"optimization": {"optimization_level": 2, "disable_embed_layer_norm_fusion": False}, "quantization": {}}


def nodes(graph):
    inner = (a.g for n in graph.node for a in n.attribute if a.type == onnx.AttributeProto.GRAPH)
    return len(graph.node) + sum(map(nodes, inner))


def extent(axis, batch, past):
    if isinstance(axis, int):
        return axis
    if "batch" in axis:
        return batch
    if "+" in axis:
        return past + 4
    return past if "past" in axis else 4


def tokens(shape, padded):
    """A mask; every text but the first lacks one token more, on the side that is padded."""
    mask = np.ones(shape, np.int64)
    for i in range(1 if padded else shape[0], shape[0]):
        mask[i, slice(0, i) if padded == "left" else slice(shape[1] - i, None)] = 0
    return mask


def feeds(session, use_cache, batch, past, padded):
    rng = np.random.default_rng(0)
    values = {}
    for port in session.get_inputs():
        shape = [extent(axis, batch, past) for axis in port.shape]
        if "bool" in port.type:
            values[port.name] = np.full(shape, use_cache)
        elif "mask" in port.name:
            values[port.name] = tokens(shape, padded)
        elif "int64" in port.type:
            values[port.name] = rng.integers(0, 2, shape)
        else:
            values[port.name] = rng.standard_normal(shape).astype(np.float32)
    return values


def cases(session):
    names = [port.name for port in session.get_inputs()]
    pasts = (0, 3) if any("past" in name for name in names) else (0,)
    branches = (True, False) if "use_cache_branch" in names else (True,)
    return [(use_cache, batch, past, padded) for use_cache in branches for batch in (1, 3) for past in pasts
            for padded in (None, "left", "right")]


def same_values(before, after, tolerance):
    a, b = (onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]) for path in (before, after))
    worst = 0.0
    for case in cases(a):
        values = feeds(a, *case)
        for x, y in zip(a.run(None, values), b.run(None, values)):
            assert x.shape == y.shape, f"shape {y.shape}, expected {x.shape} with {case}"
            if x.size:
                worst = max(worst, float(np.abs(x - y).max() / max(1, np.abs(x).max())))
    assert worst <= tolerance, f"relative difference {worst}"
    for path in (before, after):
        onnx.checker.check_model(str(path), full_check=True)
    return f"{nodes(onnx.load(before).graph)} -> {nodes(onnx.load(after).graph)} nodes"


def optimized(file, how, work):
    """how: a level, or the contents of an ort_config.json."""
    option = [f"-{how}"]
    if isinstance(how, dict):
        config = pathlib.Path(work) / "how.json"
        config.write_text(json.dumps(how))
        option = ["-c", config]
    result = subprocess.run([CLI, "onnxruntime", "optimize", "-q", "--onnx_model", file, *option, "-o", work],
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr.strip()[-300:]
    return pathlib.Path(work) / f"{file.stem}_optimized.onnx"


def keeps_values(file, level, tolerance):
    with scratch() as work:
        return same_values(file, optimized(file, level, work), tolerance)


def left_by_optimum(directory):
    """Nodes that Optimum's optimizer leaves, by file; merged decoders are not among them: it writes an empty file."""
    left = {}
    for file in onnx_files(directory):
        with scratch() as work:
            optimizer = ORTOptimizer.from_pretrained(directory, file_names=[file.name])
            optimizer.optimize(optimization_config=AutoOptimizationConfig.O2(), save_dir=work)
            left[file.name] = nodes(onnx.load(pathlib.Path(work) / f"{file.stem}_optimized.onnx").graph)
    return {name: count for name, count in left.items() if count > 0}


def counts(file, limit):
    with scratch() as work:
        ours = nodes(onnx.load(optimized(file, "O2", work)).graph)
        assert ours <= limit, f"{ours} nodes, Optimum leaves {limit}"
        return f"{ours} nodes, Optimum leaves {limit}"


def export_newer(task, model, out):
    """A file of torch.export, without a cache."""
    if not importlib.util.find_spec("onnxscript") or task not in NEWER:
        return
    import torch
    import transformers

    loaded = getattr(transformers, NEWER[task]).from_pretrained(model).eval()
    loaded.config.use_cache = False
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    inputs = {"input_ids": torch.ones(2, 6, dtype=torch.int64), "attention_mask": torch.ones(2, 6, dtype=torch.int64)}
    program = torch.export.export(loaded, (), inputs, dynamic_shapes={name: axes for name in inputs}, strict=False)
    out.mkdir()
    torch.onnx.export(program, (), str(out / "model.onnx"), kwargs=inputs, dynamo=True, opset_version=18, verbose=False,
                      external_data=False)
    name_axes(out / "model.onnx")


def name_axes(file):
    """Axes called batch and sequence in place of the exporter's symbols."""
    model = onnx.load(file)
    symbols = [axis.dim_param for axis in model.graph.input[0].type.tensor_type.shape.dim]
    for port in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for axis in port.type.tensor_type.shape.dim:
            if axis.dim_param in symbols:
                axis.dim_param = ("batch", "sequence")[symbols.index(axis.dim_param)]
    onnx.save(model, file)


def check_task(report, task, directory):
    name = task.split("/")[1]
    gemm, matmul, theirs, newer = (pathlib.Path(directory) / origin for origin in ("gemm", "matmul", "theirs", "newer"))
    model = checkpoint(task, directory)
    export(model, gemm, "--task", name)
    export(model, matmul, "--task", name, "--linear", "matmul")
    main_export(str(model), str(theirs), task=name, do_validation=False)
    export_newer(task, model, newer)
    limits = left_by_optimum(theirs)
    for file in (file for origin in (gemm, matmul, theirs, newer) for file in onnx_files(origin)):
        title = f"{task}, {file.parent.name}/{file.name}"
        for level, tolerance in LEVELS:
            report.check(f"{title} {level}", keeps_values, file, level, tolerance)
        if "token_type_ids" in {port.name for port in onnx.load(file).graph.input}:
            report.check(f"{title} embeddings", keeps_values, file, EMBEDDINGS, 1e-5)
        if file.name in limits:
            report.check(f"{title}, nodes", counts, file, limits[file.name])


def same_configurations(file, directory):
    """Every key of OptimizationConfig, turned one by one, is written back as Optimum writes it."""
    directory = pathlib.Path(directory)
    for field in dataclasses.fields(OptimizationConfig):
        default = field.default
        config = OptimizationConfig(**{field.name: not default if isinstance(default, bool) else 2})
        ORTConfig(optimization=config).save_pretrained(directory)
        result = subprocess.run([CLI, "onnxruntime", "optimize", "-q", "--onnx_model", file, "-c", directory / "ort_config.json",
                                 "-o", directory / "out"], capture_output=True, text=True)
        assert result.returncode == 0, f"{field.name}: {result.stderr.strip()[-300:]}"
        texts = [(directory / d / "ort_config.json").read_text() for d in (".", "out")]
        assert texts[0] == texts[1], f"{field.name}: {texts[1]}"


def main():
    logging.disable(logging.WARNING)
    report = Report()
    for task in TASKS:
        with scratch() as directory:
            check_task(report, task, directory)
            if task == TASKS[0]:
                report.check("ort_config.json", same_configurations, pathlib.Path(directory) / "gemm/model.onnx", directory)
    report.close()


if __name__ == "__main__":
    main()
