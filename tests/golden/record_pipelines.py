#!/usr/bin/env python3
"""tests/golden/record_pipelines.py DIR...: record calls of the pipelines that generate text.

DIR has config.json, tensors.json, generation_config.json (or none), tokenizer.txt (a directory of tests/data/tokenizers), and cases.jsonl,
whose lines have the calls: "pipeline", "init", "inputs", "kwargs" (and "note"). Each line gets "output", what transformers' pipeline()
returns, or "error". Lines whose output changes when the weights change by 1e-4 are left out.

Needs Python with torch, transformers and safetensors, in the versions of tests/data/README.md."""
import json
import pathlib
import sys
import tempfile

import torch
import transformers
from record_generation import perturbed, values
from safetensors.torch import save_file

TOKENIZERS = pathlib.Path(__file__).parent.parent / "data" / "tokenizers"


def checkpoint(directory, out):
    state = {}
    for name, t in json.loads((directory / "tensors.json").read_text())["tensors"].items():
        count = 1
        for extent in t["shape"]:
            count *= extent
        flat = torch.tensor(t["data"]) if "data" in t else torch.from_numpy(values(name, count, t["scale"], t["offset"]))
        state[name] = flat.reshape(t["shape"])
    save_file(state, f"{out}/model.safetensors", {"format": "pt"})
    for name in ("config.json", "generation_config.json"):
        if (directory / name).exists():
            pathlib.Path(out, name).write_bytes((directory / name).read_bytes())


def tokenizer(directory, kwargs):
    where = TOKENIZERS / (directory / "tokenizer.txt").read_text().strip()
    if (where / "tokenizer_config.json").exists():
        return transformers.AutoTokenizer.from_pretrained(where, **kwargs)
    return transformers.PreTrainedTokenizerFast(tokenizer_file=str(where / "tokenizer.json"), **kwargs)


def call(directory, model_of, case):
    init = dict(case["init"])
    tok = tokenizer(directory, init.pop("tokenizer_kwargs", {}))
    try:
        model = model_of(case["pipeline"])
        pipe = transformers.pipeline(case["pipeline"], model=model, tokenizer=tok, device="cpu", **init)
        return {"output": plain(pipe(case["inputs"], **case["kwargs"]))}
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"[:200]}


def plain(value):
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list) else value


def record(directory):
    with tempfile.TemporaryDirectory() as tmp:
        checkpoint(directory, tmp)

        def model_of(task):
            causal = task == "text-generation"
            kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForSeq2SeqLM
            return kind.from_pretrained(tmp).eval()

        lines = [json.loads(line) for line in (directory / "cases.jsonl").read_text().splitlines()]
        kept = []
        for case in lines:
            case = {k: v for k, v in case.items() if k not in ("output", "error")}
            result = call(directory, model_of, case)
            if call(directory, lambda task: perturbed(model_of(task), 1), case) == result:
                kept.append(json.dumps(case | result, ensure_ascii=False))
            else:
                print("left out:", json.dumps(case)[:200])
        (directory / "cases.jsonl").write_text("\n".join(kept) + "\n")
        print(f"{directory}: {len(kept)} of {len(lines)}")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()
    for name in sys.argv[1:]:
        record(pathlib.Path(name))
