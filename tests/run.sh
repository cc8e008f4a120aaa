#!/bin/bash
# tests/run.sh BUILD: every test program of a build, one after the other; closes with "N passed, N failed, N skipped".
#
# The tests need ONNX Runtime (OPTIMUM_ORT_LIBRARY); without it those that use it fail. Where OM_SHARED, or ../shared beside the
# source tree, holds more recorded outputs than tests/data, all of them are run.
set -u -o pipefail
. "$(dirname "$0")/suites.sh"
build=$(cd "$1" && pwd)

# Every fuzz target on its corpus and seeded mutations of it.
fuzz()
{
    local target name ok=0 bad=0

    for target in "$build"/tests/fuzz/fuzz_*; do
        [ -x "$target" ] && [ -f "$target" ] || continue
        name=${target##*/fuzz_}
        if "$target" -runs="${FUZZ_RUNS:-20000}" -seed=1 -last="$target.last" "$here/data/fuzz/$name"; then
            ok=$((ok + 1))
        else
            bad=$((bad + 1))
            echo "FAILED fuzz_$name (its input is in $target.last)"
        fi
    done
    echo "$ok passed, $bad failed"
    [ "$bad" -eq 0 ]
}

# With the real model that the demo fetches, where it is there.
pipelines()
{
    local minilm=$build/demo/all-MiniLM-L6-v2

    [ ! -d "$minilm" ] || export OM_MINILM=${OM_MINILM:-$minilm}
    "$build/tests/golden/test_pipelines"
}

suite rules "$here/rules/run.sh" "$build"
suite unit "$build/tests/unit"
suite golden "$build/tests/golden/test_golden"
suite optimized "$build/tests/golden/test_optimize"
suite exports-of-optimum "$build/tests/golden/test_exports"
suite checkpoints "$build/tests/golden/test_checkpoints"
suite tokenizers "$build/tests/golden/test_tokenizers"
suite pipelines-as-filters python3 "$here/golden/pipeline_filter.py" "$build"
suite pipelines pipelines
suite generation "$build/tests/golden/test_generation"
suite command-line "$here/cli/run.sh" "$build"
suite hub "$here/hub/run.sh" "$build"
suite fault-injection "$build/tests/fault/fault"
suite crash "$here/crash/run.sh" "$build"
suite examples "$here/examples/run.sh" "$build"
SOAK_SECONDS=${SOAK_SECONDS:-6} suite soak "$here/soak/run.sh" "$build"
suite fuzz fuzz
counts
