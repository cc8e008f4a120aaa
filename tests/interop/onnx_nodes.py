"""The cases that the onnx package has for its operators, in the reference executor.

A case that the executor refuses counts as skipped (strings, random numbers, training); the refusals are listed by their message.
"""

import collections
import re
import subprocess
import sys
import warnings

import ml_dtypes  # noqa: F401 (numpy's names of bfloat16 and float8)
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from safetensors.numpy import load_file, save_file

from common import CLI, scratch

SMALL = re.compile(r"float8|float4")  # reals that safetensors has no name for here: their bits
TOLERANCE = {"bfloat16": 1 / 64, "float16": 1 / 512}  # results are rounded once


class Refused(Exception):
    pass


def storable(value):
    """As the executor's files hold it."""
    name = value.dtype.name
    if value.dtype.kind in "OUSc":
        raise Refused(f"elements of {value.dtype}")
    if SMALL.match(name):
        return value.view(np.uint8)
    if re.fullmatch(r"u?int[24]", name):
        return value.astype(np.uint8 if name.startswith("u") else np.int8)
    return value


def array(value):
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def tensor_type(kind):
    """The element type of a sequence or of an optional, through all layers."""
    while kind.WhichOneof("value") != "tensor_type":
        kind = getattr(kind, kind.WhichOneof("value")).elem_type
    return kind.tensor_type.elem_type


def build(graph, kind, value, name, feeds):
    """Make a value that is no tensor from tensors; nodes go in front."""
    if kind.WhichOneof("value") == "tensor_type":
        graph.input.append(helper.make_tensor_value_info(name, tensor_type(kind), None))
        feeds[name] = np.asarray(array(value))
    elif kind.WhichOneof("value") == "optional_type":
        inner = kind.optional_type.elem_type
        node = helper.make_node("Optional", [] if value is None else [f"{name}_some"], [name], **({"type": inner} if value is None else {}))
        graph.node.insert(0, node)
        if value is not None:
            build(graph, inner, value, f"{name}_some", feeds)
    else:
        items = [f"{name}_{i}" for i in range(len(value))]
        empty = helper.make_node("SequenceEmpty", [], [name], dtype=tensor_type(kind))
        graph.node.insert(0, helper.make_node("SequenceConstruct", items, [name]) if items else empty)
        for item, one in zip(items, value):
            build(graph, kind.sequence_type.elem_type, one, item, feeds)


def take_apart(graph, kind, value, name, wants):
    """Give a value that is no tensor as tensors."""

    def output(port, want, elem):
        graph.output.append(helper.make_tensor_value_info(port, elem, None))
        wants[port] = np.asarray(array(want))

    if kind.WhichOneof("value") == "tensor_type":
        output(name, value, tensor_type(kind))
    elif kind.WhichOneof("value") == "optional_type":
        graph.node.append(helper.make_node("OptionalHasElement", [name], [f"{name}_has"]))
        output(f"{name}_has", np.array(value is not None), TensorProto.BOOL)
        if value is not None:
            graph.node.append(helper.make_node("OptionalGetElement", [name], [f"{name}_some"]))
            take_apart(graph, kind.optional_type.elem_type, value, f"{name}_some", wants)
    else:
        graph.node.append(helper.make_node("SequenceLength", [name], [f"{name}_n"]))
        output(f"{name}_n", np.array(len(value), np.int64), TensorProto.INT64)
        for i, one in enumerate(value):
            graph.node.append(helper.make_node("Constant", [], [f"{name}_at{i}"], value_int=i))
            graph.node.append(helper.make_node("SequenceAt", [name, f"{name}_at{i}"], [f"{name}_{i}"]))
            take_apart(graph, kind.sequence_type.elem_type, one, f"{name}_{i}", wants)


def prepare(case):
    """The model with tensors alone as inputs and outputs, and those."""
    model, (inputs, outputs) = onnx.load_from_string(case.model.SerializeToString()), case.data_sets[0]
    graph, feeds, wants = model.graph, {}, {}
    ports, results = list(graph.input), list(graph.output)
    del graph.input[:], graph.output[:]
    for port, value in zip(ports, inputs):
        build(graph, port.type, value, port.name, feeds)
    for port, value in zip(results, outputs, strict=True):
        take_apart(graph, port.type, value, port.name, wants)
    return model, {k: storable(v) for k, v in feeds.items()}, {k: storable(v) for k, v in wants.items()}


def check(case, directory):
    paths = [f"{directory}/{n}" for n in ("m.onnx", "i.safetensors", "o.safetensors")]
    model, feeds, wants = prepare(case)
    onnx.save(model, paths[0])
    save_file({k: np.array(v, order="C") for k, v in feeds.items()}, paths[1])
    command = [CLI, "run", "--executor", "reference", paths[0], "-i", paths[1], "-o", paths[2]]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode >= 0, f"signal {-result.returncode}"
    if result.returncode != 0:
        raise Refused(result.stderr.strip().split("reference executor: ")[-1].removeprefix(f"optimum-cli: error: {paths[0]}: "))
    got = load_file(paths[2])
    for name, want in wants.items():
        value = got[name]
        assert value.dtype == want.dtype and value.shape == want.shape, f"{name}: {value.dtype} {value.shape}, expected {want.dtype} {want.shape}"
        np.testing.assert_allclose(value.astype(np.float64), want.astype(np.float64), max(case.rtol, TOLERANCE.get(want.dtype.name, 0)),
                                   max(case.atol, 1e-6), err_msg=name)


def main():
    warnings.simplefilter("ignore")
    refused, passed, failed = collections.Counter(), 0, 0
    with scratch() as directory:
        for case in collect_testcases(None):
            if not re.search(sys.argv[1] if len(sys.argv) > 1 else "", case.name):
                continue
            try:
                check(case, directory)
                passed += 1
            except Refused as message:
                refused[str(message)] += 1
            except AssertionError as error:
                failed += 1
                print(f"FAILED {case.name}: {' '.join(str(error).split())[:300]}", flush=True)
    for message, n in refused.most_common():
        print(f"refused {n}: {message}")
    print(f"{passed} passed, {failed} failed, {sum(refused.values())} skipped")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
