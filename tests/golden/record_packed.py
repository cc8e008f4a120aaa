#!/usr/bin/env python3
"""tests/golden/record_packed.py OUT: checkpoints whose layers are quantized, as tests/data/README.md describes them.

The numbers are drawn by chance and packed by the layouts that AutoGPTQ, GPTQModel and AutoAWQ publish. What PyTorch's Llama computes
with the dequantized weights is recorded beside them. Needs Python with torch, transformers and safetensors."""
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.pytorch_utils import Conv1D

AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
SIZES = dict(vocab_size=99, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=64, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, pad_token_id=0)
GPT2_SIZES = dict(vocab_size=99, n_embd=32, n_layer=2, n_head=4, n_positions=32, bos_token_id=1, eos_token_id=2)
VARIANTS = {
    "gptq": dict(quant_method="gptq", bits=4, group_size=32, desc_act=False, sym=False),
    "gptq-v2-act-order": dict(quant_method="gptq", bits=4, group_size=16, desc_act=True, sym=False, checkpoint_format="gptq_v2"),
    "gptq-8-columns": dict(quant_method="gptq", bits=8, group_size=-1, desc_act=False, sym=True, checkpoint_format="gptq"),
    "awq": dict(quant_method="awq", bits=4, group_size=32, zero_point=True, version="gemm", modules_to_not_convert=["down_proj"]),
    "gptq-gpt2": dict(quant_method="gptq", bits=4, group_size=16, desc_act=True, sym=False),
}


def pack(values, bits, axis, order=None):
    """Numbers along an axis as int32 words, the first of each word in its lowest bits."""
    values = np.moveaxis(values.astype(np.uint32), axis, -1)
    count = 32 // bits
    values = values.reshape(*values.shape[:-1], -1, count)
    words = np.zeros(values.shape[:-1], np.uint32)
    for i in range(count):
        words |= values[..., order[i] if order else i] << np.uint32(bits * i)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(words, -1, axis)).view(np.int32))


def quantized(rng, n, k, q):
    """The tensors of one layer, and its weight."""
    bits, group = q["bits"], q["group_size"] if q["group_size"] > 0 else k
    groups = -(-k // group)
    members = np.arange(k) // group
    if q.get("desc_act"):
        members = rng.permutation(members)
    numbers = rng.integers(0, 2**bits, (k, n))
    zeros = np.full((groups, n), 2 ** (bits - 1)) if q.get("sym") else rng.integers(1, 2**bits, (groups, n))
    scales = (rng.uniform(0.5, 1.5, (groups, n)) * 0.6 / 2**bits).astype(np.float16)
    weight = ((numbers - zeros[members]) * scales[members].astype(np.float32)).T.astype(np.float32)
    if q["quant_method"] == "awq":
        parts = {"qweight": pack(numbers, 4, 1, AWQ_ORDER), "qzeros": pack(zeros, 4, 1, AWQ_ORDER)}
    else:
        stored = zeros if q.get("checkpoint_format") == "gptq_v2" else zeros - 1
        parts = {"qweight": pack(numbers, bits, 0), "qzeros": pack(stored, bits, 1),
                 "g_idx": torch.from_numpy(members.astype(np.int32))}
    return parts | {"scales": torch.from_numpy(scales)}, torch.from_numpy(weight)


def record(out, name, q):
    torch.manual_seed(0)
    gpt2 = name.endswith("gpt2")
    rng = np.random.default_rng(5 if gpt2 else sorted(set(VARIANTS) - {"gptq-gpt2"}).index(name))
    model = (GPT2LMHeadModel(GPT2Config(**GPT2_SIZES)) if gpt2 else LlamaForCausalLM(LlamaConfig(**SIZES))).eval()
    kept = q.get("modules_to_not_convert", []) + ["lm_head", "embed_tokens", "wte", "wpe"]
    tensors = {}
    for key, value in model.state_dict().items():
        if gpt2 and key == "lm_head.weight":  # tied
            continue
        if value.dim() == 2 and not any(part in key for part in kept):
            # Conv1D's weight is [in, out]; the tools transpose it first, and what they save is a linear layer.
            swapped = isinstance(model.get_submodule(key.removesuffix(".weight")), Conv1D)
            parts, weight = quantized(rng, *(value.T if swapped else value).shape, q)
            weight = weight.T if swapped else weight
            tensors |= {key.removesuffix("weight") + part: t for part, t in parts.items()}
        else:
            half = (value * 10 if value.dim() == 2 else value).to(torch.float16)
            tensors[key], weight = half, half.float()
        value.copy_(weight)
    out.mkdir(parents=True, exist_ok=True)
    config = model.config.to_dict() | {"architectures": [type(model).__name__], "dtype": "float16", "quantization_config": q}
    (out / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    inputs = {"input_ids": torch.from_numpy(rng.integers(3, 99, (2, 7))),
              "attention_mask": torch.tensor([[1] * 7, [0] * 2 + [1] * 5]),
              "position_ids": torch.tensor([list(range(7)), [1, 1, 0, 1, 2, 3, 4]])}
    with torch.no_grad():
        outputs = {"logits": model(**inputs, use_cache=False).logits}
    save_file({f"{kind}/{k}": v.contiguous() for kind, group in (("inputs", inputs), ("outputs", outputs)) for k, v in group.items()},
              out / "expected.safetensors")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for variant, scheme in VARIANTS.items():
        record(pathlib.Path(sys.argv[1]) / f"packed-{variant}", variant, scheme)
