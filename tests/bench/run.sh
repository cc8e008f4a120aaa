#!/bin/sh
# tests/bench/run.sh BUILD: speed, memory and size of exports, each beside its limit or a peer; exit 1 when a limit is missed.
#
# Full-size checkpoints with made-up weights (tests/data/full-size) and exports of them are kept in BUILD/bench, about 4 GB, 8 GB
# while it runs. When OPTIMUM_VENV names a virtual environment with optimum-onnx, its export of the same checkpoint is measured as well
# (tests/interop makes one in BUILD/interop/venv, which is used when it is there). OPTIMUM_GENAI_VENV: the same with onnxruntime-genai and
# what its model builder needs (torch, transformers, onnx_ir).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
if [ -z "${OPTIMUM_VENV:-}" ] && [ -f "$build/interop/venv/made" ]; then
    OPTIMUM_VENV=$build/interop/venv
    export OPTIMUM_VENV
fi
"$here/../../tools/fetch-minilm.sh" "$build" || echo "without MiniLM"
unset TRANSFORMERS_VERBOSITY FORCE_ONNX_EXTERNAL_DATA
export OPTIMUM_ORT_LIBRARY="${OPTIMUM_ORT_LIBRARY:-$build/lib}" CUDA_VISIBLE_DEVICES='' HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
exec python3 "$here/bench.py" "$build" "$here/../data/full-size"
