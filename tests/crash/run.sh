#!/bin/bash
# tests/crash/run.sh BUILD: exports that are killed, interrupted, or meet a directory or disk that does not take them.
#
# Whatever happens, a file under its final name is complete, a model lies beside its own weights only, and the next export succeeds
# and removes what was left over. CRASH_KILLS is the number of exports that are killed, CRASH_SEED chooses the moments.
set -u -o pipefail
. "$(dirname "$0")/../suites.sh"
build=$(cd "$1" && pwd)
cli=$build/optimum-cli
kills=${CRASH_KILLS:-18}
RANDOM=${CRASH_SEED:-1}
tmp=$(mktemp -d)
mounted=
cleanup()
{
    [ -z "$mounted" ] || umount "$mounted"
    chmod -R u+rwx "$tmp"
    rm -rf "$tmp"
}
trap cleanup EXIT
chmod a+rx "$tmp"
cd "$tmp" || exit 1
modes=(embedded external safetensors)

# ---- checkpoints: a tiny one, and one of about 100 MB ----

make_checkpoints()
{
    local golden=$here/data/goldens/bert/question-answering rows=800000

    "$build/tools/mkckpt" "$golden" small || return 1
    mkdir golden && cp "$golden"/*.json golden || return 1
    sed -i "s/\"vocab_size\": 99/\"vocab_size\": $rows/" golden/config.json
    sed -i "s/\(word_embeddings.*\"shape\":\[\)99,/\1$rows,/" golden/tensors.json
    "$build/tools/mkckpt" golden large && [ "$(stat -c %s large/model.safetensors)" -gt 100000000 ]
}

export_to() # MODE CHECKPOINT OUT [options]
{
    "$cli" export onnx -q --no-validation --weights "$1" --model "$2" "${@:4}" "$3"
}

references()
{
    local mode

    for mode in "${modes[@]}"; do
        export_to "$mode" small "old-$mode" && export_to "$mode" large "new-$mode" || return 1
    done
}

# ---- what must hold at any time ----

generation() # FILE MODE: old or new, nothing for a file that is neither
{
    local name=${1##*/} g

    for g in old new; do
        cmp -s "$1" "$g-$2/$name" && echo $g && return
    done
}

# settled OUT MODE: every file is complete, and model and weights belong together.
settled()
{
    local file g model='' weights=''

    for file in "$1"/*; do
        [ -e "$file" ] || continue
        g=$(generation "$file" "$2")
        [ -n "$g" ] || { echo "$file is incomplete" && return 1; }
        case $file in
        *.onnx) model=$g ;;
        *.onnx_data | *.safetensors) weights=$g ;;
        esac
    done
    [ "$2" = embedded ] && return
    [ -z "$model" ] || [ "$model" = "$weights" ] || { echo "a model that is $model beside weights that are ${weights:-none}" && return 1; }
}

no_hidden_files()
{
    [ -z "$(find "$1" -name '.*' -type f)" ] || { find "$1" -name '.*' -type f && return 1; }
}

milliseconds_of()
{
    local start

    start=$(date +%s%N)
    "$@" >/dev/null || return 1
    echo $((($(date +%s%N) - start) / 1000000))
}

# interrupt SIGNAL MILLISECONDS COMMAND...: run it, send the signal after a random time below that; its status.
interrupt()
{
    local delay=$((RANDOM * ${2} / 32768))

    "${@:3}" &
    sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
    kill "-$1" $! 2>/dev/null
    wait $! 2>/dev/null
}

fresh_out() # ROUND MODE: every other round starts from an older export
{
    rm -rf out
    if [ $(($1 % 2)) -eq 0 ]; then mkdir out; else cp -r "old-$2" out; fi
}

# ---- killed ----

killed()
{
    local mode next time i status=0 stopped=0 leftovers=0

    for ((i = 0; i < kills; i++)); do
        mode=${modes[i % 3]} next=${modes[RANDOM % 3]}
        [ $i -ge 3 ] || time[i]=$(milliseconds_of export_to "$mode" large "timed-$mode")
        fresh_out $((i / 3)) "$mode"
        interrupt KILL ${time[i % 3]} "$cli" export onnx -q --no-validation --weights "$mode" --model large out
        [ $? -ne 137 ] || stopped=$((stopped + 1))
        no_hidden_files out >/dev/null || leftovers=$((leftovers + 1))
        settled out "$mode" || { echo "after kill $i ($mode)" && status=1; }
        export_to "$next" large out || status=1
        no_hidden_files out || { echo "after the export that follows kill $i ($mode, then $next)" && status=1; }
        diff -r "new-$next" out | grep -v '^Only in out' && status=1
        [ $status -eq 0 ] || return 1
    done
    echo "$kills runs, $stopped killed, $leftovers with leftovers"
    [ $stopped -gt 0 ]
}

# ---- Ctrl-C ----

interrupted()
{
    local mode time i status seen=0

    time=$(milliseconds_of export_to embedded large timed-embedded)
    for ((i = 0; i < 60 && seen < 3; i++)); do
        mode=${modes[i % 3]}
        fresh_out $((i / 3)) "$mode"
        interrupt INT "$time" "$cli" export onnx -q --no-validation --weights "$mode" --model large out 2>log
        status=$?
        no_hidden_files out && settled out "$mode" || return 1
        case $status:$(cat log) in
        130:optimum-cli:\ error:\ *cancelled) seen=$((seen + 1)) ;;
        0: | 130:) ;; # it was over, or had not come to its handler
        *) echo "status $status" && cat log && return 1 ;;
        esac
    done
    [ $seen -ge 3 ] || { echo "$i interrupts met a running export only $seen times" && return 1; }
}

# ---- directories that do not take an export ----

# refused MESSAGE COMMAND...: exit 1, one line, which matches.
refused()
{
    local want=$1 status=0
    shift

    "$@" >log 2>&1 || status=$?
    cat log
    [ $status -eq 1 ] && [ "$(wc -l <log)" -eq 1 ] && [[ $(cat log) == $want ]]
}

output_is_a_file()
{
    echo text >file
    refused 'optimum-cli: error: file: exists and is not a directory' export_to embedded small file && [ "$(cat file)" = text ] &&
        refused 'optimum-cli: error: file: exists and is not a directory' export_to embedded small file/below
}

parents_are_made()
{
    export_to embedded small a/b/c/ && diff -r old-embedded a/b/c
}

# Root may write everywhere: then as a user who owns nothing.
unprivileged() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }

read_only_output()
{
    local as=() status=0

    mkdir -p locked
    cp old-external/* locked
    [ "$(id -u)" -ne 0 ] || as=(unprivileged)
    chmod a-w locked
    refused 'optimum-cli: error: locked/*: Permission denied' "${as[@]}" "$cli" export onnx -q --no-validation --model small locked &&
        refused 'optimum-cli: error: locked/new: *: Permission denied' "${as[@]}" "$cli" export onnx -q --no-validation --model small locked/new ||
        status=1
    diff -r old-external locked && [ $status -eq 0 ]
}

full_disk()
{
    local mode

    for mode in "${modes[@]}"; do
        refused 'optimum-cli: error: disk/out/*: No space left on device' export_to "$mode" large disk/out || return 1
        [ -z "$(ls -A disk/out)" ] || { ls -lA disk/out && return 1; }
        export_to "$mode" small disk/out || return 1
        refused 'optimum-cli: error: disk/out/*: No space left on device' export_to "$mode" large disk/out || return 1
        diff -r "old-$mode" disk/out || return 1
        rm -r disk/out
    done
}

check "checkpoints" make_checkpoints
check "exports without a fault" references
if [ $failed -eq 0 ]; then
    check "kill -9" killed
    check "Ctrl-C" interrupted
    check "the output is a file" output_is_a_file
    check "parents of the output are made" parents_are_made
    if [ "$(id -u)" -ne 0 ] || unprivileged test -x "$cli" 2>/dev/null; then
        check "read-only output" read_only_output
    else
        skip "read-only output: only root may run $cli"
    fi
    mkdir disk
    if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=1m tmpfs disk 2>/dev/null; then
        mounted=$tmp/disk
        check "full disk" full_disk
    else
        skip "full disk: needs a small file system, which only root may mount"
    fi
fi
counts
