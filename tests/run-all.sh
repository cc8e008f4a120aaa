#!/bin/bash
# tests/run-all.sh [PART...]: everything that is too long for every day; closes with "N passed, N failed, N skipped".
#
#   builds     gcc and clang, debug and release: unit, golden and command-line tests in each, and the same bytes from all four
#   sanitized  the whole of tests/run.sh on the ASan+UBSan build, every fault of every export tried, many kills
#   threads    ThreadSanitizer on what runs in several threads
#   soak       10 minutes (SOAK_SECONDS) of calls from 8 threads, on the ASan+UBSan build and on the ThreadSanitizer build
#   lean       a build without BLAS; exports without ONNX Runtime
#   install    the installed library through pkg-config, shared and static
#   fuzz       libFuzzer, FUZZ_SECONDS (60) for each target
#
# Without arguments all of them. Builds are kept in BUILD_ALL (build-all). ONNX Runtime is found as by tests/run.sh.
set -u -o pipefail
. "$(dirname "$0")/suites.sh"
root=$(cd "$here/.." && pwd)
mkdir -p "${BUILD_ALL:=$root/build-all}"
all=$(cd "$BUILD_ALL" && pwd)
jobs=${JOBS:-$(nproc)}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$root" || exit 1

# build NAME COMPILER [options of meson setup]: a build without warnings; false when there is none.
build()
{
    local dir=$all/$1 log=$tmp/$1.log

    command -v "$2" >/dev/null || { skip "$1: there is no $2" && return 1; }
    echo "== build $1"
    [ -f "$dir/build.ninja" ] || CC=$2 meson setup "$dir" --werror "${@:3}" >"$log" 2>&1 || { tail -n 20 "$log" && fail "$1 is set up" && return 1; }
    ninja -C "$dir" -j "$jobs" >"$log" 2>&1 || { grep -A 20 -m 1 FAILED "$log" && fail "$1 is built" && return 1; }
    pass
}

suites_of()
{
    suite "$1: unit" "$all/$1/tests/unit"
    suite "$1: golden" "$all/$1/tests/golden/test_golden"
    suite "$1: command-line" "$here/cli/run.sh" "$all/$1"
}

# ---- builds ----

# export_all NAME: the hashes of all files that a build exports, to $tmp/NAME.sums.
export_all()
{
    local golden name task mode out=$tmp/exports

    for golden in tests/data/goldens/*/* tests/data/variants/goldens/*/*; do
        name=${golden#tests/data/}
        task=${golden##*/}
        task=${task%%+*} # a task may have several recordings
        [ -d "$tmp/checkpoints/$name" ] || "$all/$1/tools/mkckpt" "$golden" "$tmp/checkpoints/$name" >/dev/null || return 1
        for mode in embedded external safetensors; do
            "$all/$1/optimum-cli" export onnx -qq --no-validation --weights $mode --task "$task" \
                --model "$tmp/checkpoints/$name" "$out/$name/$mode" || return 1
        done
    done
    (cd "$out" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$tmp/$1.sums"
    rm -rf "$out"
    [ "$(grep -c 'onnx$' "$tmp/$1.sums")" -gt 100 ]
}

builds()
{
    local name first=

    for name in gcc-release gcc-debug clang-release clang-debug; do
        build $name ${name%-*} -Dbuildtype=${name#*-} || continue
        suites_of $name
        check "$name: exports of every golden" export_all $name
        [ -n "$first" ] && [ -f "$tmp/$name.sums" ] && check "$name writes the bytes of $first" diff "$tmp/$first.sums" "$tmp/$name.sums"
        first=${first:-$name}
    done
}

# ---- sanitizers ----

sanitized()
{
    build sanitized gcc -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false || return
    SOAK_SECONDS=6 OM_FAULT_FULL=1 CRASH_KILLS=${CRASH_KILLS:-100} FUZZ_RUNS=${FUZZ_RUNS:-200000} suite "sanitized" "$here/run.sh" "$all/sanitized"
}

# setarch -R: ThreadSanitizer of older compilers does not know the address layout of newer kernels
with_tsan()
{
    TSAN_OPTIONS="suppressions=$here/tsan.supp:ignore_noninstrumented_modules=1:halt_on_error=1" setarch -R "$@"
}

threads()
{
    build threads gcc -Dbuildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false || return
    suite "threads: sessions and threads" with_tsan "$all/threads/tests/unit" session thread ref hub model
}

# A quarantine of freed memory that is full soon, so that it does not look like growth.
soak()
{
    build sanitized gcc -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false &&
        ASAN_OPTIONS=$ASAN_OPTIONS:quarantine_size_mb=16 suite "soak with ASan and UBSan" "$here/soak/run.sh" "$all/sanitized"
    build threads gcc -Dbuildtype=debugoptimized -Db_sanitize=thread -Db_lundef=false &&
        suite "soak with ThreadSanitizer" with_tsan "$here/soak/run.sh" "$all/threads"
}

# ---- lean ----

# One warning, and the files are there.
export_without_runtime()
{
    local status=0

    "$all/no-blas/tools/mkckpt" tests/data/goldens/bert/question-answering "$tmp/bert" >/dev/null || return 1
    OPTIMUM_ORT_LIBRARY=$tmp/nowhere "$all/no-blas/optimum-cli" export onnx -q --model "$tmp/bert" "$tmp/bert-out" >"$tmp/log" 2>&1 || status=$?
    cat "$tmp/log"
    [ $status -eq 0 ] && [ -s "$tmp/bert-out/model.onnx" ] && [ "$(wc -l <"$tmp/log")" -eq 1 ] &&
        grep -q '^The exported model was not validated: ' "$tmp/log"
}

strict_without_runtime()
{
    local status=0

    OPTIMUM_ORT_LIBRARY=$tmp/nowhere "$all/no-blas/optimum-cli" export onnx -q --strict --model "$tmp/bert" "$tmp/bert-strict" >"$tmp/log" 2>&1 || status=$?
    cat "$tmp/log"
    [ $status -eq 1 ] && grep -q 'cannot be validated' "$tmp/log"
}

lean()
{
    build no-blas gcc -Dblas=disabled || return
    suites_of no-blas
    check "an export without ONNX Runtime" export_without_runtime
    check "--strict without ONNX Runtime" strict_without_runtime
    OM_REQUIRE_ORT='' OPTIMUM_ORT_LIBRARY=$tmp/nowhere suite "no-blas: golden without ONNX Runtime" "$all/no-blas/tests/golden/test_golden"
}

# ---- install ----

# installed HOW EXAMPLE: compile it against the installed library, as a user does.
installed()
{
    local how=$1 name=$2 library pc flags
    local -x PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR=$tmp/dest LD_LIBRARY_PATH

    pc=$(find "$tmp/dest" -name optimum.pc) && library=${pc%/pkgconfig/*}
    PKG_CONFIG_PATH=$(dirname "$pc") LD_LIBRARY_PATH=$library
    if [ "$how" = static ]; then
        flags=$(pkg-config --static --libs optimum) || return 1
        flags="$library/liboptimum.a ${flags//-loptimum/}"
    else
        flags=$(pkg-config --libs optimum) || return 1
    fi
    # shellcheck disable=SC2046,SC2086
    gcc -std=c17 -Wall -Wextra -Werror $(pkg-config --cflags optimum) "examples/$name.c" -o "$tmp/$name-$how" $flags -lm || return 1
    case $how:$(ldd "$tmp/$name-$how" | grep -c liboptimum) in
    static:0 | shared:1) ;;
    *) ldd "$tmp/$name-$how" && return 1 ;;
    esac
    [ "$name" != export ] || "$tmp/export-$how" "$tmp/export-checkpoint" "$tmp/export-$how-out"
}

install_all()
{
    local how

    build gcc-release gcc -Dbuildtype=release || return
    check "install" meson install -C "$all/gcc-release" --no-rebuild --destdir "$tmp/dest"
    check "a checkpoint" "$all/gcc-release/tools/mkckpt" tests/data/goldens/llama/text-generation-with-past "$tmp/export-checkpoint"
    for how in shared static; do
        check "examples/export.c with the $how library" installed $how export
        check "examples/similarity.c with the $how library" installed $how similarity
    done
    check "the installed program" "$(find "$tmp/dest" -name optimum-cli)" --version
}

# ---- fuzz ----

fuzz_one() # NAME
{
    mkdir -p "$tmp/corpus-$1" "$all/fuzz/found"
    "$all/fuzz/tests/fuzz/fuzz_$1" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=4096 -print_final_stats=1 \
        -artifact_prefix="$all/fuzz/found/$1-" "$tmp/corpus-$1" "tests/data/fuzz/$1" 2>&1 | tail -n 40
}

fuzz()
{
    local target

    build fuzz clang -Dbuildtype=debugoptimized -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false || return
    for target in "$all"/fuzz/tests/fuzz/fuzz_*; do
        [ -x "$target" ] && [ -f "$target" ] || continue
        check "libFuzzer: ${target##*/} (an input that fails is kept in $all/fuzz/found)" fuzz_one "${target##*/fuzz_}"
    done
}

[ $# -gt 0 ] || set -- builds sanitized threads soak lean install fuzz
for part; do
    case $part in
    builds | sanitized | threads | soak | lean | fuzz) $part ;;
    install) install_all ;;
    *) fail "no such part: $part" ;;
    esac
done
counts
