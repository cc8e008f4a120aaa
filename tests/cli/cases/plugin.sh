# Model types of shared objects: examples/plugin/nanogpt.c against PyTorch's values, and plugins that are refused.
root=$GOLDENS/../../..
build=$(dirname "$CLI")
python3 $root/examples/plugin/checkpoint.py ck
status $CLI export onnx -q --no-validation --model ck out
cp "$build/examples/nanogpt.so" .
status $CLI export onnx -q --no-validation --plugin nanogpt.so --model ck out
OPTIMUM_PLUGINS=:$PWD/nanogpt.so: status $CLI export onnx -q --no-validation --task text-generation --model ck plain
status $CLI export onnx --plugin=nanogpt.so --list | grep -A 1 '^nanogpt'
cat >compare.py <<'EOF'
import json, struct, subprocess, sys
sys.path.insert(0, sys.argv[1] + "/examples/plugin")
from checkpoint import save_safetensors
want = json.load(open(sys.argv[1] + "/tests/data/plugin/nanogpt.json"))
ids = want["input_ids"]
b, t = len(ids), len(ids[0])

def i64(name, rows):
    return name, "I64", [len(rows), len(rows[0])], struct.pack(f"<{len(rows) * len(rows[0])}q", *sum(rows, []))

def run(file, tensors):
    save_safetensors("in.safetensors", tensors)
    subprocess.run([sys.argv[2], "run", file, "--executor", "reference", "--inputs", "in.safetensors", "--output", "got.safetensors"], check=True)
    data = open("got.safetensors", "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    return {k: (v["shape"], data[8 + n:][slice(*v["data_offsets"])]) for k, v in json.loads(data[8:8 + n]).items() if k != "__metadata__"}

def floats(raw):
    return struct.unpack(f"<{len(raw) // 4}f", raw)

def flat(x):
    return [z for y in x for z in flat(y)] if isinstance(x, list) else [x]

def close(got, want):
    return len(got) == len(want) and max(abs(g - w) for g, w in zip(got, want)) < 1e-4

# all tokens at once, then the last two behind a cache of the others
ones, positions = [[1] * t] * b, [list(range(t))] * b
got = run("plain/model.onnx", [i64("input_ids", ids), i64("attention_mask", ones), i64("position_ids", positions)])
print(got["logits"][0], close(floats(got["logits"][1]), flat(want["logits"])))
empty = [(f"past_key_values.{i}.{k}", "F32", [b, 3, 0, 4], b"") for i in range(2) for k in ("key", "value")]
cut = lambda rows, s: [r[s] for r in rows]
first = run("out/model.onnx", empty + [i64("input_ids", cut(ids, slice(0, 3))), i64("attention_mask", cut(ones, slice(0, 3))), i64("position_ids", cut(positions, slice(0, 3)))])
past = [(k.replace("present", "past_key_values"), "F32", *v) for k, v in first.items() if k.startswith("present")]
got = run("out/model.onnx", past + [i64("input_ids", cut(ids, slice(3, 5))), i64("attention_mask", ones), i64("position_ids", cut(positions, slice(3, 5)))])
print(got["logits"][0], close(floats(got["logits"][1]), flat([r[3:] for r in want["logits"]])))
EOF
python3 compare.py $root $CLI
sed -i 's/"n_head": 3/"n_head": 5/' ck/config.json
status $CLI export onnx -q --no-validation --plugin nanogpt.so --model ck bad
for name in abi symbol duplicate member twice undefined empty; do
    cp "$build/tests/stubs/plugin_$name.so" .
    status $CLI export onnx --plugin plugin_$name.so --model ck bad
done
echo text >text.so
status $CLI export onnx --plugin missing.so --model ck bad
status $CLI export onnx --plugin text.so --model ck bad
status $CLI export onnx --plugin nanogpt.so --plugin nanogpt.so --model ck bad
OPTIMUM_PLUGINS=missing.so status $CLI export onnx --model ck bad
OPTIMUM_PLUGINS=missing.so $CLI export onnx --help | head -n 1
OPTIMUM_PLUGINS=missing.so status $CLI env >/dev/null
status $CLI export onnx --model ck bad --plugin
# an export that is kept belongs to the plugin that made it
cp $GOLDENS/../tokenizers/minilm/*.json ck/
sed -i 's/"n_head": 5/"n_head": 3/' ck/config.json
kept() { $CLI pipeline text-generation --export-cache kept --plugin nanogpt.so -m ck --greedy --max-new-tokens 1 a 2>&1 >/dev/null | grep -c "exported now"; }
kept
kept
touch -d '2001-01-01' nanogpt.so
kept
