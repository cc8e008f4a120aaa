#!/usr/bin/env python3
"""tests/golden/record_generation.py GOLDEN OUT COUNT [SEED]: record calls of generate() with settings drawn by chance.

GOLDEN is a directory of tests/data/goldens/MODEL_TYPE/TASK with config.json and tensors.json. OUT/cases.jsonl gets up to COUNT lines, each
with the keyword arguments and ids of a call of transformers' generate(), OUT/model.txt the place of the golden. Calls whose ids change
when the weights change by 1e-4 are left out.

Needs Python with torch, transformers and safetensors, in the versions of tests/data/README.md."""
import copy
import json
import pathlib
import random
import sys
import tempfile
import warnings

import numpy as np
import torch
from record import values
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, logging


BANS = ("bad_words_ids", "begin_suppress_tokens", "encoder_no_repeat_ngram_size", "forced_bos_token_id", "min_length", "min_new_tokens",
        "no_repeat_ngram_size", "suppress_tokens")


def load(golden):
    tensors = json.loads((golden / "tensors.json").read_text())["tensors"]
    state = {}
    for name, t in tensors.items():
        if "data" in t:
            state[name] = torch.tensor(t["data"]).reshape(t["shape"])
        else:
            data = values(name, int(np.prod(t["shape"])), t["scale"], t["offset"])
            state[name] = torch.from_numpy(data).reshape(t["shape"])
    with tempfile.TemporaryDirectory() as tmp:
        save_file(state, f"{tmp}/model.safetensors", {"format": "pt"})
        for name in ("config.json", "generation_config.json"):
            if (golden / name).exists():
                pathlib.Path(tmp, name).write_bytes((golden / name).read_bytes())
        config = AutoConfig.from_pretrained(tmp)
        seq2seq = "text2text" in golden.name
        kind = AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM
        return kind.from_pretrained(tmp, config=config).eval(), seq2seq


def perturbed(model, seed):
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1 + 1e-4 * torch.randn(p.shape, generator=generator))
    return other


class Draw:
    def __init__(self, rng, vocab):
        self.rng, self.vocab = rng, vocab

    def token(self):
        return self.rng.randrange(3, self.vocab)

    def tokens(self, n):
        return [self.token() for _ in range(n)]

    def often(self, p):
        return self.rng.random() < p


def prompts(draw, seq2seq, pad):
    """Rows of one length, padded on the left (decoders) or right (encoders)."""
    rows = [draw.tokens(draw.rng.randint(1, 9)) for _ in range(draw.rng.choice((1, 1, 2, 3)))]
    length = max(map(len, rows))
    ids, mask = [], []
    for row in rows:
        fill, seen = [pad] * (length - len(row)), [1] * len(row)
        ids.append(row + fill if seq2seq else fill + row)
        hidden = [0] * (length - len(row))
        mask.append(seen + hidden if seq2seq else hidden + seen)
    return ids, mask


def settings(draw, seq2seq, likely):
    """Keyword arguments; likely are tokens that the model likes to give."""
    rng, s = draw.rng, {}
    beams = rng.choice((1, 1, 2, 3, 4))
    s["num_beams"] = beams
    if draw.often(0.8):
        s["max_new_tokens"] = rng.randint(3, 14)
    elif draw.often(0.5):
        s["max_length"] = rng.randint(12, 20) + (20 if draw.often(0.2) else 0)
    if beams > 1:
        if draw.often(0.6):
            s["early_stopping"] = rng.choice((True, False, "never"))
        if draw.often(0.6):
            s["length_penalty"] = rng.choice((-1.0, 0.0, 0.3, 0.8, 1.5, 2.0))
        if draw.often(0.5):
            s["num_return_sequences"] = rng.randint(1, beams)
    elif draw.often(0.15):
        s.update(do_sample=True, top_k=1, temperature=rng.choice((0.5, 1.0, 1.7)))
    if draw.often(0.7):
        n = rng.randint(1, 3)
        s["eos_token_id"] = rng.sample(likely, n) if n > 1 else rng.choice(likely)
    s["pad_token_id"] = rng.choice((0, 0, 1, 2))
    optional = {
        "repetition_penalty": lambda: rng.choice((0.7, 1.2, 1.8)),
        "encoder_repetition_penalty": lambda: rng.choice((0.8, 1.3)),
        "no_repeat_ngram_size": lambda: rng.randint(1, 3),
        "encoder_no_repeat_ngram_size": lambda: rng.randint(1, 3),
        "bad_words_ids": lambda: [[rng.choice(likely)]] + [rng.sample(likely, 2) for _ in range(rng.randint(0, 2))],
        "sequence_bias": lambda: [[[rng.choice(likely)], -4.0], [rng.sample(likely, 2), 6.0], [[draw.token()], 2.5]],
        "min_length": lambda: rng.randint(1, 14),
        "min_new_tokens": lambda: rng.randint(1, 8),
        "forced_bos_token_id": draw.token,
        "forced_eos_token_id": lambda: rng.choice((draw.token(), draw.tokens(2))),
        "exponential_decay_length_penalty": lambda: [rng.randint(0, 4), rng.choice((1.1, 1.6))],
        "suppress_tokens": lambda: rng.sample(likely, 2),
        "begin_suppress_tokens": lambda: rng.sample(likely, 2),
        "renormalize_logits": lambda: True,
        "remove_invalid_values": lambda: True,
        "use_cache": lambda: False,
    }
    for name, make in optional.items():
        if draw.often(0.16):
            s[name] = make()
    if "exponential_decay_length_penalty" in s:
        s.setdefault("eos_token_id", likely[0])
        for name in BANS:  # of an end token that is banned, the penalty makes NaN
            s.pop(name, None)
        s["forced_eos_token_id"] = None
    if (beams > 1 or "do_sample" in s) and isinstance(s.get("forced_eos_token_id"), list):
        s["forced_eos_token_id"] = s["forced_eos_token_id"][0]  # which of two equal ones comes first is not defined
    return s


def call(model, line):
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        given = {key: torch.tensor(line[key]) for key in ("input_ids", "attention_mask", "decoder_input_ids") if key in line}
        out = model.generate(**given, **line["settings"], return_dict_in_generate=True, output_scores=True)
    scores = out.sequences_scores.tolist() if line["settings"]["num_beams"] > 1 else None
    return out.sequences.tolist(), scores


def record(model, others, seq2seq, draw, likely):
    line = {"settings": settings(draw, seq2seq, likely)}
    if seq2seq and (model.generation_config.decoder_start_token_id is None or draw.often(0.2)):
        line["settings"]["decoder_start_token_id"] = draw.rng.choice((0, 2, 5))
    line["input_ids"], mask = prompts(draw, seq2seq, line["settings"]["pad_token_id"])
    if not all(map(all, mask)) or draw.often(0.5):
        line["attention_mask"] = mask
    if seq2seq and draw.often(0.2):
        line["decoder_input_ids"] = [draw.tokens(2)] * len(mask)
    try:
        ids, scores = call(model, line)
    except (ValueError, IndexError, RuntimeError):
        return None  # settings that exclude each other
    if any(call(other, line)[0] != ids for other in others):
        return None
    line["output_ids"] = ids
    if scores is not None:
        line["sequence_scores"] = [float(f"{x:.6g}") for x in scores]
    return line


def main(golden, out, count, seed):
    golden, out = pathlib.Path(golden).resolve(), pathlib.Path(out)
    model, seq2seq = load(golden)
    others = [perturbed(model, k) for k in (1, 2)]
    draw = Draw(random.Random(seed), model.config.get_text_config().vocab_size)
    free = call(model, {"settings": {"num_beams": 1, "max_new_tokens": 40, "decoder_start_token_id": 2}, "input_ids": [draw.tokens(4) for _ in range(4)]})[0]
    likely = sorted({t for row in free for t in row if t > 2}) + draw.tokens(3)
    lines = []
    for _ in range(8 * count):
        line = record(model, others, seq2seq, draw, likely)
        if line and len(lines) < count:
            lines.append(line)
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.txt").write_text("/".join(golden.parts[-2:]) + "\n")
    (out / "cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    print(out, len(lines))


if __name__ == "__main__":
    logging.set_verbosity_error()
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 0)
