"""generate_peer.py DIR PROMPT NEW: the original's generate() on the directory and the tokens that generate.c takes: prints
{"token": seconds, "ids": [...]}, the median of seconds between tokens and the new ids."""

import json
import statistics
import sys
import time

import torch
from optimum.onnxruntime import ORTModelForCausalLM
from transformers import GenerationConfig


class Clock:
    """A streamer that notes when tokens come."""

    def __init__(self):
        self.times = []

    def put(self, value):
        self.times.append(time.perf_counter())

    def end(self):
        pass


def main(directory, prompt, fresh):
    model = ORTModelForCausalLM.from_pretrained(directory, use_cache=True)
    ids = torch.tensor([[i * 37 % 97 + 1 for i in range(prompt)]])
    mask = torch.ones_like(ids)
    model.generation_config = GenerationConfig()
    for new in (2, fresh):
        clock = Clock()
        config = GenerationConfig(max_new_tokens=new, do_sample=False)
        out = model.generate(ids, attention_mask=mask, generation_config=config, streamer=clock)
    between = [b - a for a, b in zip(clock.times[1:], clock.times[2:])]
    print(json.dumps({"token": statistics.median(between), "ids": out[0, prompt:].tolist()}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
