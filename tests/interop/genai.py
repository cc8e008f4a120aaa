"""onnxruntime-genai loads what `export onnx --genai` writes and generates greedily the ids that our generate() gives, for the same directory and,
where weights are not quantized, for the plain export."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime_genai as og

BUILD, DATA = pathlib.Path(os.environ["OM_BUILD"]), pathlib.Path(os.environ["OM_DATA"])
TASK, PROMPT = "text-generation-with-past", 7
PLAIN = ("llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "gemma", "gemma2", "gemma3", "gemma3_text", "granite", "nemotron", "olmo", "smollm3")
VARIANTS = ("llama/{}+llama3", "smollm3/{}+window", "phi/{}+qk-norm", "gemma3_text/{}+linear")
# Heads that GroupQueryAttention turns itself, beside what tiny goldens have: config keys.
LARGE = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2,
         "vocab_size": 99, "max_position_embeddings": 128}
OPTIONS = ((), ("--quantize", "int4"), ("--dtype", "fp16"))


def cli(*args):
    done = subprocess.run([BUILD / "optimum-cli", *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr.strip()
    return done.stdout


def write_tensors(path, tensors):
    """A safetensors file of float32."""
    header, at = {}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for value in tensors.values():
            file.write(value.tobytes())


def make_llama(directory, endless=False, **keys):
    """A Llama with random weights."""
    config = {**LARGE, "model_type": "llama", "architectures": ["LlamaForCausalLM"], "eos_token_id": 2, "bos_token_id": 1, **keys}
    hidden, wide, rng = config["hidden_size"], config["intermediate_size"], np.random.default_rng(5)
    size = config.get("head_dim", hidden // config["num_attention_heads"])
    q, kv = config["num_attention_heads"] * size, config["num_key_value_heads"] * size
    shapes = {"model.embed_tokens.weight": (config["vocab_size"], hidden), "model.norm.weight": (hidden,),
              "lm_head.weight": (config["vocab_size"], hidden)}
    for i in range(config["num_hidden_layers"]):
        for name, shape in (("input_layernorm", (hidden,)), ("post_attention_layernorm", (hidden,)), ("self_attn.q_proj", (q, hidden)),
                            ("self_attn.k_proj", (kv, hidden)), ("self_attn.v_proj", (kv, hidden)), ("self_attn.o_proj", (hidden, q)),
                            ("mlp.gate_proj", (wide, hidden)), ("mlp.up_proj", (wide, hidden)), ("mlp.down_proj", (hidden, wide))):
            shapes[f"model.layers.{i}.{name}.weight"] = shape
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    tensors = {k: rng.normal(1.0 if len(s) == 1 else 0.0, 0.3, s).astype(np.float32) for k, s in shapes.items()}
    if endless:
        tensors["lm_head.weight"][config["eos_token_id"]] = 0
    write_tensors(directory / "model.safetensors", tensors)


def add_tokenizer(directory):
    """Words "t0", "t1" ... are the ids, so that texts of the command line are ids."""
    config = json.loads((directory / "config.json").read_text())
    config.setdefault("eos_token_id", 2)  # onnxruntime-genai takes 0 where there is none
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "generation_config.json").unlink(missing_ok=True)
    size = config.get("vocab_size") or config["text_config"]["vocab_size"]
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                 "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
                 "model": {"type": "WordLevel", "vocab": {f"t{i}": i for i in range(size)}, "unk_token": "t0"}}
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    return size


def theirs(directory, rows, new):
    """The ids of each row, which are padded to one length."""
    model = og.Model(str(directory))
    params = og.GeneratorParams(model)
    params.set_search_options(max_length=len(rows[0]) + new, do_sample=False, batch_size=len(rows))
    generator = og.Generator(model, params)
    generator.append_tokens(np.array(rows, np.int32))
    while not generator.is_done():
        generator.generate_next_token()
    return [[int(i) for i in generator.get_sequence(row)] for row in range(len(rows))]


def check_batch(directory, ids, new, model):
    """A short text beside a long one, with its padding at the end, goes on as it does alone."""
    short = ids[:4]
    alone = theirs(directory, [short], new)[0][len(short):]
    padded = theirs(directory, [ids, short + [model["pad_token_id"]] * (len(ids) - len(short))], new)[1][len(ids):]
    assert padded[:len(alone)] == alone, f"{padded} in a batch, {alone} alone"


def ours(directory, ids, new):
    text = cli("pipeline", "text-generation", "--model", str(directory), "--greedy", "--max-new-tokens", str(new), "--json",
               " ".join(f"t{i}" for i in ids))
    generated = json.loads(text)
    while isinstance(generated, list):
        generated = generated[0]
    return [int(word[1:]) for word in generated["generated_text"].split()]


def check(checkpoint, tmp, options, new):
    plain, genai = tmp / "plain", tmp / "genai"
    size = add_tokenizer(checkpoint)
    ids = [int(i) for i in np.random.default_rng(1).integers(3, size, PROMPT)]
    export = ("export", "onnx", "-q", "--no-validation", "--task", TASK, "-m", checkpoint, *options)
    cli(*export, "--genai", genai)
    got, want = theirs(genai, [ids], new)[0], ours(genai, ids, new)
    if "--quantize" not in options:  # else activations are quantized in one of them
        cli(*export, plain)
        assert ours(plain, ids, new) == want, f"{want}, expected those of the plain export"
    model = json.loads((genai / "genai_config.json").read_text())["model"]
    end = model["eos_token_id"]
    if len(want) < len(ids) + new and want[-1] in (end if isinstance(end, list) else [end]):  # it leaves that out
        want.pop()
    assert got == want, f"{got}, expected {want}"
    if not options:
        check_batch(genai, ids, min(new, 24), model)
    return len(got) - len(ids)


def golden(path):
    return lambda directory: subprocess.run([BUILD / "tools/mkckpt", path, directory], check=True, capture_output=True)


def cases():
    for name in PLAIN:
        yield name, golden(DATA / "goldens" / name / TASK), 24
    for name in VARIANTS:
        yield name.format("*"), golden(DATA / "variants/goldens" / name.format(TASK)), 24
    yield "llama, heads of 16", make_llama, 24
    yield "llama, heads of 32", lambda directory: make_llama(directory, head_dim=32), 24
    yield "llama, a long text", lambda directory: make_llama(directory, endless=True, max_position_embeddings=1024), 600
    yield "llama, longrope", lambda directory: make_llama(directory, rope_scaling={
        "rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8, "original_max_position_embeddings": 16, "factor": 8.0}), 24


def main():
    passed = failed = 0
    for options in OPTIONS:
        for name, make, new in cases():
            if new > 24 and "--dtype" in options:  # rounding adds up
                continue
            with tempfile.TemporaryDirectory() as tmp:
                try:
                    make(pathlib.Path(tmp, "ck"))
                    n = check(pathlib.Path(tmp, "ck"), pathlib.Path(tmp), options, new)
                    print(f"ok   genai {name} {' '.join(options)}({n} tokens)")
                    passed += 1
                except Exception as error:  # whatever onnxruntime-genai raises
                    print(f"FAILED genai {name} {' '.join(options)}: {error}")
                    failed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


sys.exit(main())
