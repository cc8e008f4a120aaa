#!/usr/bin/env python3
"""tests/golden/record.py CONFIG_DIR TASK OUT: record a golden, as tests/data/README.md describes it.

CONFIG_DIR holds the config.json of a tiny model (two layers, hidden size 32, vocabulary 99 are plenty). The model gets weights by
formula, PyTorch computes the outputs of two cases per file, and Optimum's export says how files, inputs and outputs are called. For
encoders, and for decoders and encoder-decoders with and without past.

Needs Python with torch, transformers, optimum-onnx[onnxruntime], onnx and safetensors, in the versions of tests/data/README.md."""
import json
import pathlib
import shutil
import sys
import tempfile
from importlib import metadata

import numpy as np
import onnx
import torch
from optimum.exporters.onnx import main_export
from optimum.exporters.tasks import TasksManager
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig, DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

PACKAGES = ("optimum", "optimum-onnx", "transformers", "torch", "onnx", "onnxruntime")
CASES = ((2, 16, 0), (3, 5, 3))  # batch, new tokens, length of the past
ONE_TOKEN = ((2, 1, 4), (3, 1, 6))
ENCODER_LENGTHS = (9, 6)
CACHE = ("decoder.key", "decoder.value", "encoder.key", "encoder.value")


def values(name, count, scale, offset):
    """The formula of tests/data/README.md."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) % 2**64
    z = np.uint64(h) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    u = (z >> np.uint64(40)).astype(np.float64) / 2**23 - 1
    return (offset + scale * u).astype(np.float32)


def distribution(name, shape):
    """Scale and offset that keep activations of order one."""
    if len(shape) > 1:
        return (0.5 if "embed" in name or "wte" in name else 0.25), 0.0
    return 0.1, (1.0 if "norm" in name.lower() or ".ln_" in name else 0.0) if name.endswith("weight") else 0.0


def fill(model, checkpoint):
    """Give the model its weights and describe them."""
    described = {}
    model.save_pretrained(checkpoint)
    with safe_open(checkpoint / "model.safetensors", "pt") as f:
        shapes = {name: list(f.get_slice(name).get_shape()) for name in f.keys()}
    state = model.state_dict()
    for name, shape in shapes.items():
        scale, offset = distribution(name, shape)
        described[name] = {"dtype": "F32", "shape": shape, "scale": scale, "offset": offset}
        data = values(name, int(np.prod(shape)), scale, offset)
        state[name].copy_(torch.from_numpy(data).reshape(shape))
    model.tie_weights()
    model.save_pretrained(checkpoint)
    return described


def ports(graph_ports):
    def dims(value):
        return [d.dim_param or (d.dim_value if d.HasField("dim_value") else None)
                for d in value.type.tensor_type.shape.dim]

    return [{"name": p.name, "dtype": onnx.TensorProto.DataType.Name(p.type.tensor_type.elem_type), "dims": dims(p)}
            for p in graph_ports]


def make_inputs(inputs, config, sizes, seed):
    """Tensors for the declared inputs; the last rows are padded on the right."""
    batch, length, past = sizes
    generator = torch.Generator().manual_seed(seed)
    extents = {"batch_size": batch, "sequence_length": length, "num_choices": 3, "past_sequence_length": past,
               "past_sequence_length + sequence_length": past + length, "decoder_sequence_length": length,
               "past_decoder_sequence_length": past, "encoder_sequence_length": ENCODER_LENGTHS[seed]}
    made = {}
    for port in inputs:
        shape = [extents.get(d, d) for d in port["dims"]]
        if port["name"] in ("attention_mask", "encoder_attention_mask"):
            made[port["name"]] = torch.ones(shape, dtype=torch.int64)
            for row in range(1, batch):
                made[port["name"]][row, ..., shape[-1] - row:] = 0
        elif port["name"] == "use_cache_branch":
            made["use_cache_branch"] = torch.tensor([seed > 0])
        elif port["name"] == "position_ids":
            made["position_ids"] = torch.arange(past, past + length).expand(batch, length).clone()
        elif port["dtype"] == "FLOAT":
            made[port["name"]] = torch.rand(shape, generator=generator) * 2 - 1
        else:
            limit = config.type_vocab_size if port["name"] == "token_type_ids" else config.vocab_size
            made[port["name"]] = torch.randint(0, limit, shape, generator=generator)
    return made


def run(model, made, outputs):
    """PyTorch's outputs under their names in the file."""
    args = {k: v for k, v in made.items() if not k.startswith("past_key_values.")}
    if len(args) < len(made):
        layers = (len(made) - len(args)) // 2
        args["past_key_values"] = DynamicCache.from_legacy_cache(
            tuple((made[f"past_key_values.{i}.key"], made[f"past_key_values.{i}.value"]) for i in range(layers)))
    with torch.no_grad():
        got = model(**args)
    cache = got.get("past_key_values")
    result = {}
    for port in outputs:
        name = port["name"]
        if name.startswith("present."):
            _, layer, kind = name.split(".")
            result[name] = cache.to_legacy_cache()[int(layer)][kind == "value"]
        else:
            result[name] = got[name]
    return result


def end_texts(made, config):
    """A classifier's decoder is read where the text ends: each text has one end, its last token."""
    ids, mask = made["input_ids"], made["attention_mask"]
    ids[ids == config.eos_token_id] = (config.eos_token_id + 3) % config.vocab_size
    ids[torch.arange(len(ids)), mask.sum(1) - 1] = config.eos_token_id


def cached(made):
    """The cache of an encoder-decoder among the inputs; None where there is none or it is not read."""
    layers = sum(k.startswith("past_key_values.") for k in made) // len(CACHE)
    if layers == 0 or not made.get("use_cache_branch", True):
        return None
    return EncoderDecoderCache.from_legacy_cache(
        tuple(tuple(made[f"past_key_values.{i}.{kind}"] for kind in CACHE) for i in range(layers)))


def run_decoder(model, made, outputs):
    """The same for the decoder of an encoder-decoder; with a cache the encoder's states are not read."""
    mask, cache = made["encoder_attention_mask"], cached(made)
    states = made.get("encoder_hidden_states", torch.zeros(*mask.shape, model.config.d_model))
    with torch.no_grad():
        got = model(encoder_outputs=BaseModelOutput(last_hidden_state=states), attention_mask=mask,
                    decoder_input_ids=made["input_ids"], past_key_values=cache)
    result = {}
    for port in outputs:
        name = port["name"]
        if not name.startswith("present."):
            result[name] = got[name]
        elif cache is None or ".encoder." not in name:
            _, layer, kind = name.split(".", 2)
            result[name] = got.past_key_values.to_legacy_cache()[int(layer)][CACHE.index(kind)]
    return result


def run_file(stem, model, made, outputs):
    if stem == "encoder_model":
        return run(model.get_encoder(), made, outputs)
    return (run_decoder if "decoder" in stem else run)(model, made, outputs)


def sizes_of(stem, case):
    one_token = stem == "decoder_with_past_model" or stem == "decoder_model_merged" and case > 0
    return (ONE_TOKEN if one_token else CASES)[case]


def record_cases(stem, file, model, task, recorded):
    for i in range(len(CASES)):
        made = make_inputs(file["inputs"], model.config, sizes_of(stem, i), seed=i)
        if task == "text-classification" and model.config.is_encoder_decoder:
            end_texts(made, model.config)
        outputs = run_file(stem, model, made, file["outputs"])
        for kind, group in (("inputs", made), ("outputs", outputs)):
            recorded.update({f"{stem}/{i}/{kind}/{k}": v.contiguous().clone() for k, v in group.items()})
        omitted = [p["name"] for p in file["outputs"] if p["name"] not in outputs]
        yield {"id": f"{stem}/{i}", "source": "pytorch"} | ({"omitted_outputs": omitted} if omitted else {})


def describe(path):
    graph = onnx.load(path)
    return {"opset": graph.opset_import[0].version, "ir_version": graph.ir_version,
            "inputs": ports(graph.graph.input), "outputs": ports(graph.graph.output)}


def main(config_dir, task, out):
    config = AutoConfig.from_pretrained(config_dir)
    plain = task.removesuffix("-with-past")
    cls = TasksManager.get_model_class_for_task(plain, model_type=config.model_type)
    cls = cls._model_mapping[type(config)] if hasattr(cls, "_model_mapping") else cls
    if isinstance(cls, tuple):
        cls = cls[0]
    torch.manual_seed(0)
    model = cls(config).eval()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        checkpoint, exported = pathlib.Path(tmp, "checkpoint"), pathlib.Path(tmp, "onnx")
        tensors = fill(model, checkpoint)
        main_export(str(checkpoint), exported, task=task, do_validation=False)
        for name in ("config.json", "generation_config.json"):
            if (exported / name).exists():
                shutil.copy(exported / name, out / name)
        files = {p.name: p.stat().st_size for p in sorted(exported.iterdir())}
        described = {p.name: describe(p) for p in sorted(exported.glob("*.onnx"))}
    recorded, cases = {}, []
    for name, file in described.items():
        cases += record_cases(name.removesuffix(".onnx"), file, model, plain, recorded)
    save_file(recorded, out / "cases.safetensors")
    lines = ",\n".join(f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in tensors.items())
    (out / "tensors.json").write_text('{"tensors":{\n' + lines + "\n}}\n")
    signature = {"model_type": config.model_type, "task": task, "model_class": cls.__name__, "export_kwargs": {},
                 "versions": {p: metadata.version(p) for p in PACKAGES}, "files": files, "onnx": described,
                 "atol": 1e-5, "cases": cases}
    (out / "signature.json").write_text(json.dumps(signature, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]))
