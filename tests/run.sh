#!/bin/bash
# tests/run.sh BUILD: every test program of a build, one after the other; closes with "N passed, N failed, N skipped".
#
# The tests need ONNX Runtime (OPTIMUM_ORT_LIBRARY); without it those that use it fail. Where OM_SHARED, or ../shared beside the
# source tree, holds more recorded outputs than tests/data, all of them are run.
set -u

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
export OPENBLAS_NUM_THREADS=1 OM_REQUIRE_ORT=1
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$here/lsan.supp:print_suppressions=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
if [ -z "${OM_SHARED:-}" ] && [ -d "$here/../../shared/goldens" ]; then
    OM_SHARED=$(cd "$here/../../shared" && pwd)
    export OM_SHARED
fi

passed=0 failed=0 skipped=0

# Run a suite and add the counts of its last line; a suite that ends without them has failed.
suite()
{
    local name=$1 last start=$SECONDS
    shift
    echo "== $name"
    last=$("$@" 2>&1 | tee /dev/stderr | tail -n 1)
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
        skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
    else
        echo "FAILED $name: it ended without a count"
        failed=$((failed + 1))
    fi
    echo "   ($((SECONDS - start)) s)"
}

# Every fuzz target on its corpus and seeded mutations of it.
fuzz()
{
    local target name ok=0 bad=0

    for target in "$build"/tests/fuzz/fuzz_*; do
        [ -x "$target" ] && [ -f "$target" ] || continue
        name=${target##*/fuzz_}
        if "$target" -runs="${FUZZ_RUNS:-5000}" -seed=1 -last="$target.last" "$here/data/fuzz/$name"; then
            ok=$((ok + 1))
        else
            bad=$((bad + 1))
            echo "FAILED fuzz_$name (its input is in $target.last)"
        fi
    done
    echo "$ok passed, $bad failed"
}

suite unit "$build/tests/unit"
suite golden "$build/tests/golden/test_golden"
suite command-line "$here/cli/run.sh" "$build"
suite fault-injection "$build/tests/fault/fault"
suite fuzz fuzz

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
