"""Every recorded call of the text pipelines, piped through `optimum-cli pipeline TASK --input -`.

pipeline_filter.py BUILD: the directories of tests/data/pipelines and of $OM_SHARED/goldens/pipelines. The lines of a file
that have the same construction parameters go through one process, in several threads, and come out in the same order.
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
BUILD = pathlib.Path(sys.argv[1])
CLI = BUILD / "optimum-cli"
TOLERANCE = 1e-4
ALIASES = {"ner": "token-classification", "sentiment-analysis": "text-classification"}
WRITERS = dict.fromkeys(("text2text-generation", "summarization", "translation"), "text2text-generation-with-past")
EXPORTED_AS = ALIASES | WRITERS | {"zero-shot-classification": "text-classification", "text-generation": "text-generation-with-past"}


def plain(task):
    """Without an alias or the languages of a translation."""
    return "translation" if task and task.startswith("translation_") else ALIASES.get(task, task)


def near(got, want):
    return abs(got - want) <= TOLERANCE * max(1.0, abs(want))


def flat(value):
    return [x for part in value for x in flat(part)] if isinstance(value, list) else [value]


def shape(value):
    return [len(value)] + shape(value[0]) if isinstance(value, list) else []


def same_tensor(got, want):
    numbers = flat(got)
    size = TOLERANCE * want["abs_sum"]
    return (
        shape(got) == want["shape"]
        and len(numbers) == math.prod(want["shape"])
        and all(map(near, numbers, want["first16"]))
        and abs(sum(numbers) - want["sum"]) <= size
        and abs(sum(map(abs, numbers)) - want["abs_sum"]) <= size
    )


def same(got, want):
    if isinstance(want, dict) and "first16" in want:
        return same_tensor(got, want)
    if isinstance(want, dict):
        return isinstance(got, dict) and list(got) == list(want) and all(same(got[k], want[k]) for k in want)
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(same, got, want))
    if isinstance(want, (int, float)) and not isinstance(want, bool):
        return isinstance(got, (int, float)) and near(got, want)
    return got == want


def right(got, case):
    failed = isinstance(got, dict) and list(got) == ["error"]
    return failed if "error" in case else not failed and same(got, case["output"])


def groups(cases, overrides):
    """Cases by their construction parameters, each with its line number."""
    out = {}
    for number, case in enumerate(cases, 1):
        init = dict(case["init"])
        if overrides:
            init.setdefault("tokenizer_kwargs", overrides)
        out.setdefault((case["pipeline"], json.dumps(init)), []).append((number, case))
    return out.items()


def export(directory, task, out):
    checkpoint, model = out / "checkpoint", out / "model"
    subprocess.run([BUILD / "tools/mkckpt", directory, checkpoint], check=True, stdout=subprocess.DEVNULL)
    task = EXPORTED_AS.get(plain(task), plain(task))
    subprocess.run([CLI, "export", "onnx", "-q", "--no-validation", "-m", checkpoint, "--task", task, model], check=True)
    return model


def tokenizer_of(directory):
    name = (directory / "tokenizer.txt").read_text().strip()
    roots = [directory.parent.parent / "tokenizers", HERE.parent / "data/tokenizers"]
    return next((root / name for root in roots if (root / name).is_dir()), None)


def run(model, tokenizer, task, init, cases):
    lines = "".join(json.dumps(case) + "\n" for _, case in cases)
    command = [CLI, "pipeline", task, "-m", model, "-t", tokenizer, "--init", init, "-i", "-", "--threads", "3", "--batch-size", "2"]
    result = subprocess.run(command, input=lines, capture_output=True, text=True)
    print(end=result.stderr)
    return result.stdout.split("\n")[:-1]


def check(directory, cases):
    """How many calls differ."""
    overrides = directory / "tokenizer_overrides.json"
    overrides = json.loads(overrides.read_text()) if overrides.exists() else None
    bad = 0
    with tempfile.TemporaryDirectory() as out:
        model = export(directory, cases[0]["pipeline"], pathlib.Path(out))
        for (task, init), group in groups(cases, overrides):
            answers = run(model, tokenizer_of(directory), task, init, group)
            answers += ["null"] * (len(group) - len(answers))
            for (number, case), answer in zip(group, answers, strict=True):
                if not right(json.loads(answer), case):
                    bad += 1
                    print(f"{directory}/cases.jsonl:{number}: {answer[:300]}")
    return bad


def main():
    known = subprocess.run([CLI, "pipeline", "--list"], capture_output=True, text=True, check=True).stdout.split()
    roots = [HERE.parent / "data"]
    if os.environ.get("OM_SHARED"):
        roots.append(pathlib.Path(os.environ["OM_SHARED"]) / "goldens")
    passed = failed = 0
    found = {d.name: d for root in reversed(roots) for d in root.glob("pipelines/*") if (d / "cases.jsonl").exists()}
    for _, directory in sorted(found.items()):
        cases = [json.loads(line) for line in (directory / "cases.jsonl").read_text().split("\n") if line]
        tasks = {plain(case.get("pipeline")) for case in cases}
        if not tasks <= set(known) or not (directory / "tokenizer.txt").exists() or tokenizer_of(directory) is None:
            continue
        bad = check(directory, cases)
        print(f"{'FAILED' if bad else 'ok  '} {directory.name}: {len(cases) - bad} of {len(cases)} calls equal", flush=True)
        passed, failed = passed + (not bad), failed + bool(bad)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)


main()
