"""Files optimized here, ours and those that Optimum's exporter wrote: ONNX Runtime computes the same before and after.

The nodes are counted beside those that Optimum's optimizer leaves of our files; what it makes of its own is reported only, as
attention is not fused here.
"""

import logging
import pathlib
import subprocess

import numpy as np
import onnx
import onnxruntime
from optimum.exporters.onnx import main_export
from optimum.onnxruntime import ORTOptimizer
from optimum.onnxruntime.configuration import AutoOptimizationConfig

from common import CLI, Report, checkpoint, export, onnx_files, scratch

TASKS = ["bert/text-classification", "roberta/fill-mask", "gpt2/text-generation-with-past",
         "llama/text-generation-with-past", "t5/text2text-generation-with-past"]
SLACK = 4  # residual sums stay apart here, by measurement


def nodes(graph):
    inner = (a.g for n in graph.node for a in n.attribute if a.type == onnx.AttributeProto.GRAPH)
    return len(graph.node) + sum(map(nodes, inner))


def extent(axis):
    if isinstance(axis, int):
        return axis
    if "batch" in axis:
        return 2
    if "+" in axis:
        return 7
    return 3 if "past" in axis else 4


def feeds(session, use_cache):
    rng = np.random.default_rng(0)
    values = {}
    for port in session.get_inputs():
        shape = [extent(axis) for axis in port.shape]
        if "bool" in port.type:
            values[port.name] = np.full(shape, use_cache)
        elif "int64" in port.type:
            values[port.name] = np.ones(shape, np.int64)
        else:
            values[port.name] = rng.standard_normal(shape).astype(np.float32)
    return values


def same_values(before, after, tolerance):
    a, b = (onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]) for path in (before, after))
    worst = 0.0
    for use_cache in (True, False) if "merged" in before.name else (True,):
        values = feeds(a, use_cache)
        for x, y in zip(a.run(None, values), b.run(None, values)):
            if x.size:
                worst = max(worst, float(np.abs(x - y).max() / max(1, np.abs(x).max())))
    assert worst <= tolerance, f"relative difference {worst}"
    return f"{nodes(onnx.load(before).graph)} -> {nodes(onnx.load(after).graph)} nodes"


def optimized(file, level, work):
    result = subprocess.run([CLI, "onnxruntime", "optimize", "-q", "--onnx_model", file, f"-{level}", "-o", work],
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stderr.strip()[-300:]
    return pathlib.Path(work) / f"{file.stem}_optimized.onnx"


def keeps_values(file, level, tolerance):
    with scratch() as work:
        return same_values(file, optimized(file, level, work), tolerance)


def counts(file):
    with scratch() as work, scratch() as theirs:
        ours = nodes(onnx.load(optimized(file, "O2", work)).graph)
        optimizer = ORTOptimizer.from_pretrained(file.parent, file_names=[file.name])
        optimizer.optimize(optimization_config=AutoOptimizationConfig.O2(), save_dir=theirs)
        original = nodes(onnx.load(pathlib.Path(theirs) / f"{file.stem}_optimized.onnx").graph)
        assert ours <= original + SLACK, f"{ours} nodes, Optimum leaves {original}"
        return f"{ours} nodes, Optimum leaves {original}"


def main():
    logging.disable(logging.WARNING)
    report = Report()
    for task in TASKS:
        with scratch() as directory:
            out, theirs = (pathlib.Path(directory) / name for name in ("ours", "theirs"))
            model = checkpoint(task, directory)
            export(model, out, "--task", task.split("/")[1])
            main_export(str(model), str(theirs), task=task.split("/")[1], do_validation=False)
            for origin in (out, theirs):
                for file in onnx_files(origin):
                    for level, tolerance in (("O1", 1e-5), ("O2", 1e-5), ("O3", 5e-3)):
                        report.check(f"{task}, {origin.name}/{file.name} {level}", keeps_values, file, level, tolerance)
            for file in onnx_files(out):
                report.check(f"{task} {file.name}, nodes", counts, file)
    report.close()


if __name__ == "__main__":
    main()
