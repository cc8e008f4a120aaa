#!/usr/bin/env python3
"""A tiny checkpoint of the model type "nanogpt": checkpoint.py DIR. Weights follow a formula; nothing but Python is needed."""
import json
import math
import os
import struct
import sys

CONFIG = {"model_type": "nanogpt", "architectures": ["NanoGPTForCausalLM"], "n_layer": 2, "n_head": 3, "n_embd": 12, "vocab_size": 17,
          "block_size": 16, "bias": False}


def shapes(c):
    h, out = c["n_embd"], {"wte.weight": [c["vocab_size"], c["n_embd"]], "wpe.weight": [c["block_size"], c["n_embd"]]}
    for i in range(c["n_layer"]):
        out |= {f"h.{i}.ln_1.weight": [h], f"h.{i}.attn.c_attn.weight": [3 * h, h], f"h.{i}.attn.c_proj.weight": [h, h],
                f"h.{i}.ln_2.weight": [h], f"h.{i}.mlp.c_fc.weight": [4 * h, h], f"h.{i}.mlp.c_proj.weight": [h, 4 * h]}
    return {f"transformer.{k}": v for k, v in (out | {"ln_f.weight": [h]}).items()}


def weights(c):
    """Name to shape and values, rounded to float32."""
    for k, (name, shape) in enumerate(shapes(c).items()):
        n = math.prod(shape)
        base = 1.0 if len(shape) == 1 else 0.0
        values = [base + 0.4 * math.sin(1.7 * i + 0.9 * k) for i in range(n)]
        yield name, shape, struct.unpack(f"<{n}f", struct.pack(f"<{n}f", *values))


def save_safetensors(path, tensors):
    header, data = {}, b""
    for name, dtype, shape, raw in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def main(path):
    os.makedirs(path, exist_ok=True)
    with open(f"{path}/config.json", "w", encoding="utf-8") as f:
        json.dump(CONFIG, f, indent=2)
    save_safetensors(f"{path}/model.safetensors",
                     [(n, "F32", s, struct.pack(f"<{len(v)}f", *v)) for n, s, v in weights(CONFIG)])


if __name__ == "__main__":
    main(sys.argv[1])
