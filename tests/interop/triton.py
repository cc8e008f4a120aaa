"""config.pbtxt of `export onnx --triton` is a ModelConfig as Triton's client parses it, and says what the ONNX file takes and gives."""

import os
import pathlib
import subprocess
import sys
import tempfile

import onnx
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

BUILD, DATA = pathlib.Path(os.environ["OM_BUILD"]), pathlib.Path(os.environ["OM_DATA"])
CASES = (("bert/text-classification", ()), ("bert/multiple-choice", ()), ("llama/text-generation-with-past", ()),
         ("t5/text2text-generation", ("--monolith",)), ("bert/question-answering", ("--no-dynamic-axes",)),
         ("bert/fill-mask", ("--weights", "external", "--dtype", "fp16")))


def declared(ports, batched):
    """Name, type and dims of ports as Triton should say them."""
    for port in ports:
        tensor = port.type.tensor_type
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).replace("FLOAT", "FP32").replace("FP3216", "FP16")
        dims = [d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim][1 if batched else 0:]
        yield port.name, "TYPE_" + kind, dims


def check(directory):
    config = text_format.Parse((directory / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    model = onnx.load(directory / "1" / config.default_model_filename)
    onnx.checker.check_model(str(directory / "1" / config.default_model_filename))
    batched = config.max_batch_size > 0
    assert config.name == directory.name and config.backend == "onnxruntime", config.name
    assert config.HasField("dynamic_batching") == batched
    for ports, said in ((model.graph.input, config.input), (model.graph.output, config.output)):
        got = [(p.name, model_config_pb2.DataType.Name(p.data_type), list(p.reshape.shape) if p.HasField("reshape") else list(p.dims))
               for p in said]
        assert got == list(declared(ports, batched)), f"{got}, expected {list(declared(ports, batched))}"
    return batched, len(config.input), len(config.output)


def main():
    passed = failed = 0
    for golden, options in CASES:
        with tempfile.TemporaryDirectory() as tmp:
            checkpoint, out = pathlib.Path(tmp, "ck"), pathlib.Path(tmp, "repository", golden.replace("/", "-"))
            try:
                subprocess.run([BUILD / "tools/mkckpt", DATA / "goldens" / golden, checkpoint], check=True, capture_output=True)
                subprocess.run([BUILD / "optimum-cli", "export", "onnx", "-q", "--no-validation", "-m", checkpoint, "--task",
                                golden.split("/")[1], "--triton", *options, out], check=True, capture_output=True, text=True)
                batched, inputs, outputs = check(out)
                assert batched == ("--no-dynamic-axes" not in options)
                print(f"ok   triton {golden} {' '.join(options)}({inputs} inputs, {outputs} outputs)")
                passed += 1
            except (AssertionError, subprocess.CalledProcessError, text_format.ParseError) as error:
                print(f"FAILED triton {golden}: {getattr(error, 'stderr', None) or error}")
                failed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
