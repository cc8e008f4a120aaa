"""examples/spark/pipeline.py on a local cluster of two workers: the lines that one process gives, in the same order.

This runs in a virtual environment with pyspark; Java must be there.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pyspark
from common import CLI, DATA, Report, scratch

EXAMPLE = pathlib.Path(__file__).parent.parent.parent / "examples/spark/pipeline.py"
TEXTS = ["Ada Lovelace met Charles Babbage in London.", "Nothing here.", "Zürich und 東京", "a", "Acme hired Bob 😀"]


def make_model(directory):
    model = directory / "model"
    subprocess.run([CLI.parent / "tools/mkckpt", DATA / "pipelines/ner-bert", directory / "checkpoint"], check=True, stdout=subprocess.DEVNULL)
    for file in (DATA / "tokenizers/minilm").glob("*.json"):
        shutil.copy(file, directory / "checkpoint")
    subprocess.run([CLI, "export", "onnx", "-q", "--no-validation", "-m", directory / "checkpoint", "--task", "token-classification", model], check=True)
    return model


def make_lines():
    lines = [json.dumps({"id": i, "inputs": f"{i} " + TEXTS[i % len(TEXTS)]}, ensure_ascii=i % 2 == 0) for i in range(300)]
    lines[7] = "no JSON"
    lines[8] = json.dumps({"id": 8, "inputs": 8})
    lines[299] = json.dumps({"id": 299, "inputs": "x", "kwargs": {"aggregation_strategy": "nonsense"}})
    return lines


def submit(model, texts, out):
    home = pathlib.Path(pyspark.__file__).parent
    env = os.environ | {"SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    options = ["--master", "local-cluster[2,1,1024]", "--conf", "spark.ui.enabled=false", "--conf", "spark.executor.memory=512m"]
    command = [home / "bin/spark-submit", *options, EXAMPLE, "--cli", CLI, "--model", model, "--task", "ner", "--partitions", "4", texts, out]
    result = subprocess.run(command, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


def check():
    with scratch() as directory:
        directory = pathlib.Path(directory)
        model, texts, lines = make_model(directory), directory / "texts.jsonl", make_lines()
        texts.write_text("".join(line + "\n" for line in lines))
        direct = subprocess.run([CLI, "pipeline", "ner", "-m", model, "-i", texts], capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
        submit(model, texts, directory / "out")
        parts = sorted((directory / "out").glob("part-*"))
        rows = [json.loads(line) for part in parts for line in part.read_text().split("\n") if line]
    assert len(parts) > 1, "there is one partition only"
    assert len(rows) == len(lines) == len(direct)
    for number, (row, answer) in enumerate(zip(rows, map(json.loads, direct), strict=True)):
        assert row.get("id", number) == number, f"row {number} has id {row['id']}"
        assert row.get("error") == answer["error"] if isinstance(answer, dict) else same(row["output"], answer), f"row {number}: {row}"
    assert rows[7]["line"] == "no JSON" and all("error" in rows[i] for i in (7, 8, 299))
    return f"{len(rows)} lines in {len(parts)} partitions"


def same(a, b):
    """Equal but for the last digits of scores, which depend on what shares a batch."""
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return abs(a - b) < 1e-5 if isinstance(a, float) else a == b


report = Report()
report.check("ner over a local cluster", check)
report.close()
