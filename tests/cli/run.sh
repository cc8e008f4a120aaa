#!/bin/bash
# tests/cli/run.sh BUILD [NAME...]: the program as a user sees it.
#
# Every cases/NAME.sh runs in an empty directory; what it prints on both streams must equal cases/NAME.exact, or match cases/NAME.glob
# line by line (each line a shell pattern). In the output the temporary directory reads TMP. With OM_UPDATE=1 the .exact files
# are written instead. Scripts use:
#   $CLI          the program
#   ckpt TYPE/TASK DIR [mkckpt options]   write the tiny checkpoint of a golden
#   status COMMAND...                     run it and print "exit N"
set -u

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
shift
export CLI=$build/optimum-cli MKCKPT=$build/tools/mkckpt GOLDENS=$here/../data/goldens OPENBLAS_NUM_THREADS=1 LC_ALL=C
unset OPTIMUM_EXPORT_CACHE_SIZE TRANSFORMERS_VERBOSITY FORCE_ONNX_EXTERNAL_DATA HF_HUB_CACHE HUGGINGFACE_HUB_CACHE HF_TOKEN HF_TOKEN_PATH
export HF_HUB_OFFLINE=1 # nothing here asks the network; tests/hub does

ckpt() { "$MKCKPT" "${@:3}" "$GOLDENS/$1" "$2" >/dev/null; }
status() { "$@"; echo "exit $?"; }
export -f ckpt status

matches_glob()
{
    local want got

    exec 3<"$1" 4<"$2" || return 1
    while IFS= read -r want <&3; do
        IFS= read -r got <&4 || return 1
        # shellcheck disable=SC2053
        [[ $got == $want ]] || return 1
    done
    ! IFS= read -r got <&4
}

passed=0 failed=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
[ $# -gt 0 ] || set -- $(cd "$here/cases" && ls -- *.sh | sed 's/\.sh$//')
for name; do
    mkdir "$tmp/work"
    export HF_HOME=$tmp/work/hf-home OPTIMUM_EXPORT_CACHE=$tmp/work/exports
    (cd "$tmp/work" && bash "$here/cases/$name.sh") >"$tmp/raw" 2>&1 </dev/null
    sed -e "s|$tmp/work|TMP|g" -e "s|$GOLDENS|GOLDENS|g" "$tmp/raw" >"$tmp/got"
    if [ -n "${OM_UPDATE:-}" ] && [ ! -f "$here/cases/$name.glob" ]; then
        cp "$tmp/got" "$here/cases/$name.exact"
    fi
    if [ -f "$here/cases/$name.exact" ]; then
        cmp -s "$here/cases/$name.exact" "$tmp/got"
    elif [ -f "$here/cases/$name.glob" ]; then
        matches_glob "$here/cases/$name.glob" "$tmp/got"
    else
        echo "cases/$name.exact is missing"
        false
    fi
    if [ $? -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED cli/$name"
        diff -u "$here/cases/$name".[eg]* "$tmp/got" | head -n 40
    fi
    chmod -R u+w "$tmp/work"
    rm -rf "$tmp/work"
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
