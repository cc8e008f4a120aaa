#!/usr/bin/env python3
"""What PyTorch computes for the checkpoint of checkpoint.py: reference.py tests/data/plugin/nanogpt.json. Needs torch."""
import json
import sys

import torch
from torch.nn import functional as F

from checkpoint import CONFIG, weights

IDS = [[3, 1, 4, 1, 5], [16, 2, 0, 9, 6]]


def logits(ids):
    w = {n.removeprefix("transformer."): torch.tensor(v).reshape(s) for n, s, v in weights(CONFIG)}
    b, t = ids.shape
    h, heads = CONFIG["n_embd"], CONFIG["n_head"]
    x = w["wte.weight"][ids] + w["wpe.weight"][torch.arange(t)]
    for i in range(CONFIG["n_layer"]):
        p = f"h.{i}."
        y = F.layer_norm(x, [h], w[p + "ln_1.weight"], None, 1e-5)
        q, k, v = (z.reshape(b, t, heads, h // heads).transpose(1, 2) for z in (y @ w[p + "attn.c_attn.weight"].T).split(h, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, h)
        x = x + y @ w[p + "attn.c_proj.weight"].T
        y = F.layer_norm(x, [h], w[p + "ln_2.weight"], None, 1e-5)
        x = x + F.gelu(y @ w[p + "mlp.c_fc.weight"].T) @ w[p + "mlp.c_proj.weight"].T
    return F.layer_norm(x, [h], w["ln_f.weight"], None, 1e-5) @ w["wte.weight"].T


with open(sys.argv[1], "w", encoding="utf-8") as f:
    json.dump({"input_ids": IDS, "logits": logits(torch.tensor(IDS)).tolist()}, f)
