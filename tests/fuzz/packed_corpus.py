#!/usr/bin/env python3
"""Write the seeds of fuzz_packed: python3 packed_corpus.py DIR.

Every file is a quantization_config, a NUL, and a safetensors file with a layer of a few numbers; its name says what is special about it."""
import json
import pathlib
import random
import struct
import sys

OUT = pathlib.Path(sys.argv[1])
BYTES = {"I32": 4, "F16": 2, "BF16": 2, "F32": 4}


def safetensors(tensors):
    """tensors: name -> (dtype, shape, bytes)."""
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def chance(dtype, *shape):
    count = 1
    for n in shape:
        count *= n
    return dtype, list(shape), random.randbytes(count * BYTES[dtype])


def halves(*shape):
    count = shape[0] * shape[1]
    return "F16", list(shape), struct.pack(f"<{count}e", *(random.uniform(-1, 1) for _ in range(count)))


def layer(bits, group, n, k, awq=False, order=None, name="a"):
    pack, groups = 32 // bits, -(-k // group)
    tensors = {
        f"{name}.qweight": chance("I32", k, n // 8) if awq else chance("I32", k // pack, n),
        f"{name}.qzeros": chance("I32", groups, n // pack),
        f"{name}.scales": halves(groups, n),
    }
    if order:
        tensors[f"{name}.g_idx"] = ("I32", [k], struct.pack(f"<{k}i", *order))
    return tensors


def shuffled(k, group):
    order = [i // group for i in range(k)]
    random.shuffle(order)
    return order


def write(name, config, tensors):
    (OUT / name).write_bytes(json.dumps(config).encode() + b"\0" + safetensors(tensors))


def gptq(bits=4, group=16, **more):
    return {"quant_method": "gptq", "bits": bits, "group_size": group, **more}


random.seed(0)
OUT.mkdir(parents=True, exist_ok=True)
plain = [i // 16 for i in range(32)]
write("gptq", gptq(), layer(4, 16, 8, 32, order=plain))
write("gptq-v2", gptq(checkpoint_format="gptq_v2"), layer(4, 16, 8, 32))
write("gptq-order", gptq(desc_act=True), layer(4, 16, 8, 48, order=shuffled(48, 16)))
write("gptq-8-bits", gptq(8, 32), layer(8, 32, 4, 36))
write("gptq-columns", gptq(4, -1), layer(4, 24, 8, 24))
write("gptq-two-layers", gptq(), layer(4, 16, 8, 16) | layer(4, 16, 16, 40, name="b.c") | {"b.bias": chance("F16", 16)})
write("gptq-full-group", gptq(), layer(4, 16, 8, 32, order=[0] * 17 + [1] * 15))
write("gptq-far-group", gptq(), layer(4, 16, 8, 32, order=[*plain[:31], -1]))
write("gptq-twice", gptq(), layer(4, 16, 8, 16) | {"a.weight": chance("F32", 8, 16)})
write("gptq-group-of-17", gptq(4, 17), layer(4, 17, 8, 32))
write("gptq-no-scales", gptq(), {"a.qweight": chance("I32", 2, 8), "a.qzeros": chance("I32", 1, 1)})
write("gptq-3-bits", gptq(3), layer(4, 16, 8, 16))
write("gptq-marlin", gptq(is_marlin_format=True), layer(4, 16, 8, 16))
write("awq", {"quant_method": "awq", "bits": 4, "group_size": 16, "version": "gemm"}, layer(4, 16, 8, 37, awq=True))
write("awq-short-names", {"quant_method": "awq", "w_bit": 4, "q_group_size": 32}, layer(4, 32, 16, 32, awq=True))
write("awq-gemv", {"quant_method": "awq", "bits": 4, "version": "gemv"}, layer(4, 16, 8, 16, awq=True))
write("empty-matrix", gptq(), {"a.qweight": chance("I32", 0, 8)})
