"""genai_peer.py PROMPT NEW DIR...: onnxruntime-genai on directories and the tokens that generate.c takes, which take turns by a few
tokens: prints {"DIR": {"token": seconds, "ids": [...]}, ...}, the medians of seconds between tokens and the new ids."""

import json
import statistics
import sys
import time

import numpy as np
import onnxruntime_genai as og

TURN = 4


class Run:
    def __init__(self, directory, prompt, fresh):
        self.model = og.Model(directory)
        self.prompt = prompt
        params = og.GeneratorParams(self.model)
        params.set_search_options(max_length=prompt + fresh, min_length=prompt + fresh, do_sample=False)
        self.generator = og.Generator(self.model, params)
        self.generator.append_tokens(np.array([[i * 37 % 97 + 1 for i in range(prompt)]], np.int32))
        self.generator.generate_next_token()
        self.between = []

    def turn(self, tokens):
        for _ in range(tokens):
            begin = time.perf_counter()
            self.generator.generate_next_token()
            self.between.append(time.perf_counter() - begin)

    def result(self):
        return {"token": statistics.median(self.between), "ids": [int(i) for i in self.generator.get_sequence(0)[self.prompt:]]}


def main(prompt, fresh, *directories):
    runs = {d: Run(d, int(prompt), int(fresh)) for d in directories}
    for done in range(1, int(fresh), TURN):
        for run in runs.values():
            run.turn(min(TURN, int(fresh) - done))
    print(json.dumps({d: run.result() for d, run in runs.items()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
