"""bench.py BUILD FULL_SIZE: measure exports against their limits and print a table.

Times that are compared are taken in one loop, one run of each after the other, and their medians divided. Outputs go to fresh
directories, inputs lie in the page cache, and what earlier runs wrote has reached the disk before the clock starts.
"""

import json
import math
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import time

import torch_form

ROUNDS = 7
SHAPES = ["1x1", "1x16", "4x16", "1x128"]
VALIDATED_SHAPES = ["2x16", "3x13"]  # those of the exporter's validation
MB = 1e6


# --- measuring ---


def run_timed(command):
    """Seconds of wall-clock time; the command must succeed."""
    os.sync()
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def fresh(directory):
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def medians(*steps):
    """Call the steps in turn, ROUNDS times over; for each the median of what it returned."""
    columns = zip(*([step() for step in steps] for _ in range(ROUNDS)))
    return [statistics.median(column) for column in columns]


def anonymous_bytes(pid):
    """Anonymous memory of a process and its children; 0 once it is gone."""
    total = 0
    try:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith("RssAnon:"):
                total = int(line.split()[1]) * 1024
        children = open(f"/proc/{pid}/task/{pid}/children").read().split()
    except OSError:
        return 0
    return total + sum(anonymous_bytes(int(child)) for child in children)


def run_watched(command, interval=0.0005):
    """Seconds, and the peak of anonymous memory as far as looking every interval sees it."""
    peak = 0
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    os.set_blocking(process.stderr.fileno(), False)
    messages = b""
    while process.poll() is None:
        peak = max(peak, anonymous_bytes(process.pid))
        messages = (messages + (process.stderr.read() or b""))[-2000:]
        time.sleep(interval)
    seconds = time.perf_counter() - start
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{messages.decode(errors='replace')}")
    return seconds, peak


def session(bench, file, *arguments):
    """What ONNX Runtime takes: {"library": seconds, "load": seconds, "1x16": seconds, ...}."""
    flags = [a for a in arguments if a.startswith("--")]
    shapes = [a for a in arguments if not a.startswith("--")]
    command = [bench.build / "tests/bench/session", *flags, file, *shapes]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {name: float(seconds) for name, seconds in map(str.split, lines)}


# --- the table ---


class Table:
    """Rows are printed as they come; misses are counted."""

    def __init__(self):
        self.missed = 0

    def line(self, *cells):
        text = f"{cells[0]:<46}{cells[1]:>10}  {cells[2]:<24}{cells[3]:>8}{cells[4]:>10}  {cells[5]}"
        print(text.rstrip(), flush=True)

    def head(self, title):
        print()
        self.line(title, "ours", "peer", "ratio", "limit", "")

    def row(self, name, ours, peer="", value=None, limit=None, unit=""):
        """value is what limit bounds: a ratio (unit "x") or the figure itself. Of cosines (unit "cos") limit is the least one."""
        verdict = ""
        if limit is not None:
            missed = value < limit if unit == "cos" else round(value, 2) > limit
            verdict = "MISSED" if missed else "ok"
            self.missed += missed
        ratio = f"{value:.2f} x" if unit == "x" and value else ""
        self.line(name, ours, peer, ratio, f"{limit:.4g} {unit}" if limit is not None else "", verdict)


def seconds(value):
    return f"{value * 1000:.1f} ms" if value < 0.1 else f"{value:.2f} s"


def megabytes(value):
    return f"{value / MB:.1f} MB"


# --- what is measured ---


class Bench:
    def __init__(self, build, full_size):
        self.build, self.full_size = pathlib.Path(build), pathlib.Path(full_size)
        self.dir = self.build / "bench"
        self.cli = self.build / "optimum-cli"
        venv = os.environ.get("OPTIMUM_VENV")
        self.python = pathlib.Path(venv) / "bin/python" if venv else None
        genai = os.environ.get("OPTIMUM_GENAI_VENV")
        self.genai_python = pathlib.Path(genai) / "bin/python" if genai else None
        self.original_cli = pathlib.Path(venv) / "bin/optimum-cli" if venv else None
        self.table = Table()

    def checkpoint(self, name):
        """The full-size checkpoint, written once and read into the page cache."""
        out = self.dir / "checkpoints" / name
        if not (out / "model.safetensors").exists():
            print(f"writing {name}", flush=True)
            shutil.rmtree(out, ignore_errors=True)
            out.parent.mkdir(parents=True, exist_ok=True)
            command = [self.build / "tools/mkckpt", self.full_size / name, out]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["cat", out / "model.safetensors"], check=True, stdout=subprocess.DEVNULL)
        return out

    def export(self, model, out, *arguments):
        return [self.cli, "export", "onnx", "-q", "--model", model, *arguments, out]

    def export_once(self, model, name, *arguments):
        out = self.dir / "out" / name
        fresh(out)
        subprocess.run(self.export(model, out, "--no-validation", *arguments), check=True)
        return out

    def original(self, model):
        """The original's export of a checkpoint, made once; None without a venv."""
        if self.original_cli is None:
            return None
        out = self.dir / "original" / model.name
        figures = out / "figures.json"
        if not figures.exists():
            print(f"exporting {model.name} with the original", flush=True)
            fresh(out)
            task = "question-answering"
            command = [self.original_cli, "export", "onnx", "--model", model, "--task", task, out]
            took, memory = run_watched(command, interval=0.01)
            figures.write_text(json.dumps({"seconds": took, "memory": memory}))
        return out / "model.onnx"

    def original_figures(self, model):
        """{"seconds", "memory"} of that export, or None."""
        out = self.original(model)
        return json.loads((out.parent / "figures.json").read_text()) if out else None


def export_time(bench, model):
    out, copy = bench.dir / "out/embedded", bench.dir / "out/copy"

    def timed_copy():
        fresh(copy)
        return run_timed(["cp", "--reflink=never", model / "model.safetensors", copy])

    def timed_export(*arguments):
        fresh(out)
        return run_timed(bench.export(model, out, *arguments))

    plain = lambda: timed_export("--no-validation")
    ours, validated, cp = medians(plain, timed_export, timed_copy)
    shutil.rmtree(copy)
    bench.table.row("export", seconds(ours), f"{seconds(cp)}  cp", ours / cp, 1.2, "x")
    return validated


def export_memory(bench, model, *arguments, peer="", limit=None):
    out = bench.dir / "out/embedded"
    peaks = []
    for _ in range(3):
        fresh(out)
        peaks.append(run_watched(bench.export(model, out, *arguments))[1])
    bench.table.row("  peak anonymous memory", megabytes(max(peaks)), peer, max(peaks) / MB, limit, "MB")


def export_in_place(bench, model):
    def step():
        (model / "model.onnx").unlink(missing_ok=True)
        return run_timed(bench.export(model, model, "--no-validation", "--weights", "safetensors"))

    (ours,) = medians(step)
    (model / "model.onnx").unlink()
    name = "export, safetensors weights, beside them"
    bench.table.row(name, seconds(ours), "", ours * 1000, 50, "ms")


def validation(bench, model, validated):
    file = bench.dir / "out/embedded/model.onnx"
    step = lambda: sum(session(bench, file, "--as-validation", *VALIDATED_SHAPES).values())
    (own,) = medians(step)
    figures = bench.original_figures(model)
    peer, memory = ("", "")
    if figures:
        peer = f"{seconds(figures['seconds'])}  original"
        memory = f"{megabytes(figures['memory'])}  original"
    ratio = validated / figures["seconds"] if figures else None
    bench.table.row("export with validation", seconds(validated), peer, ratio, None, "x")
    bench.table.row("  less the session", seconds(validated - own), f"{seconds(own)}  session", validated - own, 1.0, "s")
    export_memory(bench, model, peer=memory)


def against_original(bench, model):
    embedded = bench.dir / "out/embedded/model.onnx"
    shared = bench.export_once(model, "safetensors", "--weights", "safetensors") / "model.onnx"
    original = bench.original(model)
    files = [embedded, shared] + ([original] if original else [])
    rounds = {f: [] for f in files}
    for _ in range(ROUNDS):
        for f, results in rounds.items():
            results.append(session(bench, f, *SHAPES))

    def compare(name, what, file, limit):
        ours, theirs = (statistics.median(r[what] for r in rounds[f]) for f in (file, files[-1]))
        if original:
            bench.table.row(name, seconds(ours), f"{seconds(theirs)}  original", ours / theirs, limit, "x")
        else:
            bench.table.row(name, seconds(ours), "no OPTIMUM_VENV")

    compare("session load, embedded weights", "load", embedded, None)
    compare("session load, safetensors weights", "load", shared, 0.35)
    for shape in SHAPES:
        compare(f"latency, batch x length {shape}", shape, embedded, 1.0)


def quantized_by_original(bench, original):
    """The original's int8 file of its export, made once."""
    out = original.parent / "quantized"
    if not (out / "model_quantized.onnx").exists():
        command = [bench.original_cli, "onnxruntime", "quantize", "--onnx_model", original.parent, "--avx512_vnni", "-o", out]
        subprocess.run(command, check=True, capture_output=True)
    return out / "model_quantized.onnx"


def quantization(bench, model):
    """int8: how much faster than float32, next to what the original's quantizer gains on its own export."""
    plain = bench.dir / "out/embedded/model.onnx"
    out = bench.dir / "out/int8"
    command = [bench.cli, "onnxruntime", "quantize", "-q", "--onnx_model", plain, "--avx512_vnni", "-o", out]
    fresh(out)
    took, peak = run_watched(command)
    ours = out / "model_quantized.onnx"
    original = bench.original(model)
    pairs = [(plain, ours)] + ([(original, quantized_by_original(bench, original))] if original else [])
    rounds = {f: [] for pair in pairs for f in pair}
    for _ in range(ROUNDS):
        for f, results in rounds.items():
            results.append(session(bench, f, *SHAPES))
    gain = lambda pair, shape: statistics.median(a[shape] for a in rounds[pair[0]]) / statistics.median(
        b[shape] for b in rounds[pair[1]])
    bench.table.head("DistilBERT base, dynamic int8 (avx512_vnni)")
    bench.table.row("quantize", seconds(took))
    bench.table.row("  peak anonymous memory", megabytes(peak), "", peak / MB, 64, "MB")
    bytes_ = [f.stat().st_size for f in (ours, plain)]
    bench.table.row("size", megabytes(bytes_[0]), f"{megabytes(bytes_[1])}  float32", bytes_[0] / bytes_[1], 0.26, "x")
    for shape in SHAPES:
        own = gain(pairs[0], shape)
        if original:
            theirs = gain(pairs[1], shape)
            bench.table.row(f"float32 time / int8 time, {shape}", f"{own:.2f}", f"{theirs:.2f}  original", theirs / own, 1.0, "x")
        else:
            bench.table.row(f"float32 time / int8 time, {shape}", f"{own:.2f}", "no OPTIMUM_VENV")


def tensors_of(file):
    """{name: (header entry, bytes)} of a safetensors file."""
    raw = file.read_bytes()
    size = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:size])
    header.pop("__metadata__", None)
    return {name: (t, raw[size + t["data_offsets"][0]:size + t["data_offsets"][1]]) for name, t in header.items()}


def rows_of(tensor):
    entry, raw = tensor
    n = entry["shape"][-1]
    values = struct.unpack(f"<{len(raw) // 4}f", raw)
    return [values[i:i + n] for i in range(0, len(values), n)]


def mean_cosine(a, b):
    dot = lambda x, y: math.fsum(p * q for p, q in zip(x, y))
    return statistics.mean(dot(x, y) / math.sqrt(dot(x, x) * dot(y, y)) for x, y in zip(rows_of(a), rows_of(b)))


INT8_PRESETS = ["arm64", "avx2", "avx512", "avx512_vnni", "ppc64le", "tensorrt"]


def embeddings(bench, recorded):
    """What int8 leaves of MiniLM's embeddings: the mean cosine with those of PyTorch, beside that of Optimum's settings."""
    model = bench.build / "demo/all-MiniLM-L6-v2"
    if not model.exists():
        print("\nMiniLM is not there (tools/fetch-minilm.sh)")
        return
    out = bench.export_once(model, "minilm")
    expected = tensors_of(recorded / "expected.safetensors")
    inputs, lines, result = (bench.dir / "out" / n for n in ("minilm.safetensors", "minilm.jsonl", "minilm-out.safetensors"))
    texts = json.loads((recorded / "texts.json").read_text())
    write_ids(inputs, [token_ids(bench, model, t) for t in texts])
    lines.write_text("".join(json.dumps(t) + "\n" for t in texts))

    def cosine(*arguments):
        quantized = bench.dir / "out/minilm-int8"
        fresh(quantized)
        subprocess.run([bench.cli, "onnxruntime", "quantize", "-q", "--onnx_model", out, *arguments, "-o", quantized], check=True)
        run = [bench.cli, "run", quantized / "model_quantized.onnx", "--inputs", inputs, "--output", result]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
        return mean_cosine(tensors_of(result)["sentence_embedding"], expected["outputs/sentence_embedding"])

    bench.table.head("MiniLM int8, mean cosine of embeddings")
    for preset in INT8_PRESETS:
        least = 0.98
        if preset != "tensorrt":
            ours, optimum = cosine(f"--{preset}"), cosine(f"--{preset}", "--as_optimum")
            bench.table.row(f"{preset}, dynamic", f"{ours:.4f}", f"{optimum:.4f}  as Optimum", ours, least, "cos")
            least = max(least, ours)  # calibrated ranges are no worse than those of the moment
        ours = cosine(f"--{preset}", "--static", "--calibration_texts", lines)
        bench.table.row(f"{preset}, static", f"{ours:.4f}", "", ours, least, "cos")
    shutil.rmtree(out)


def token_ids(bench, model, text):
    command = [bench.cli, "tokenize", "-t", model, "--json", "--max-length", "256", text]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["ids"]


def write_ids(file, rows):
    """input_ids and attention_mask of rows, padded to one length."""
    shape = [len(rows), max(map(len, rows))]
    columns = {"input_ids": lambda r, i: r[i] if i < len(r) else 0, "attention_mask": lambda r, i: int(i < len(r))}
    size, header, data = 8 * shape[0] * shape[1], {}, b""
    for name, value in columns.items():
        header[name] = {"dtype": "I64", "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += struct.pack(f"<{size // 8}q", *(value(r, i) for r in rows for i in range(shape[1])))
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)


def blocks(bench, name, title):
    """1 GB of bfloat16 to 4 bits, against a copy of it."""
    checkpoint = bench.checkpoint(name)
    model = bench.export_once(checkpoint, name, "--weights-dtype", "keep") / "model.onnx"
    out, copy = bench.dir / "out/int4", bench.dir / "out/copy"
    quantize = [bench.cli, "onnxruntime", "quantize", "-q", "--onnx_model", model, "--int4", "-o", out]
    commands = {
        "quantize --int4": quantize,
        "quantize --int4 --asymmetric": [*quantize, "--asymmetric"],
        "export --quantize int4": bench.export(checkpoint, out, "--no-validation", "--quantize", "int4"),
    }
    bench.table.head(title)
    for label, command in commands.items():

        def timed_quantize():
            fresh(out)
            return run_timed(command)

        def timed_copy():
            fresh(copy)
            return run_timed(["cp", "--reflink=never", model, copy])

        ours, cp = medians(timed_quantize, timed_copy)
        bench.table.row(label, seconds(ours), f"{seconds(cp)}  cp", ours / cp, 4, "x")
        fresh(out)
        peak = run_watched(command)[1]
        bench.table.row("  peak anonymous memory", megabytes(peak), "", peak / MB, 128, "MB")
        shutil.rmtree(copy)
    shutil.rmtree(out)
    shutil.rmtree(model.parent)


def size(bench, name, title, limit, *arguments):
    model = bench.checkpoint(name)
    bytes_of = lambda *files: sum(f.stat().st_size for f in files)
    out = bench.export_once(model, name, *arguments)
    ours = bytes_of(*(f for f in out.iterdir() if ".onnx" in f.name or f.suffix == ".safetensors"))
    theirs = bytes_of(model / "model.safetensors")
    bench.table.head(title)
    peer = f"{megabytes(theirs)}  checkpoint"
    bench.table.row("size", megabytes(ours), peer, ours / theirs, limit, "x")
    shutil.rmtree(out)


def conversion(bench, name, title):
    """A 16-bit checkpoint of 1 GB that is converted while it is written, against a copy of what is written."""
    model = bench.checkpoint(name)
    out, copy = bench.dir / "out" / name, bench.dir / "out/copy"
    command = lambda dtype: bench.export(model, out, "--no-validation", "--weights", "external", "--dtype", dtype)
    bench.table.head(title)
    for dtype in "fp32", "fp16":

        def timed_export():
            fresh(out)
            return run_timed(command(dtype))

        def timed_copy():
            fresh(copy)
            return run_timed(["cp", "--reflink=never", out / "model.onnx_data", copy])

        ours, cp = medians(timed_export, timed_copy)
        bench.table.row(f"export to {dtype}", seconds(ours), f"{seconds(cp)}  cp", ours / cp, 1.5, "x")
        fresh(out)
        peak = run_watched(command(dtype))[1]
        bench.table.row("  peak anonymous memory", megabytes(peak), "", peak / MB, 64, "MB")
        shutil.rmtree(copy)
    shutil.rmtree(out)


def torch_checkpoint(bench, name):
    """The same tensors as torch.save writes them take about as long as safetensors."""
    model, torch_model = bench.checkpoint(name), bench.dir / "checkpoints" / f"{name}-torch"
    if not (torch_model / "pytorch_model.bin").exists():
        shutil.rmtree(torch_model, ignore_errors=True)
        torch_form.convert(model, torch_model)
    subprocess.run(["cat", torch_model / "pytorch_model.bin"], check=True, stdout=subprocess.DEVNULL)
    out = bench.dir / "out" / name

    def step(source):
        def timed_export():
            fresh(out)
            return run_timed(bench.export(source, out, "--no-validation", "--weights", "external"))

        return timed_export

    ours, theirs = medians(step(torch_model), step(model))
    bench.table.row("export of pytorch_model.bin", seconds(ours), f"{seconds(theirs)}  safetensors", ours / theirs, 1.5, "x")
    fresh(out)
    peak = run_watched(bench.export(torch_model, out, "--no-validation", "--weights", "external"))[1]
    bench.table.row("  peak anonymous memory", megabytes(peak), "", peak / MB, 64, "MB")
    shutil.rmtree(out)


def generation(bench, name):
    """A token takes the time in which its weights are read, and little more; the original's loop on the same files beside it."""
    model = bench.checkpoint(name)
    out = bench.export_once(model, name, "--task", "text-generation-with-past", "--dtype", "fp32", "--weights", "external")
    weights = sum(f.stat().st_size for f in out.iterdir() if ".onnx" in f.name)
    call = lambda *command: json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    program, peer, size = bench.build / "tests/bench/generate", pathlib.Path(__file__).parent / "generate_peer.py", ("16", "32")
    rounds = []
    for _ in range(3):
        reads = call(program, "--bandwidth", "1000")["bytes_per_second"]
        ours = call(program, out, *size)
        theirs = call(bench.python, peer, out, *size) if bench.python else None
        if theirs and theirs["ids"] != ours["ids"]:
            sys.exit(f"{name}: the original's generate() gives other ids")
        rounds.append((weights / reads, ours["token"], theirs["token"] if theirs else None))
    limit, token, original = (statistics.median(r[i] for r in rounds) if rounds[0][i] else None for i in range(3))
    bench.table.head(f"Generation, Llama 0.5B in fp32 ({weights / MB:.0f} MB), one sequence")
    bench.table.row(f"a token ({1 / token:.1f} tokens/s)", seconds(token), f"{seconds(limit)}  reading weights", token / limit, 1.25, "x")
    if original:
        bench.table.row("", seconds(token), f"{seconds(original)}  original", token / original, 1.0, "x")
    shutil.rmtree(out)


def add_words(checkpoint, vocabulary):
    """A tokenizer of words: the peer's builder wants one."""
    words = {"type": "WordLevel", "vocab": {f"t{i}": i for i in range(vocabulary)}, "unk_token": "t0"}
    tokenizer = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
                 "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None, "model": words}
    (checkpoint / "tokenizer.json").write_text(json.dumps(tokenizer))
    (checkpoint / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))


def genai_model(bench, model):
    """The directory that onnxruntime-genai's own builder makes of a checkpoint, once; None and a line that says why where it cannot."""
    if bench.genai_python is None:
        print("  skipped: OPTIMUM_GENAI_VENV names no environment with onnxruntime-genai, torch, transformers and onnx_ir")
        return None
    out = bench.dir / "genai" / model.name
    if not (out / "model.onnx").exists():
        print(f"building {model.name} with onnxruntime-genai", flush=True)
        fresh(out)
        copy = bench.dir / "out/words"
        fresh(copy)
        for file in model.iterdir():
            (copy / file.name).symlink_to(file.resolve())
        add_words(copy, json.loads((model / "config.json").read_text())["vocab_size"])
        command = [bench.genai_python, "-m", "onnxruntime_genai.models.builder", "-i", copy, "-o", out, "-p", "int4", "-e", "cpu",
                   "-c", bench.dir / "genai/cache"]
        built = subprocess.run(command, capture_output=True, text=True)
        shutil.rmtree(copy)
        if built.returncode != 0:
            shutil.rmtree(out)
            print(f"  skipped: the builder failed: {built.stderr.strip().splitlines()[-1][:200]}")
            return None
    return out


def four_bits(bench, name):
    """Tokens of a 4-bit model beside onnxruntime-genai on the one that its own builder makes of the same checkpoint."""
    model = bench.checkpoint(name)
    out = bench.export_once(model, name, "--task", "text-generation-with-past", "--genai", "--quantize", "int4")
    size = sum(f.stat().st_size for f in out.iterdir() if ".onnx" in f.name)
    bench.table.head(f"Generation, Llama 0.5B in int4 ({size / MB:.0f} MB), one sequence")
    call = lambda *command: json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    program, peer, length = bench.build / "tests/bench/generate", pathlib.Path(__file__).parent / "genai_peer.py", ("16", "64")
    theirs = genai_model(bench, model)
    rounds = []
    for _ in range(3):
        ours = call(program, out, *length)
        both = call(bench.genai_python, peer, *length, out, theirs) if theirs else None
        if both and both[str(out)]["ids"] != ours["ids"]:
            sys.exit(f"{name}: onnxruntime-genai generates other ids than we from the same file")
        rounds.append((ours["token"], *(both[str(d)]["token"] for d in (out, theirs) if both)))
    figures = [statistics.median(column) for column in zip(*rounds)]
    token = f"a token ({1 / figures[0]:.1f} tokens/s)"
    if theirs:
        bench.table.row(token, seconds(figures[0]), f"{seconds(figures[2])}  onnxruntime-genai", figures[0] / figures[2], 1.0, "x")
        bench.table.row("our file in onnxruntime-genai", seconds(figures[1]), f"{seconds(figures[2])}  its own file", figures[1] / figures[2], 1.0, "x")
    else:
        bench.table.row(token, seconds(figures[0]))
    shutil.rmtree(out)


def questions(bench, model, data):
    """What the pipeline costs over the model alone, and how fast many questions are beside the original's pipeline."""
    out = bench.export_once(model, "pipeline", "--task", "question-answering")
    call = (out, data / "tokenizers/minilm", data / "pipelines/qa-bert/cases.jsonl")
    run = lambda *command: json.loads(subprocess.run([*command, *call], check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    rounds, loads = [], []
    for _ in range(3):
        rounds.append(run(bench.build / "tests/bench/pipeline"))
        loads.append(session(bench, out / "model.onnx", "1x16")["load"])
    ours = {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
    bench.table.head("Question answering, DistilBERT base, from text to answers")
    start = statistics.median(r["open"] + r["first"] - load - r["bare"] for r, load in zip(rounds, loads))
    bench.table.row("first answer, over session load and run", seconds(start), "", start, 0.2, " s")
    bench.table.row("a question", seconds(ours["question"]), f"{seconds(ours['bare'])}  the model alone", ours["ratio"], 1.05, "x")
    if bench.python:
        theirs = run(bench.python, pathlib.Path(__file__).parent / "pipeline_peer.py")
        if theirs["answers"] != ours["answers"]:
            sys.exit("the original's pipeline gives other answers")
        name = f"200 questions ({ours['batch']:.1f} a second)"
        bench.table.row(name, seconds(200 / ours["batch"]), f"{seconds(200 / theirs['batch'])}  original", theirs["batch"] / ours["batch"], 1.0, "x")
    shutil.rmtree(out)


def corpus(bench, data):
    """Lines of many scripts: the texts of the recorded calls, over and over."""
    file = bench.dir / "corpus.txt"
    if not file.exists():
        texts = set()
        for cases in sorted(data.glob("*/cases.jsonl")):
            texts.update(json.loads(line)["text"].replace("\n", " ") for line in open(cases, encoding="utf-8", newline="\n"))
        text = "\n".join(sorted(t for t in texts if t)) + "\n"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text * (2_000_000 // len(text.encode()) + 1), encoding="utf-8")
    return file


def tokenizers(bench, data):
    """Opening, and encoding on one thread, beside Hugging Face tokenizers. OM_SHARED has real vocabularies."""
    text = corpus(bench, data)
    size = text.stat().st_size / MB
    roots = [data] + ([pathlib.Path(os.environ["OM_SHARED"]) / "goldens/tokenizers"] if os.environ.get("OM_SHARED") else [])
    names = ["bert-multi-cased", "starcoder-style", "unigram-bf", "minilm", "gpt2", "qwen3", "mistral-v1", "xlmr"]
    bench.table.head(f"Tokenizers, {size:.1f} MB of many scripts, one thread")
    for name in names:
        directory = next((r / name for r in roots if (r / name / "tokenizer.json").exists()), None)
        if not directory:
            continue
        run = lambda *command: json.loads(subprocess.run([*command, directory, text, "3"], check=True, capture_output=True).stdout)
        ours = run(bench.build / "tests/bench/tokenize")
        theirs = run(bench.python, pathlib.Path(__file__).parent / "tokenize_peer.py") if bench.python else None
        for what, limit in (("load", 0.5), ("encode", 0.5)):
            rate = f" ({size / ours[what]:.0f} MB/s)" if what == "encode" else ""
            if theirs:
                bench.table.row(f"{name}, {what}{rate}", seconds(ours[what]), f"{seconds(theirs[what])}  tokenizers", ours[what] / theirs[what], limit, "x")
            else:
                bench.table.row(f"{name}, {what}{rate}", seconds(ours[what]), "no OPTIMUM_VENV")
        if theirs and ours["tokens"] != theirs["tokens"]:
            sys.exit(f"{name}: {ours['tokens']} tokens, tokenizers makes {theirs['tokens']}")


def main(build, full_size):
    bench = Bench(build, full_size)
    model = bench.checkpoint("distilbert-base-question-answering")
    bench.original(model)
    bytes_ = (model / "model.safetensors").stat().st_size
    bench.table.head(f"DistilBERT base, question-answering ({bytes_ / MB:.0f} MB)")
    validated = export_time(bench, model)
    export_memory(bench, model, "--no-validation", limit=64)
    export_in_place(bench, model)
    validation(bench, model, validated)
    against_original(bench, model)
    quantization(bench, model)
    embeddings(bench, pathlib.Path(full_size).parent / "real/all-MiniLM-L6-v2")
    size(bench, "gpt2-text-generation", "GPT-2, text-generation-with-past", 1.01)
    shared = ("--weights", "safetensors")
    size(bench, "t5-small-text2text-generation", "T5-small with past, four files, shared weights", 1.02, *shared)
    conversion(bench, "llama-0.5b-bf16-text-generation", "Llama 0.5B, a bfloat16 checkpoint (1002 MB)")
    blocks(bench, "llama-0.5b-bf16-text-generation", "Llama 0.5B, a bfloat16 file (1002 MB) to 4 bits")
    torch_checkpoint(bench, "llama-0.5b-bf16-text-generation")
    generation(bench, "llama-0.5b-bf16-text-generation")
    four_bits(bench, "llama-0.5b-bf16-text-generation")
    tokenizers(bench, pathlib.Path(full_size).parent / "tokenizers")
    questions(bench, model, pathlib.Path(full_size).parent)
    print(f"\n{bench.table.missed} limits missed (medians of {ROUNDS} interleaved runs)")
    busy = os.getloadavg()[1] - 1  # what runs here by itself counts for about one
    if busy > os.cpu_count() / 2:
        print(f"the machine was busy with other work (load {busy + 1:.1f}): times are not to be trusted")
    sys.exit(bench.table.missed > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
