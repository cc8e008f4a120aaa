"""Every kind of file we write passes onnx.checker's full check and strict shape inference, and its data can be read.

The exports are validated against ONNX Runtime on the way (--strict), at every opset.
"""

import itertools
import pathlib

import onnx

from common import Report, checkpoint, export, onnx_files, scratch

TASKS = [
    "bert/token-classification",
    "camembert/multiple-choice",
    "distilbert/question-answering",
    "gpt2/text-generation-with-past",
    "llama/text-generation-with-past",
    "roberta/text-classification",
    "t5/text2text-generation-with-past",
    "xlm-roberta/fill-mask",
]
OPSETS = [14, 18, 21, 23]
WEIGHTS = ["embedded", "external", "safetensors"]
# Switches that change the graph or its data: (arguments, only for these tasks).
SWITCHES = [
    (["--linear", "matmul"], None),
    (["--linear", "matmul", "--opset", "14", "--weights", "external"], None),
    (["--no-dynamic-axes"], None),
    (["--no-constant-folding"], None),
    (["--weights-dtype", "fp16"], None),
    (["--weights-dtype", "fp16", "--opset", "23", "--weights", "external"], None),
    (["--weights-dtype", "bf16"], None),
    (["--weights-dtype", "keep"], None),
    (["--no-post-process"], ["t5"]),
    (["--no-post-process", "--weights", "safetensors"], ["t5"]),
    (["--decoder", "single"], ["t5"]),
    (["--decoder", "single", "--weights", "external", "--opset", "14"], ["t5"]),
]
# Tasks with arguments of their own.
MORE = [
    ("t5/text2text-generation", ["--monolith"]),
    ("t5/text2text-generation", []),
    ("t5/feature-extraction", ["--monolith"]),
    ("t5/feature-extraction", []),
    ("t5/feature-extraction-with-past", []),
    ("bart/text-classification", []),
    ("m2m_100/text2text-generation-with-past", ["--decoder", "single", "--opset", "23"]),
    ("marian/text2text-generation-with-past", []),
    ("gpt2/text-generation", []),
    ("gpt2/text-classification", ["--pad_token_id", "0"]),
    ("gpt2/feature-extraction-with-past", []),
    ("llama/feature-extraction", []),
    ("llama/text-classification", ["--pad_token_id", "0"]),
    ("bert/feature-extraction", []),
    ("bert/question-answering", ["--opset", "23", "--linear", "matmul"]),
]


def is_file_complete(path):
    """The file passes the checker; all its tensors can be loaded; no output lost its declared shape."""
    onnx.checker.check_model(str(path), full_check=True)
    inferred = path.with_suffix(".inferred")
    onnx.shape_inference.infer_shapes_path(str(path), str(inferred), check_type=True, strict_mode=True, data_prop=True)
    declared = onnx.load(str(path))
    after = onnx.load(str(inferred), load_external_data=False)
    inferred.unlink()
    for a, b in zip(declared.graph.output, after.graph.output, strict=True):
        assert a.type == b.type, f"output {a.name}: inference disagrees with what is declared"
    return len(declared.graph.node)


def check(task, arguments, directory):
    with scratch() as out:
        export(checkpoint(task, directory), out, "--task", task.split("/")[1], *arguments)
        files = onnx_files(out)
        assert files, "nothing was exported"
        nodes = [is_file_complete(path) for path in files]
    return " + ".join(map(str, nodes)) + " nodes"


def main():
    report = Report()
    with scratch() as directory:
        jobs = []
        for task in TASKS:
            jobs += [(task, ["--opset", o, "--weights", w]) for o, w in itertools.product(OPSETS, WEIGHTS)]
            jobs += [(task, a) for a, types in SWITCHES if types is None or task.split("/")[0] in types]
        for task, arguments in jobs + MORE:
            report.check(" ".join([task, *map(str, arguments)]), check, task, arguments, directory)
    report.close()


if __name__ == "__main__":
    main()
