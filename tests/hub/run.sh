#!/bin/bash
# tests/hub/run.sh BUILD [NAME...|python]: models from a Hub on the loopback interface (server.c), which misbehaves as told.
#
# After every test the cache must be sound: each blob has the hash that its name says, each link of a snapshot leads to a blob. Closes
# with "N passed, N failed, N skipped". With OPTIMUM_VENV, the directory of a virtual environment that has huggingface_hub, its
# client and ours share caches.
set -u
. "$(dirname "$0")/../suites.sh"
build=$(cd "$1" && pwd)
shift
here=$here/hub
OPTIMUM_VENV=${OPTIMUM_VENV:-}
cli=$build/optimum-cli
server=$build/tests/hub/hub_server
goldens=$here/../data/goldens

unset TRANSFORMERS_VERBOSITY FORCE_ONNX_EXTERNAL_DATA TRANSFORMERS_OFFLINE HF_HUB_OFFLINE HF_HUB_CACHE HUGGINGFACE_HUB_CACHE
unset HF_TOKEN HUGGING_FACE_HUB_TOKEN HF_TOKEN_PATH HF_ENDPOINT HF_HUB_ETAG_TIMEOUT HF_HUB_DOWNLOAD_TIMEOUT
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY

tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
export HF_HOME=$tmp/home
cache=$HF_HOME/hub log=$tmp/log messages=$tmp/messages

if ! "$cli" env | grep -q 'Hub: libcurl'; then
    skip "hub: this build has no libcurl"
    counts
    exit
fi

# ---- the repositories ----

hub=$tmp/hub
mkckpt() { "$build/tools/mkckpt" "${@:3}" "$1" "$2" >/dev/null; }

# make_repo NAME REV GOLDEN [mkckpt options]: a checkpoint with the files that repositories have beside it
make_repo()
{
    local dir=$hub/$1/$2

    mkckpt "$goldens/$3" "$dir" "${@:4}"
    mkdir -p "$dir/onnx"
    echo '{"version": "1.0"}' >"$dir/tokenizer.json"
    printf '[PAD]\n[UNK]\n' >"$dir/vocab.txt"
    echo '# A model' >"$dir/README.md"
    echo flax >"$dir/flax_model.msgpack"
    echo torch >"$dir/pytorch_model.bin"
    echo onnx >"$dir/onnx/model.onnx"
}

make_repo org--bert main bert/fill-mask
make_repo org--bert v1 bert/question-answering
make_repo org--bert refs%2Fpr%2F1 bert/token-classification
make_repo plain main distilbert/feature-extraction
make_repo org--shards main bert/fill-mask --shards 3
make_repo org--gated main bert/fill-mask
touch "$hub/org--gated/gated"
make_repo org--closed main bert/fill-mask
touch "$hub/org--closed/gated-for-all"
make_repo org--private main bert/fill-mask
touch "$hub/org--private/private"
make_repo org--tagged main bert/fill-mask
echo sentence-similarity >"$hub/org--tagged/pipeline_tag"
mkdir -p "$hub/org--sub/main"
make_repo org--sub main/models/bert bert/fill-mask
mkckpt "$here/../data/sentence/new" "$hub/org--sentence/main"
mkdir "$hub/org--sentence/old"
cp "$here/../data/sentence/old/modules.json" "$hub/org--sentence/old"
for dir in "$here"/../data/sentence/old/*/; do
    if [ -f "$dir/tensors.json" ]; then
        mkckpt "$dir" "$hub/org--sentence/old/$(basename "$dir")"
    else
        cp -r "$dir" "$hub/org--sentence/old"
    fi
done
make_repo org--strange main bert/fill-mask
sed -i 's/"model_type": "bert"/"model_type": "bort"/' "$hub/org--strange/main/config.json"
mkdir -p "$hub/org--empty/main" && echo x >"$hub/org--empty/main/README.md"
mkckpt "$here/../data/pipelines/ner-bert" "$hub/org--ner/main"
cp "$here"/../data/tokenizers/minilm/*.json "$hub/org--ner/main"
mkdir -p "$hub/org--words/main" && cp "$here"/../data/tokenizers/minilm/*.json "$hub/org--ner/main/config.json" "$hub/org--words/main"
weights_size=$(stat -c %s "$hub/org--bert/main/model.safetensors")

# ---- tools of the tests ----

# start [server options]: a Hub for this shell, on ports $hub_port and $cdn_port
start()
{
    rm -f "$tmp/ports" "$tmp/stdin" "$log"
    mkfifo "$tmp/stdin"
    "$server" --log "$log" "$@" "$hub" "$tmp/ports" <"$tmp/stdin" 2>"$tmp/server.err" &
    server_pid=$!
    exec 9>"$tmp/stdin"
    while [ ! -f "$tmp/ports" ] && kill -0 $server_pid 2>/dev/null; do sleep 0.02; done
    read -r hub_port cdn_port <"$tmp/ports"
    export HF_ENDPOINT=http://127.0.0.1:$hub_port
}

stop()
{
    exec 9>&-
    wait $server_pid
}

# export_model ID [options]: what it prints goes to $messages; its exit status is the result
export_model() { "$cli" export onnx --no-validation --model "$@" "$tmp/out" >"$messages" 2>&1; }

# fault 'METHOD WHERE GLOB ACTION ARG COUNT': one word for the server
says() { grep -qF -- "$1" "$messages"; }
asked() { grep -c -- "$1" "$log"; }
fresh() { rm -rf "$cache" "$tmp/out"; }

# The cache is what its names say.
sound()
{
    local f name ok=0

    while IFS= read -r f; do
        name=${f##*/}
        case $name in
        *.incomplete) continue ;;
        ????????????????????????????????????????) [ "$(hash_object "$f")" = "$name" ] ;;
        *) [ "$(sha256sum <"$f")" = "$name  -" ] ;;
        esac || { echo "$f has not the hash of its name"; ok=1; }
    done < <(find "$cache" -path '*/blobs/*' -type f 2>/dev/null)
    while IFS= read -r f; do
        [ -L "$f" ] && [ -f "$f" ] || { echo "$f is no link to a blob"; ok=1; }
    done < <(find "$cache" -path '*/snapshots/*' ! -type d 2>/dev/null)
    return $ok
}
hash_object() { (printf 'blob %d\0' "$(stat -c %s "$1")" && cat "$1") | sha1sum | cut -d' ' -f1; }

no_partial() { [ -z "$(find "$cache" -name '*.incomplete' -o -name '*.tmp')" ]; }
same_export() { "$cli" export onnx --quiet --no-validation --model "$1" "$tmp/local" && diff -r "$tmp/local" "$tmp/out"; local rc=$?; rm -rf "$tmp/local"; return $rc; }
snapshot() { echo "$cache/models--$1/snapshots"/*; }

# ---- the tests ----

first_run()
{
    start --token t
    HF_TOKEN=t export_model org/bert && stop && sound && no_partial && same_export "$hub/org--bert/main" || return
    (cd "$(snapshot org--bert)" && find . ! -type d | sort) >"$tmp/got"
    diff - "$tmp/got" <<<$'./config.json\n./model.safetensors\n./tokenizer.json\n./vocab.txt'
}

second_run_asks_once()
{
    start
    export_model org/bert && : >"$log" && export_model org/bert && stop && [ "$(wc -l <"$log")" -eq 1 ] && asked /api/models/org/bert/revision/main
}

offline()
{
    start
    export_model org/bert && rm -r "$tmp/out" && stop || return
    HF_HUB_OFFLINE=1 export_model org/bert && rm -r "$tmp/out" || return
    export_model org/bert && says 'from the cache' || return # the Hub is gone: a warning, and the cache
    ! TRANSFORMERS_OFFLINE=1 export_model org/bert --revision v1 && says 'its revision "v1" is not in the cache' || return
    rm "$(snapshot org--bert)/model.safetensors"
    ! HF_HUB_OFFLINE=1 export_model org/bert && says 'has no weights' && says 'the Hub was not asked'
}

revisions()
{
    start
    export_model org/bert@v1 && same_export "$hub/org--bert/v1" || return
    export_model org/bert --revision v1 && export_model org/bert@refs/pr/1 && same_export "$hub/org--bert/refs%2Fpr%2F1" || return
    export_model "org/bert@$(cat "$cache/models--org--bert/refs/v1")" && rm -rf "$tmp/out" || return
    [ "$(ls "$cache/models--org--bert/refs")" = $'refs\nv1' ] || return
    ! export_model org/bert@v2 && says 'revision "v2": org/bert has no such revision' && [ ! -e "$tmp/out" ]
    stop
}

other_ids()
{
    start
    export_model plain && same_export "$hub/plain/main" || return
    export_model org/sub --subfolder models/bert && same_export "$hub/org--sub/main/models/bert" || return
    ! export_model org/sub && says 'org/sub: the repository has no config.json' || return
    ! export_model org/empty && says 'org/empty: the repository has no config.json' || return
    ! export_model org/typo && says '"org/typo" is neither a directory nor a repository on the Hub' || return
    export_model org/bert --cache_dir "$tmp/other" && [ -d "$tmp/other/models--org--bert" ] && rm -r "$tmp/other" || return
    HF_HUB_CACHE=$tmp/other export_model org/bert && [ -d "$tmp/other/models--org--bert" ] && rm -r "$tmp/other"
    stop
}

# What cannot be exported is not downloaded.
unsupported_early()
{
    start
    ! export_model org/strange && says 'model type "bort" is not supported' && [ "$(asked cdn)" = 0 ]
    stop
}

tasks()
{
    start
    export_model org/tagged && says 'Automatic task detection to feature-extraction' || return
    export_model org/bert && says 'Automatic task detection to fill-mask' || return
    export_model org/tagged --task fill-mask
    stop
}

shards()
{
    start --page 3
    export_model org/shards --weights safetensors && same_export_safetensors && [ "$(asked cursor=)" = 0 ] && [ "$(asked /tree/)" -ge 2 ]
    stop
}
same_export_safetensors() { "$cli" export onnx --quiet --no-validation --weights safetensors --model "$hub/org--shards/main" "$tmp/local" && diff -r "$tmp/local" "$tmp/out"; local rc=$?; rm -rf "$tmp/local"; return $rc; }

# The modules of a sentence-transformers model, in both layouts.
sentences()
{
    start
    export_model org/sentence && same_export "$hub/org--sentence/main" && rm -r "$tmp/out" || return
    export_model org/sentence@old && same_export "$hub/org--sentence/old"
    stop
}

# Links are followed, and nothing is written into a snapshot.
# A tokenizer alone: no weights are asked for.
tokenizer()
{
    start
    "$cli" tokenize -t org/words "Hello world" >"$messages" 2>&1 && stop && says 'hello' && sound && [ "$(asked safetensors)" = 0 ] &&
        HF_HUB_OFFLINE=1 "$cli" tokenize -t org/words --json "Hello world" >"$messages" 2>&1 && says '"ids":[101,7592,2088,102]'
}

# A pipeline's export of a revision is kept, also for when nobody can be asked.
pipeline_is_kept()
{
    start
    export OPTIMUM_EXPORT_CACHE=$tmp/exports
    "$cli" pipeline ner -m org/ner "New York" >"$tmp/first" 2>"$messages" && says 'it is exported now' &&
        "$cli" pipeline ner -m org/ner "New York" >"$tmp/second" 2>"$messages" && [ ! -s "$messages" ] && stop &&
        HF_HUB_OFFLINE=1 "$cli" pipeline ner -m org/ner "New York" >"$tmp/third" 2>"$messages" && [ ! -s "$messages" ] &&
        cmp "$tmp/first" "$tmp/second" && cmp "$tmp/first" "$tmp/third" && sound
}

safetensors_copies()
{
    local before

    start
    export_model org/bert && stop && rm -r "$tmp/out" || return
    before=$(cd "$cache" && find . -printf '%p %i %s %T@ %l\n' | grep -v '/\.locks\|no_exist' | sort)
    HF_HUB_OFFLINE=1 export_model org/bert --weights safetensors || return
    [ -f "$tmp/out/model.safetensors" ] && [ ! -L "$tmp/out/model.safetensors" ] && [ "$(stat -c %h "$tmp/out/model.safetensors")" = 1 ] || return
    ! HF_HUB_OFFLINE=1 "$cli" export onnx --model org/bert "$(snapshot org--bert)/onnx" >"$messages" 2>&1 && says 'lies in a snapshot' || return
    [ "$before" = "$(cd "$cache" && find . -printf '%p %i %s %T@ %l\n' | grep -v '/\.locks\|no_exist' | sort)" ]
}

token_stays_home()
{
    start --token secret_token
    HF_TOKEN=secret_token export_model org/private -v -v || return
    [ "$(asked 'hub .*token=secret_token')" -gt 5 ] && [ "$(asked 'cdn .*token=-')" = 1 ] && [ "$(asked 'cdn .*token=s')" = 0 ] || return
    ! says secret_token && ! says Signature || return
    fresh
    mkdir -p "$HF_HOME" && echo secret_token >"$HF_HOME/token" && export_model org/private || return
    ! HF_HUB_DISABLE_IMPLICIT_TOKEN=1 export_model org/private --cache_dir "$tmp/empty" && rm "$HF_HOME/token" && rm -rf "$tmp/empty"
    stop
}

gates()
{
    start --token t
    ! export_model org/gated && says "org/gated is gated: accept its conditions on $HF_ENDPOINT/org/gated and set HF_TOKEN" || return
    HF_TOKEN=t export_model org/gated || return
    ! HF_TOKEN=t export_model org/closed && says 'org/closed is gated: accept its conditions' || return
    ! HF_TOKEN=wrong export_model org/bert && says 'the Hub does not accept the token' || return
    ! export_model org/private && says '"org/private" is neither a directory nor a repository'
    stop
}

# survives FAULT...: the export succeeds although the server misbehaves so
survives()
{
    local f faults=()

    for f; do faults+=(--fault "$f"); done
    start "${faults[@]}"
    HF_HUB_DOWNLOAD_TIMEOUT=2 HF_HUB_ETAG_TIMEOUT=2 export_model org/bert && stop && sound && no_partial && same_export "$hub/org--bert/main"
}

# fails_with MESSAGE FAULT...: it does not, says so, and the next run with a server in order completes
fails_with()
{
    local f message=$1 faults=()

    shift
    for f; do faults+=(--fault "$f"); done
    start "${faults[@]}"
    HF_HUB_DOWNLOAD_TIMEOUT=2 HF_HUB_ETAG_TIMEOUT=2 export_model org/bert
    [ $? -eq 1 ] && says "$message" && [ ! -e "$tmp/out" ] && sound && [ ! -e "$(snapshot org--bert)/model.safetensors" ] && [ "$(wc -l <"$messages")" -le 8 ] || return
    stop
    start
    export_model org/bert && sound && no_partial && same_export "$hub/org--bert/main"
    stop
}

w='*model.safetensors'
truncated() { survives "GET cdn $w truncate 1000 2" && [ "$(asked 'GET cdn .*from=1000')" = 1 ] && [ "$(asked 'GET cdn .*from=2000')" = 1 ]; }
truncated_without_ranges() { survives "GET cdn $w truncate 1000 1" "GET cdn $w norange 0 1"; }
announces_more() { survives "GET cdn $w length 10 1"; }
announces_less() { survives "GET cdn $w length -10 1"; }
wrong_once() { survives "GET cdn $w corrupt 5000 1"; }
wrong_always() { fails_with 'model.safetensors: the downloaded bytes have the hash' "GET cdn $w corrupt 5000 99"; }
small_file_wrong() { fails_with 'config.json: the downloaded bytes have the hash' "GET hub *resolve-cache*config.json corrupt 5 99"; }
stalls() { survives "GET cdn $w stall 1000 1" && [ "$(asked 'GET cdn .*from=1000')" = 1 ]; }
stalls_at_once() { survives "GET hub /api/models/* stall 0 1" "HEAD hub $w status 503 1"; }
slow_loris() { survives "HEAD hub $w loris 0 1"; }
too_many_requests() { survives "GET cdn $w status 429 1" "GET hub /api/models/* status 429 1" "HEAD hub *config.json status 429 1"; }
unavailable() { survives "GET cdn $w status 503 2" "GET hub /api/models/* status 503 1" "GET hub *resolve-cache*vocab.txt status 500 1"; }
unavailable_always() { fails_with 'given up after 6 attempts: model.safetensors: the server answered 503' "GET cdn $w status 503 99"; }
hangs_up() { survives "GET cdn $w hangup 0 1" "GET hub /api/models/* hangup 0 1" "HEAD hub *config.json hangup 0 1"; }
chunked() { survives "GET cdn $w chunked 0 9" "GET hub *resolve-cache*config.json chunked 0 9"; }
encoded() { fails_with 'the server sends it encoded (gzip)' "GET cdn $w gzip 0 9"; }
signature_expires() { survives "GET cdn $w status 403 1"; }
hub_forgets_etag() { survives "GET hub $w etag 0 1"; }
storage_changes_etag() { survives "GET cdn $w truncate 1000 1" "GET cdn $w etag 0 1"; }
changed_for_good() { fails_with 'the file on the Hub has changed' "GET hub $w etag 0 99"; }
wrong_commit() { fails_with 'key "sha": expected a commit, found "xyz"' "GET hub /api/models/* commit 0 9"; }
other_name()
{
    start --token t --fault "GET hub $w localhost 0 99"
    HF_TOKEN=t export_model org/private && [ "$(asked 'GET cdn .*token=-')" = 1 ] && [ "$(asked 'GET cdn .*token=t')" = 0 ]
    stop
}

partial_appears()
{
    local i

    for i in $(seq 200); do
        [ -n "$(find "$cache" -name '*.incomplete' -size +0)" ] && return
        sleep 0.05
    done
    return 1
}

# The client dies in mid-file: what it had is continued.
killed()
{
    local pid

    start --fault "GET cdn $w slow 20000 9"
    "$cli" export onnx --no-validation --model org/bert "$tmp/out" >"$messages" 2>&1 &
    pid=$!
    partial_appears && sleep 0.3
    kill -"$1" $pid
    wait $pid
    [ $? -eq "$2" ] && [ ! -e "$tmp/out" ] && sound && stop && start || return
    export_model org/bert && sound && no_partial && same_export "$hub/org--bert/main" && says 'continuing after' && [ "$(asked 'GET cdn .*from=[1-9]')" = 1 ]
    stop
}
killed_in_mid_file() { killed KILL 137; }
interrupted() { killed INT 130; }

# Several clients fill one cache: every file is fetched once.
concurrent()
{
    local i pids=() ok=0

    start --fault "GET cdn $w slow 200000 9"
    for i in 1 2 3 4; do
        "$cli" export onnx --quiet --no-validation --model org/bert "$tmp/out$i" >"$messages$i" 2>&1 &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" || ok=1; done
    stop
    for i in 2 3 4; do diff -r "$tmp/out1" "$tmp/out$i" || ok=1; done
    rm -rf "$tmp"/out?
    sound && no_partial && [ $ok -eq 0 ] && [ "$(asked 'GET cdn')" = 1 ] && [ "$(asked 'GET hub .*resolve-cache.*config.json')" = 1 ]
}

# One of several clients is killed while it holds the lock.
concurrent_killed()
{
    local one two

    start --fault "GET cdn $w slow 20000 1"
    "$cli" export onnx --quiet --no-validation --model org/bert "$tmp/out1" >/dev/null 2>&1 &
    one=$!
    sleep 0.5
    "$cli" export onnx --no-validation --model org/bert "$tmp/out" >"$messages" 2>&1 &
    two=$!
    sleep 0.5
    kill -KILL $one
    wait $one
    wait $two && sound && no_partial && same_export "$hub/org--bert/main"
    stop
}

nobody_there()
{
    ! HF_ENDPOINT=http://127.0.0.1:1 export_model org/bert && says 'http://127.0.0.1:1/api/models/org/bert/revision/main' || return
    ! HF_ENDPOINT=http://hub.invalid export_model org/bert && says 'HF_HUB_OFFLINE=1' || return
    start
    ! HF_HUB_ETAG_TIMEOUT=1 HF_ENDPOINT=https://127.0.0.1:$hub_port export_model org/bert && [ "$(tail -n 1 "$messages" | wc -l)" -eq 1 ] || return
    ! HF_ENDPOINT=ftp://127.0.0.1 export_model org/bert && says 'HF_ENDPOINT: expected http'
    stop
}

proxy()
{
    start
    http_proxy=http://127.0.0.1:$hub_port no_proxy=127.0.0.2 HF_ENDPOINT=http://hub.invalid export_model org/bert && [ "$(asked http://hub.invalid/)" -gt 3 ]
    stop
}

# A checkpoint larger than the memory that the program may have.
streams()
{
    local big=$tmp/big bytes limit=$((64 << 20))

    mkdir -p "$big"
    cp "$goldens"/bert/fill-mask/* "$big"
    python3 - "$big" <<'END' || return
import json, sys
dir, rows = sys.argv[1], 800000
t = json.load(open(dir + "/tensors.json"))
c = json.load(open(dir + "/config.json"))
for name, row in t["tensors"].items():
    if name.endswith(("word_embeddings.weight", "position_embeddings.weight")) or row["shape"] == [c["vocab_size"]]:
        row["shape"][0] = rows
c["vocab_size"] = c["max_position_embeddings"] = rows
json.dump(t, open(dir + "/tensors.json", "w"))
json.dump(c, open(dir + "/config.json", "w"))
END
    mkckpt "$big" "$hub/org--big/main" --shards 2 || return
    rm -r "$big"
    bytes=$(cat "$hub"/org--big/main/*.safetensors | wc -c)
    [ "$bytes" -gt $((3 * limit)) ] || return
    start
    for mode in external safetensors; do
        fresh
        limited $limit "$cli" export onnx --no-validation --weights $mode --model org/big "$tmp/out" >"$messages" 2>&1 || { cat "$messages"; return 1; }
    done
    stop
    sound && [ "$(cat "$tmp"/out/*.safetensors | wc -c)" = "$bytes" ] || return
    rm -r "$hub/org--big"
}

# limited BYTES COMMAND...: in a control group where this user may make one (page cache counts there, and gives way), else by the data segment
limited()
{
    local bytes=$1 group rc

    shift
    for group in /sys/fs/cgroup /sys/fs/cgroup/memory; do
        [ "$(id -u)" = 0 ] && [ -e $group/cgroup.procs ] && mkdir "$group/optimum-test-$$" 2>/dev/null || continue
        group=$group/optimum-test-$$
        if { [ -e $group/memory.max ] && echo "$bytes" >$group/memory.max; } 2>/dev/null ||
            { [ -e $group/memory.limit_in_bytes ] && echo "$bytes" >$group/memory.limit_in_bytes; } 2>/dev/null; then
            (echo $BASHPID >$group/cgroup.procs && exec "$@")
            rc=$?
            rmdir $group
            return $rc
        fi
        rmdir $group
    done
    (ulimit -d $((bytes >> 10)) && exec "$@")
}

# ---- Python's client ----

python_reads_ours()
{
    start
    export_model org/bert && export_model org/shards && export_model org/bert@refs/pr/1 && stop || return
    HF_HUB_OFFLINE=1 "$OPTIMUM_VENV/bin/python" - "$cache" "$hub" <<'END'
import filecmp, os, sys
from huggingface_hub import constants, hf_hub_download, scan_cache_dir, snapshot_download, try_to_load_from_cache
from huggingface_hub.file_download import _CACHED_NO_EXIST
cache, hub = sys.argv[1:]
for repo, rev, names in (("bert", "main", ["config.json", "model.safetensors", "vocab.txt"]),
                         ("bert", "refs/pr/1", ["config.json", "model.safetensors"]),
                         ("shards", None, ["model-00002-of-00003.safetensors", "model.safetensors.index.json"])):
    root = snapshot_download("org/" + repo, revision=rev)
    for name in names:
        path = hf_hub_download("org/" + repo, name, revision=rev)
        assert os.path.dirname(path) == root, (path, root)
        source = f"{hub}/org--{repo}/{(rev or 'main').replace('/', '%2F')}/{name}"
        assert filecmp.cmp(path, source, shallow=False), path
assert try_to_load_from_cache("org/bert", "merges.txt") is _CACHED_NO_EXIST
info = scan_cache_dir(cache)
assert not info.warnings, info.warnings
assert {r.repo_id for r in info.repos} == {"org/bert", "org/shards"}
END
}

we_read_pythons()
{
    start
    "$OPTIMUM_VENV/bin/python" - <<'END' || return
from huggingface_hub import snapshot_download
snapshot_download("org/bert")
snapshot_download("org/bert", revision="refs/pr/1", allow_patterns=["*.json", "*.safetensors", "*.txt"])
END
    : >"$log"
    export_model org/bert && sound && [ "$(wc -l <"$log")" -eq 1 ] && same_export "$hub/org--bert/main" || return
    stop
    HF_HUB_OFFLINE=1 export_model org/bert@refs/pr/1 && same_export "$hub/org--bert/refs%2Fpr%2F1"
}

# What we leave unfinished, Python's client continues. (What it leaves has the same name and form: see t_hub.c.)
python_continues_ours()
{
    local pid

    start --fault "GET cdn $w slow 20000 1"
    "$cli" export onnx --no-validation --model org/bert "$tmp/out" >"$messages" 2>&1 &
    pid=$!
    partial_appears && sleep 0.3
    kill -KILL $pid
    wait $pid
    "$OPTIMUM_VENV/bin/python" -c 'from huggingface_hub import snapshot_download; snapshot_download("org/bert", allow_patterns=["*.safetensors"])'
    stop
    sound && no_partial && [ "$(asked 'GET cdn .*from=[1-9]')" = 1 ]
}

# We wait for a lock that Python's filelock holds.
python_locks()
{
    local blob pid since

    start
    export_model org/bert || return
    blob=$(basename "$(readlink "$(snapshot org--bert)/model.safetensors")")
    rm -r "$cache/models--org--bert/blobs/$blob" "$(snapshot org--bert)"
    "$OPTIMUM_VENV/bin/python" - "$cache/.locks/models--org--bert/$blob.lock" "$tmp/held" <<'END' &
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    open(sys.argv[2], "w").close()
    time.sleep(1.5)
END
    pid=$!
    for _ in $(seq 100); do [ -e "$tmp/held" ] && break; sleep 0.05; done
    since=$(date +%s%N)
    export_model org/bert && [ $((($(date +%s%N) - since) / 1000000)) -gt 1000 ] && wait $pid && sound
    stop
}

tests='first_run second_run_asks_once offline revisions other_ids unsupported_early tasks shards sentences tokenizer pipeline_is_kept safetensors_copies
    token_stays_home gates truncated truncated_without_ranges announces_more announces_less wrong_once wrong_always
    small_file_wrong stalls stalls_at_once slow_loris too_many_requests unavailable unavailable_always hangs_up chunked encoded
    signature_expires hub_forgets_etag storage_changes_etag changed_for_good wrong_commit other_name killed_in_mid_file
    interrupted concurrent concurrent_killed nobody_there proxy streams'
python_tests='python_reads_ours we_read_pythons python_continues_ours python_locks'

run()
{
    fresh
    : >"$messages"
    if "$1" >"$tmp/detail" 2>&1; then
        pass
    else
        fail "hub/$1"
        head -n 20 "$tmp/detail"
        sed 's/^/    | /' "$messages" | tail -n 8
        sed 's/^/    > /' "$log" 2>/dev/null | tail -n 8
    fi
    { exec 9>&-; } 2>/dev/null # the server of a test that stopped half-way ends
}

if [ "$*" = python ]; then
    set -- $python_tests
elif [ $# -eq 0 ]; then
    set -- $tests
    if [ -n "$OPTIMUM_VENV" ] && "$OPTIMUM_VENV/bin/python" -c 'import huggingface_hub' 2>/dev/null; then
        set -- "$@" $python_tests
    else
        for name in $python_tests; do skip "hub/$name: OPTIMUM_VENV names no virtual environment with huggingface_hub"; done
    fi
fi
for name; do run "$name"; done
counts
