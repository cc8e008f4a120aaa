# tests/suites.sh: what the scripts that run tests share; to be sourced.
#
# A suite is a command whose last line is "N passed, N failed, N skipped" (the last part may be missing).

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export OPENBLAS_NUM_THREADS=1 OM_REQUIRE_ORT=${OM_REQUIRE_ORT-1} LC_ALL=C
export OPTIMUM_EXPORT_CACHE=${OPTIMUM_EXPORT_CACHE:-${TMPDIR:-/tmp}/optimum-test-exports} OPTIMUM_EXPORT_CACHE_SIZE=1G
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$here/lsan.supp:print_suppressions=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
if [ -z "${OM_SHARED:-}" ] && [ -d "$here/../../shared/goldens" ]; then
    OM_SHARED=$(cd "$here/../../shared" && pwd)
    export OM_SHARED
fi

passed=0 failed=0 skipped=0

pass() { passed=$((passed + 1)); }
fail()
{
    failed=$((failed + 1))
    echo "FAILED $*"
}
skip()
{
    skipped=$((skipped + 1))
    echo "skipped: $*"
}

# check NAME COMMAND...: one test that passes when the command does; what it prints is shown when it does not.
check()
{
    local name=$1 log
    shift
    log=$("$@" 2>&1) && pass && return
    fail "$name"
    printf '%s\n' "$log" | head -n 40
}

# suite NAME COMMAND...: show what it prints and add its counts; a suite that ends without them has failed.
suite()
{
    local name=$1 last start=$SECONDS
    shift
    echo "== $name"
    last=$("$@" 2>&1 | awk '{ print >"/dev/stderr"; fflush("/dev/stderr"); last = $0 } END { print last }')
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
        skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
    else
        fail "$name: it ended without a count"
    fi
    echo "   ($((SECONDS - start)) s)"
}

counts()
{
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}
