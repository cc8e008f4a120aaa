"""A pipeline of optimum-cli over the lines of a file, on a Spark cluster.

spark-submit pipeline.py --cli optimum-cli --model MODEL --task TASK TEXTS.jsonl OUT_DIR

TEXTS.jsonl has a call a line, {"inputs": ..., "kwargs": {...}}. OUT_DIR gets a line for each, in the same order: the call's own members with
"output", or "error" where it failed. Each partition is piped through a process of its own; the program and the model must be on the workers.
"""

import argparse
import json
import os
import shlex

from pyspark.sql import SparkSession


def main():
    parser = argparse.ArgumentParser(description="A pipeline of optimum-cli over the lines of a file.")
    parser.add_argument("--cli", default="optimum-cli")
    parser.add_argument("--model", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--partitions", type=int, help="processes (default: as Spark cuts the file)")
    parser.add_argument("texts")
    parser.add_argument("out")
    args = parser.parse_args()

    spark = SparkSession.builder.appName("optimum pipeline").getOrCreate()
    lines = spark.sparkContext.textFile(args.texts, args.partitions)
    command = shlex.join([args.cli, "pipeline", args.task, "--model", args.model, "--input", "-", "--threads", "1"])
    # A piped process has no environment but this one. checkCode: when it dies, its task fails, and Spark runs it again.
    env = {k: v for k, v in os.environ.items() if k in ("HOME", "PATH", "LD_LIBRARY_PATH") or k.startswith(("OPTIMUM_", "HF_"))}
    answers = lines.pipe(command, env, checkCode=True)
    lines.zip(answers).map(join).saveAsTextFile(args.out)
    spark.stop()


def join(pair):
    """A call and its answer as one line."""
    line, answer = pair[0], json.loads(pair[1])
    try:
        call = dict(json.loads(line))
    except (TypeError, ValueError):
        call = {"line": line}
    failed = isinstance(answer, dict) and list(answer) == ["error"]
    return json.dumps({**call, **answer} if failed else {**call, "output": answer}, ensure_ascii=False)


main()
