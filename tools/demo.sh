#!/bin/sh
# tools/demo.sh BUILD: export a real model and show that the result works.
#
# The model is sentence-transformers/all-MiniLM-L6-v2 (tools/fetch-minilm.sh).
set -eu

build=$1
dir=$build/demo
model=$dir/all-MiniLM-L6-v2

# Print a command, then run it and say how long it took.
show()
{
    echo
    echo "\$ $*"
    start=$(date +%s%N)
    "$@"
    ms=$((($(date +%s%N) - start) / 1000000))
    printf '(%d.%03d s)\n' $((ms / 1000)) $((ms % 1000))
}

sizes()
{
    (cd "$1" && du -b --apparent-size -- * | awk '{ printf "  %10d  %s\n", $1, $2 }')
}

"$(dirname "$0")/fetch-minilm.sh" "$build"
cli=$build/optimum-cli
rm -rf "$dir/onnx" "$dir/copy"
mkdir "$dir/copy"

show "$cli" export onnx --model "$model" --task feature-extraction "$dir/onnx"
sizes "$dir/onnx"

echo
echo "For comparison, copying the checkpoint and exporting without validation:"
show cp --reflink=never "$model/model.safetensors" "$dir/copy/"
show "$cli" export onnx --no-validation --model "$model" "$dir/copy"

echo
echo "What the exported model thinks of six sentences (examples/similarity.c):"
show "$build/examples/similarity" "$dir/onnx"
