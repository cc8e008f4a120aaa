"""Our files have the signature of the original's own export of the same checkpoint: files, names, order, types, axes."""

import pathlib
import re
import subprocess
import sys

import onnx

from common import Report, checkpoint, equal, export, onnx_files, scratch

CASES = [
    ("distilbert/question-answering", []),
    ("bert/multiple-choice", []),
    ("gpt2/text-generation-with-past", []),
    ("llama/text-generation-with-past", ["--opset", "14"]),
    ("t5/text2text-generation-with-past", []),
    ("t5/text2text-generation-with-past", ["--no-post-process"]),
    ("t5/text2text-generation", ["--monolith"]),
    ("bart/question-answering", []),
    ("bart/text-generation-with-past", []),
    ("marian/text2text-generation-with-past", []),
    ("bert/text-classification", ["--no-dynamic-axes", "--sequence_length", "8"]),
]
# Beside the models: files that describe them.
OTHER = {"config.json", "generation_config.json"}
# Axis names that PyTorch's tracer makes up where the original declares none.
MADE_UP = re.compile(r"[A-Z]|_dim_\d|::")


def dims(value):
    return [d.dim_param if d.HasField("dim_param") else d.dim_value for d in value.type.tensor_type.shape.dim]


def ports(values):
    return [(v.name, onnx.TensorProto.DataType.Name(v.type.tensor_type.elem_type), dims(v)) for v in values]


def same_ports(ours, theirs):
    equal([p[:2] for p in ours], [p[:2] for p in theirs])
    for (name, _, got), (_, _, want) in zip(ours, theirs, strict=True):
        assert len(got) == len(want), f"{name}: {got}, expected {want}"
        for a, b in zip(got, want):
            assert a == b or (isinstance(b, str) and MADE_UP.search(b)), f"{name}: {got}, expected {want}"


def export_theirs(model, out, *args):
    program = pathlib.Path(sys.executable).parent / "optimum-cli"
    result = subprocess.run([program, "export", "onnx", "--model", model, *args, out], capture_output=True, text=True)
    assert result.returncode == 0, f"the original failed: {result.stderr.strip()[-300:]}"


def check(case, arguments, directory):
    source = checkpoint(case, directory)
    arguments = ["--task", case.split("/")[1], *arguments]
    with scratch() as ours, scratch() as theirs:
        export_theirs(source, theirs, *arguments)
        export(source, ours, *arguments)
        names = [p.name for p in onnx_files(theirs)]
        equal([p.name for p in onnx_files(ours)], names)
        listing = lambda d: {p.name for p in pathlib.Path(d).iterdir() if p.suffix == ".onnx" or p.name in OTHER}
        equal(listing(ours), listing(theirs))
        for name in names:
            a, b = (onnx.load(f"{d}/{name}", load_external_data=False) for d in (ours, theirs))
            same_ports(ports(a.graph.input), ports(b.graph.input))
            same_ports(ports(a.graph.output), ports(b.graph.output))
            equal(a.opset_import[0].version, b.opset_import[0].version)
        return f"{len(names)} file{'s' * (len(names) > 1)}"


def main():
    report = Report()
    with scratch() as directory:
        for case, arguments in CASES:
            report.check(" ".join([case, *arguments]), check, case, arguments, directory)
    report.close()


if __name__ == "__main__":
    main()
