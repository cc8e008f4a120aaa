#!/bin/bash
#SBATCH --job-name=pipeline
#SBATCH --output=%x-%A-%a.log
# sbatch --array=0-N array.sh TASK MODEL TEXTS.jsonl OUT_DIR: one pipeline over the lines of a file, by N + 1 tasks.
#
# Task I of N takes lines I, I + N, I + 2 N ... and writes OUT_DIR/part-I.jsonl, line for line. The results in the order of the texts:
#   paste -d '\n' OUT_DIR/part-*.jsonl | sed '/^$/d'
# A part has its name when it is complete, so a task that failed is run again by the same command, and those that are done do nothing.
set -eu -o pipefail

task=$1 model=$2 texts=$3 out=$4
index=$SLURM_ARRAY_TASK_ID
count=$SLURM_ARRAY_TASK_COUNT
part=$out/$(printf 'part-%05d.jsonl' "$index")

mkdir -p "$out"
[ ! -e "$part" ] || exit 0
trap 'rm -f "$part.tmp"' EXIT
awk -v i="$index" -v n="$count" '(NR - 1) % n == i' "$texts" |
    "${OPTIMUM_CLI:-optimum-cli}" pipeline "$task" --model "$model" --input - >"$part.tmp"
mv "$part.tmp" "$part"
