#!/bin/bash
# tests/rules/run.sh BUILD: the rules that the source tree keeps, as tests.
set -u -o pipefail
. "$(dirname "$0")/../suites.sh"
root=$(cd "$here/.." && pwd)
build=$(cd "$1" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$root" || exit 1

# What git tracks; without git, everything but build directories.
files()
{
    git ls-files 2>/dev/null && return
    find . -type f -not -path './build*' -not -path './.git/*' | sed 's|^\./||'
}

# ---- layers and banned calls, with proof that the scanners see what they should ----

layers()
{
    find src cli -name '*.[ch]' -print0 | sort -z | xargs -0 awk -f tests/rules/layers.awk tests/rules/layers.txt
}

sees_upward_include()
{
    mkdir -p "$tmp/src/base"
    printf '  #  include "export/job.h"\n' >"$tmp/src/base/x.c"
    ! (cd "$tmp" && awk -f "$root/tests/rules/layers.awk" "$root/tests/rules/layers.txt" src/base/x.c)
}

banned()
{
    find src -name '*.[ch]' -print0 | sort -z | xargs -0 awk -f tests/rules/banned.awk
}

sees_banned_calls()
{
    local call

    for call in 'exit (1);' 'x = 1; printf("a");' '/* a */ abort();' 'fputs(s, stderr);' '"\"" strcpy(a, b);' 'n = atoi(s);'; do
        printf 'int f;\n%s\n' "$call" >"$tmp/bad.c"
        awk -f tests/rules/banned.awk "$tmp/bad.c" >/dev/null && echo "not seen: $call" && return 1
    done
    printf '/* exit(1);\n abort() */ p->free_exit(1), "abort()", o.exit(2); snprintf(b, n, "x"); // gets(b)\n' >"$tmp/good.c"
    awk -f tests/rules/banned.awk "$tmp/good.c"
}

# ---- public headers ----

# compiles_alone HEADER COMPILER OPTIONS...: twice in one file, so that the guard is tested as well.
compiles_alone()
{
    local header=$1
    shift
    printf '#include <optimum/%s>\n#include <optimum/%s>\n' "$header" "$header" |
        "$@" -Wall -Wextra -Wpedantic -Wshadow -Werror -Iinclude -fsyntax-only -
}

headers()
{
    local header cxx=${CXX:-c++}

    for header in include/optimum/*.h; do
        header=${header##*/}
        check "$header as C17" compiles_alone "$header" "${CC:-cc}" -std=c17 -x c
        if command -v "$cxx" >/dev/null; then
            check "$header as C++17" compiles_alone "$header" "$cxx" -std=c++17 -x c++
        else
            skip "$header as C++17: there is no C++ compiler $cxx"
        fi
    done
}

# The shared library exports what the headers declare, no more and no less.
exported_symbols()
{
    grep -h '^OM_API' include/optimum/*.h | grep -o 'om_[a-z0-9_]*(' | tr -d '(' | sort -u >"$tmp/declared"
    nm -D --defined-only "$build/liboptimum.so" | awk '{ print $NF }' | sed 's/@.*//' |
        grep -vE '^__(asan|odr_asan|ubsan|tsan|sanitizer|start|stop)' | sort -u >"$tmp/exported"
    [ -s "$tmp/declared" ] && diff "$tmp/declared" "$tmp/exported"
}

# ---- the registry ----

model_types() { sed -n 's/^OM_ARCH("\([^"]*\)".*/\1/p' src/arch/archs.def; }

sorted_registry()
{
    model_types | sort -c && [ "$(model_types | wc -l)" -gt 0 ]
}

# Every model type with every task that the program lists for it.
goldens()
{
    local type task tasks missing=0

    "$build/optimum-cli" export onnx --list >"$tmp/list" || return 1
    diff <(model_types) <(awk '{ print $1 }' "$tmp/list") || return 1
    while read -r type tasks; do
        for task in $tasks; do
            [ -f "tests/data/goldens/$type/$task/cases.safetensors" ] && continue
            echo "tests/data/goldens/$type/$task is missing"
            missing=1
        done
    done <"$tmp/list"
    return $missing
}

# A row of a table in README.md whose first cell names the type.
readme_types()
{
    local type missing=0

    sed -n 's/^| *\([^|]*\)|.*/\1/p' README.md | tr -c 'A-Za-z0-9_\n-' '\n' >"$tmp/cells"
    for type in $(model_types); do
        grep -qx -- "$type" "$tmp/cells" && continue
        echo "README.md: no row of a table begins with $type"
        missing=1
    done
    return $missing
}

# ---- tests ----

listed_tests()
{
    diff <(sed -n 's/^TEST(\(.*\))$/\1/p' "$1/tests.def" | sort) <(cd "$1" && ls t_*.c | sed 's/^t_//;s/\.c$//' | sort)
}

fuzz_targets()
{
    local name missing=0

    diff <(sed -n "s/^  '\([a-z0-9_]*\)',\$/\1/p" tests/fuzz/meson.build | sort) \
        <(cd tests/fuzz && ls fuzz_*.c | sed 's/^fuzz_//;s/\.c$//' | sort) || return 1
    for name in tests/fuzz/fuzz_*.c; do
        name=${name##*/fuzz_}
        name=${name%.c}
        [ -n "$(ls "tests/data/fuzz/$name" 2>/dev/null)" ] && continue
        echo "tests/data/fuzz/$name has no input"
        missing=1
    done
    return $missing
}

command_line_cases()
{
    local script name missing=0

    for script in tests/cli/cases/*.sh; do
        name=${script%.sh}
        [ -s "$name.exact" ] || [ -s "$name.glob" ] && continue
        echo "$name has no expected output"
        missing=1
    done
    return $missing
}

# ---- documents ----

help_text()
{
    cp docs/cli.md "$tmp/cli.md" && tools/cli-doc.sh "$build/optimum-cli" "$tmp/cli.md" &&
        diff docs/cli.md "$tmp/cli.md" || {
        echo "docs/cli.md is brought up to date by: tools/cli-doc.sh build/optimum-cli docs/cli.md"
        return 1
    }
}

# The project speaks of itself only: no path of somebody's machine.
no_machine_paths()
{
    ! files | tr '\n' '\0' | xargs -0 grep -nIE '(^|[^A-Za-z0-9_.}$*-])/(wor[k]|roo[t]|hom[e]|User[s])/'
}

# Every relative link of a document leads somewhere.
links()
{
    local file target missing=0

    for file in $(files | grep '\.md$'); do
        for target in $(grep -o '](\([^)#]*\)' "$file" | sed 's/^](//' | grep -v '^[a-z]*:'); do
            [ -e "$(dirname "$file")/$target" ] && continue
            echo "$file: $target does not exist"
            missing=1
        done
    done
    return $missing
}

check "layers" layers
check "the scanner of layers" sees_upward_include
check "banned calls" banned
check "the scanner of banned calls" sees_banned_calls
headers
check "exported symbols" exported_symbols
check "archs.def is sorted" sorted_registry
check "goldens of every model type" goldens
check "README.md lists every model type" readme_types
check "tests/unit/tests.def" listed_tests tests/unit
check "tests/fault/tests.def" listed_tests tests/fault
check "fuzz targets have a corpus" fuzz_targets
check "command-line cases" command_line_cases
check "docs/cli.md has the help texts" help_text
check "no path of a machine" no_machine_paths
check "links" links
counts
