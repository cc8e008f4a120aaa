#!/usr/bin/env python3
"""tests/golden/record_exports.py BUILD OUT: what Optimum's exporter writes for some of the goldens, and how many nodes its optimizer
leaves of that and of our files, as tests/data/README.md describes.

Needs Python with optimum-onnx and onnxruntime, and a BUILD of this project."""
import logging
import pathlib
import subprocess
import sys
import tempfile

import onnx
from optimum.exporters.onnx import main_export
from optimum.onnxruntime import ORTOptimizer
from optimum.onnxruntime.configuration import AutoOptimizationConfig

GOLDENS = pathlib.Path(__file__).parent.parent / "data" / "goldens"
TASKS = ["bert/text-classification", "roberta/fill-mask", "gpt2/text-generation-with-past", "llama/text-generation-with-past",
         "t5/text2text-generation-with-past"]
LEVELS = {"O1": AutoOptimizationConfig.O1, "O2": AutoOptimizationConfig.O2, "O3": AutoOptimizationConfig.O3}


def nodes(graph):
    inner = (a.g for n in graph.node for a in n.attribute if a.type == onnx.AttributeProto.GRAPH)
    return len(graph.node) + sum(map(nodes, inner))


def loads(path):
    import onnxruntime

    onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return True


def count(file, level):
    """Nodes that Optimum's optimizer leaves; "-" where it fails, or what it writes cannot be loaded."""
    with tempfile.TemporaryDirectory() as out:
        try:
            ORTOptimizer.from_pretrained(file.parent, file_names=[file.name]).optimize(
                optimization_config=LEVELS[level](), save_dir=out)
            made = pathlib.Path(out) / f"{file.stem}_optimized.onnx"
            loads(made)
            return nodes(onnx.load(made).graph)
        except Exception as error:  # whatever it is, there is no count
            print(f"{file} {level}: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
            return "-"


def record(build, out, case, lines, scratch):
    model, task = case.split("/")
    checkpoint, theirs, ours = scratch / model, scratch / f"{model}-theirs", scratch / f"{model}-ours"
    subprocess.run([build / "tools/mkckpt", GOLDENS / case, checkpoint], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([build / "optimum-cli", "export", "onnx", "-q", "--no-validation", "--model", checkpoint, "--task", task, ours],
                   check=True)
    main_export(str(checkpoint), str(theirs), task=task, do_validation=False)
    (out / case).mkdir(parents=True, exist_ok=True)
    for origin, directory in (("optimum", theirs), ("ours", ours)):
        for file in sorted(directory.glob("*.onnx")):
            counts = [str(count(file, level)) for level in LEVELS]
            lines.append("\t".join([origin, case, file.name, str(nodes(onnx.load(file).graph)), *counts]))
            print(lines[-1], flush=True)
            if origin == "optimum":
                (out / case / file.name).write_bytes(file.read_bytes())


def main():
    build, out = (pathlib.Path(p).absolute() for p in sys.argv[1:3])
    lines = ["\t".join(["origin", "golden", "file", "nodes", *LEVELS])]
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        for case in TASKS:
            record(build, out, case, lines, pathlib.Path(scratch))
    (out / "nodes.tsv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
