#!/bin/bash
# tests/examples/run.sh BUILD: the example programs do what they say.
#
# examples/similarity needs the real checkpoint that `make demo` fetches; without it, it is skipped. OM_MINILM names another place.
set -u -o pipefail
. "$(dirname "$0")/../suites.sh"
build=$(cd "$1" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

export_example()
{
    "$build/tools/mkckpt" "$here/data/goldens/bert/question-answering" "$tmp/checkpoint" >/dev/null &&
        "$build/examples/export" "$tmp/checkpoint" "$tmp/out" >"$tmp/report" || return 1
    cat "$tmp/report"
    [ -s "$tmp/out/model.onnx" ] && [ -s "$tmp/out/config.json" ] &&
        [ "$(head -n 1 "$tmp/report")" = 'Automatic task detection to question-answering.' ] &&
        [ "$(grep -c 'all values close' "$tmp/report")" -eq 2 ] &&
        [ "$(tail -n 1 "$tmp/report")" = "The ONNX export succeeded and the exported model was saved at: $tmp/out" ]
}

export_example_fails()
{
    local status=0

    "$build/examples/export" "$tmp/nowhere" "$tmp/none" >"$tmp/log" 2>&1 || status=$?
    cat "$tmp/log"
    [ $status -eq 1 ] && grep -q "$tmp/nowhere: no such directory.*(E_MISSING)" "$tmp/log" && [ ! -e "$tmp/none" ]
}

# Each sentence is nearest to the one that says the same: 1 and 2, 3 and 4, 5 and 6.
similarity_example()
{
    "$build/examples/similarity" "$1" "$tmp/minilm" >"$tmp/table" || return 1
    cat "$tmp/table"
    awk 'NR > 1 {
            row = $1
            pair = row % 2 ? row + 1 : row - 1
            for (i = 1; i <= 6; i++)
                value[i] = $(NF - 6 + i)
            rows++
            if (value[row] != 1)
                wrong = 1
            for (i = 1; i <= 6; i++)
                if (i != row && i != pair && value[i] > value[pair] - 0.3)
                    wrong = 1
        }
        END { exit wrong || rows != 6 }' "$tmp/table"
}

minilm=${OM_MINILM:-}
for dir in "$build" "$here/../build"; do
    [ -n "$minilm" ] || [ ! -f "$dir/demo/all-MiniLM-L6-v2/model.safetensors" ] || minilm=$dir/demo/all-MiniLM-L6-v2
done

check "examples/export" export_example
check "examples/export on a missing checkpoint" export_example_fails
if [ -n "$minilm" ]; then
    check "examples/similarity" similarity_example "$minilm"
else
    skip "examples/similarity: the real checkpoint is not there (make demo fetches it)"
fi
counts
