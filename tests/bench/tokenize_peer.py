"""tokenize_peer.py DIR TEXT ROUNDS: what tests/bench/tokenize.c measures, with Hugging Face tokenizers."""

import json
import os
import statistics
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer

directory, text, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
lines = open(text, encoding="utf-8", newline="\n").read().rstrip("\n").split("\n")
load, encode = [], []
for _ in range(rounds):
    start = time.perf_counter()
    tokenizer = Tokenizer.from_file(f"{directory}/tokenizer.json")
    opened = time.perf_counter()
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokens = sum(len(tokenizer.encode(line).ids) for line in lines)
    load.append(opened - start)
    encode.append(time.perf_counter() - opened)
print(json.dumps({"load": statistics.median(load), "encode": statistics.median(encode), "tokens": tokens}))
