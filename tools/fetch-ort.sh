#!/bin/sh
# tools/fetch-ort.sh BUILD: put ONNX Runtime's shared library into BUILD/lib.
#
# The library comes out of the onnxruntime wheel, which carries it beside its Python module. Only that file is
# wanted, so the wheel is chosen by a fixed Python tag: whatever Python runs pip does not matter. The hashes pin
# the content. Does nothing when BUILD/lib already has this version.
set -eu

version=1.32.0
hash_x86_64=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d
hash_aarch64=2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c

fail()
{
    echo "fetch-ort: $*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: tools/fetch-ort.sh BUILD"
lib=$1/lib

if [ -f "$lib/libonnxruntime.so.1" ] &&
    [ "$(cat "$lib/onnxruntime.version" 2>/dev/null)" = "$version" ]; then
    exit 0
fi

arch=$(uname -m)
case $arch in
x86_64) hash=$hash_x86_64 ;;
aarch64 | arm64) arch=aarch64 hash=$hash_aarch64 ;;
*) fail "no wheel is pinned for $arch; build ONNX Runtime and set OPTIMUM_ORT_LIBRARY to its library" ;;
esac

command -v python3 >/dev/null || fail "python3 is needed to unpack the wheel (apt-get install python3 python3-pip)"
mkdir -p "$lib"
tmp=$(mktemp -d "$lib/.fetch-XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

python=python3
if ! python3 -m pip --version >/dev/null 2>&1; then
    python3 -m venv "$tmp/venv" >"$tmp/log" 2>&1 ||
        fail "neither pip nor venv works for $(command -v python3) (apt-get install python3-pip)"
    python=$tmp/venv/bin/python3
fi

echo "fetching ONNX Runtime $version for $arch"
echo "onnxruntime==$version --hash=sha256:$hash" >"$tmp/requirements.txt"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --implementation cp --python-version 3.11 --abi cp311 --platform "manylinux_2_28_$arch" \
    --require-hashes --requirement "$tmp/requirements.txt" --dest "$tmp" >"$tmp/log" 2>&1 || {
    cat "$tmp/log" >&2
    fail "pip could not download onnxruntime $version (its messages are above)"
}

python3 -m zipfile -e "$tmp"/onnxruntime-*.whl "$tmp/wheel" || fail "the wheel cannot be unpacked"
file=$tmp/wheel/onnxruntime/capi/libonnxruntime.so.$version
[ -f "$file" ] || fail "the wheel has no onnxruntime/capi/libonnxruntime.so.$version"

# The version file comes last: an interrupted run is repeated.
rm -f "$lib/onnxruntime.version"
mv "$file" "$lib/libonnxruntime.so.1"
echo "$version" >"$lib/onnxruntime.version"
