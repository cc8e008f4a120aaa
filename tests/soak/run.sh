#!/bin/bash
# tests/soak/run.sh BUILD: the recorded calls of all pipelines from 8 threads for SOAK_SECONDS (600).
set -u -o pipefail
. "$(dirname "$0")/../suites.sh"
build=$(cd "$1" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

prepare() # NAME
{
    local from=$here/data/pipelines/$1 to=$tmp/all/$1 tokenizer

    tokenizer=$here/data/tokenizers/$(<"$from/tokenizer.txt")
    mkdir -p "$to" && cp "$from"/cases.jsonl "$to" && "$build/tools/mkckpt" "$from" "$tmp/checkpoints/$1" >/dev/null &&
        cp "$tokenizer"/* "$tmp/checkpoints/$1/" 2>/dev/null
    [ ! -f "$from/tokenizer_overrides.json" ] || cp "$from/tokenizer_overrides.json" "$to" || return 1
    "$build/optimum-cli" export onnx -qq --no-validation --model "$tmp/checkpoints/$1" "$to/model"
}

for dir in "$here"/data/pipelines/*/; do
    prepare "$(basename "$dir")" || { fail "$dir is exported" && counts && exit 1; }
done
"$build/tests/soak/soak" "$tmp/all" "${SOAK_SECONDS:-600}" "${SOAK_THREADS:-8}"
