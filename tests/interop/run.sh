#!/bin/bash
# tests/interop/run.sh BUILD [SUITE...]: the real clients of our files get the numbers of PyTorch from them.
#
# Suites: files, classes, tokenizers, conversions, signature, quantize, optimize, operators, cases, real, hub, node, spark, triton, genai, shared (default: all). The Python clients live in BUILD/interop/venv, made on the
# first run, or in the virtual environment that OPTIMUM_VENV names; transformers.js in BUILD/interop/node. Prints a line per check
# and closes with "N passed, N failed, N skipped".
set -u

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
shift
dir=$build/interop
mkdir -p "$dir"
export PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 CUDA_VISIBLE_DEVICES='' HF_HUB_OFFLINE=1
export HF_HOME=$dir/hub TOKENIZERS_PARALLELISM=false OM_BUILD=$build OM_DATA=$here/../data
unset TRANSFORMERS_VERBOSITY FORCE_ONNX_EXTERNAL_DATA

fail()
{
    echo "interop: $*" >&2
    exit 1
}

# make_once DIR STAMP COMMAND...: run it unless it was done for the same file STAMP; its messages are shown when it fails.
make_once()
{
    local target=$1 stamp=$2

    shift 2
    ! cmp -s "$stamp" "$target/made" || return 0
    rm -rf "$target"
    mkdir -p "$target"
    "$@" >"$target.log" 2>&1 || {
        tail -n 20 "$target.log" >&2
        return 1
    }
    cp "$stamp" "$target/made"
}

install_python()
{
    python3 -m venv "$dir/venv" &&
        HF_HUB_OFFLINE=0 "$dir/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
}

# The packages' scripts only download GPU libraries; the CPU binding of ONNX Runtime is in the package.
install_node()
{
    cp "$here/package.json" "$dir/node/" &&
        (cd "$dir/node" && npm install --ignore-scripts --no-audit --no-fund)
}

passed=0 failed=0 skipped=0

# suite NAME COMMAND...: run it and add the counts of its last line; one that ends without them has failed.
suite()
{
    local name=$1 last start=$SECONDS

    shift
    [[ " $wanted " == *" $name "* ]] || return 0
    echo "== $name"
    "$@" 2>&1 | tee "$dir/suite.log"
    last=$(tail -n 1 "$dir/suite.log")
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
        skipped=$((skipped + BASH_REMATCH[3]))
    else
        echo "FAILED $name: it ended without a count"
        failed=$((failed + 1))
    fi
    echo "   ($((SECONDS - start)) s)"
}

node_suite()
{
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo "skipped: Node.js and npm are not installed"
        echo "0 passed, 0 failed, 1 skipped"
        return
    fi
    if ! make_once "$dir/node" "$here/package.json" install_node; then
        echo "FAILED: npm could not install transformers.js (its messages are above)"
        echo "0 passed, 1 failed, 0 skipped"
        return
    fi
    "$python" "$here/node_cases.py" "$dir/node/cases" "$minilm" || return
    cp "$here/client.mjs" "$dir/node/"
    node "$dir/node/client.mjs" "$dir/node/cases"
}

install_spark()
{
    python3 -m venv "$dir/spark" && "$dir/spark/bin/pip" install --quiet --disable-pip-version-check -r "$here/spark.txt" numpy
}

spark_suite()
{
    if ! command -v java >/dev/null; then
        echo "skipped: there is no Java (apt-get install default-jre-headless)"
        echo "0 passed, 0 failed, 1 skipped"
        return
    fi
    if ! make_once "$dir/spark" "$here/spark.txt" install_spark; then
        echo "FAILED: pip could not install pyspark (its messages are above)"
        echo "0 passed, 1 failed, 0 skipped"
        return
    fi
    "$dir/spark/bin/python" "$here/spark.py"
}

install_triton()
{
    python3 -m venv "$dir/triton" && "$dir/triton/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/triton.txt"
}

triton_suite()
{
    if ! make_once "$dir/triton" "$here/triton.txt" install_triton; then
        echo "FAILED: pip could not install tritonclient"
        echo "0 passed, 1 failed, 0 skipped"
        return
    fi
    "$dir/triton/bin/python" "$here/triton.py"
}

install_genai()
{
    python3 -m venv "$dir/genai" && "$dir/genai/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/genai.txt"
}

# OPTIMUM_GENAI_VENV names an environment that has the package already.
genai_suite()
{
    local python=$dir/genai/bin/python

    if [ -n "${OPTIMUM_GENAI_VENV:-}" ]; then
        python=$OPTIMUM_GENAI_VENV/bin/python
    elif ! make_once "$dir/genai" "$here/genai.txt" install_genai; then
        echo "skipped: pip could not install onnxruntime-genai (its messages are above)"
        echo "0 passed, 0 failed, 1 skipped"
        return
    fi
    "$python" "$here/genai.py"
}

# Recorded outputs beyond tests/data, where OM_SHARED or ../shared beside the source tree has them.
shared_suite()
{
    local shared=${OM_SHARED:-$here/../../../shared} types ok=0 bad=0 args

    if [ ! -f "$shared/tools/verify_export.py" ]; then
        echo "skipped: OM_SHARED is not set"
        echo "0 passed, 0 failed, 1 skipped"
        return
    fi
    types=$("$build/optimum-cli" export onnx --list | awk '{ printf "%s%s", sep, $1; sep = "," }')
    while read -r args; do
        if "$python" "$shared/tools/verify_export.py" "$shared/goldens/models" --cli "$build/optimum-cli" --types "$types" -q \
            --args="$args" >"$dir/shared.log"; then
            ok=$((ok + 1))
            echo "ok   ${args:-default}: $(tail -n 1 "$dir/shared.log")"
        else
            bad=$((bad + 1))
            echo "FAILED ${args:-default}: $(cat "$dir/shared.log")"
        fi
    done <<'END'

--opset 14 --weights external
--opset 21 --weights safetensors
--opset 23
--linear matmul
--linear matmul --opset 14
--no-constant-folding
END
    echo "$ok passed, $bad failed, 0 skipped"
}

wanted=${*:-files classes tokenizers conversions signature quantize optimize operators cases real hub node spark triton genai shared}
if [ -n "${OPTIMUM_VENV:-}" ]; then
    python=$OPTIMUM_VENV/bin/python
    [ -x "$python" ] || fail "OPTIMUM_VENV: there is no $python"
else
    command -v python3 >/dev/null || fail "Python is needed (apt-get install python3-venv)"
    cmp -s "$here/requirements.txt" "$dir/venv/made" || echo "installing the Python clients (once; about 2 GB)"
    make_once "$dir/venv" "$here/requirements.txt" install_python || fail "the Python clients could not be installed"
    python=$dir/venv/bin/python
fi
"$here/../../tools/fetch-minilm.sh" "$build" || exit 1
minilm=$build/demo/all-MiniLM-L6-v2

suite files "$python" "$here/files.py"
suite classes "$python" "$here/classes.py"
suite tokenizers "$python" "$here/saved_tokenizers.py"
suite conversions "$python" "$here/conversions.py"
suite signature "$python" "$here/signature.py"
suite quantize "$python" "$here/quantize.py" "$minilm"
suite optimize "$python" "$here/optimize.py"
suite operators "$python" "$here/operators.py"
suite cases "$python" "$here/onnx_nodes.py"
suite report "$python" "$here/report.py" "$minilm"
suite real "$python" "$here/real.py" "$minilm"
suite hub env OPTIMUM_VENV="${python%/bin/*}" "$here/../hub/run.sh" "$build" python
suite node node_suite
suite spark spark_suite
suite triton triton_suite
suite genai genai_suite
suite shared shared_suite

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
