"""real.py MINILM: the real all-MiniLM-L6-v2 gives the recorded outputs, by every way to run it."""

import json
import subprocess
import sys

import onnx
import onnxruntime
import transformers
from optimum.onnxruntime import ORTModelForFeatureExtraction
from safetensors.numpy import load_file, save_file

from common import CLI, DATA, Report, close, equal, export, scratch

TOLERANCE = 1e-5
EXPORTS = [
    [],
    ["--weights", "safetensors"],
    ["--weights", "external", "--opset", "14"],
    ["--opset", "21"],
    ["--opset", "23"],
    ["--linear", "matmul"],
]


class Recorded:
    """The texts as ids; what must come out: token vectors of the first four, an embedding of each."""

    def __init__(self, model):
        texts = json.loads((DATA / "real/all-MiniLM-L6-v2/texts.json").read_text())
        tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        self.inputs = dict(tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="np"))
        tensors = load_file(DATA / "real/all-MiniLM-L6-v2/expected.safetensors")
        self.tokens = tensors["outputs/last_hidden_state.first4"]
        self.embeddings = tensors["outputs/sentence_embedding"]

    def feed(self, path):
        graph = onnx.load(path, load_external_data=False).graph
        return {i.name: self.inputs[i.name].astype("int64") for i in graph.input}

    def compare(self, outputs):
        tokens = next(outputs[name] for name in ("token_embeddings", "last_hidden_state") if name in outputs)
        rows, length = self.tokens.shape[:2]
        mask = self.inputs["attention_mask"][:rows, :length, None]
        worst = [close(tokens[:rows, :length] * mask, self.tokens * mask, TOLERANCE)]
        if "sentence_embedding" in outputs:
            worst.append(close(outputs["sentence_embedding"], self.embeddings, TOLERANCE))
        return f"{max(worst):.1e}"


def run_onnxruntime(path, feed):
    session = onnxruntime.InferenceSession(str(path))
    return dict(zip((o.name for o in session.get_outputs()), session.run(None, feed)))


def run_ours(path, feed, *args):
    with scratch() as directory:
        source, target = (f"{directory}/{n}.safetensors" for n in ("in", "out"))
        save_file(feed, source)
        command = [CLI, "run", path, "--inputs", source, "--output", target, *args]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return load_file(target)


def check_class(model, recorded):
    """The tokenizer that we copied beside the model fits it."""
    with scratch() as out:
        export(model, out, "--task", "feature-extraction", "--library-name", "transformers")
        equal(Recorded(out).inputs["input_ids"].tolist(), recorded.inputs["input_ids"].tolist())
        ours = ORTModelForFeatureExtraction.from_pretrained(out)
        outputs = ours(**recorded.inputs)
    hidden, mask = outputs["last_hidden_state"], recorded.inputs["attention_mask"][:, :, None]
    pooled = (hidden * mask).sum(1) / mask.sum(1)
    pooled /= (pooled**2).sum(1, keepdims=True) ** 0.5
    return recorded.compare({"sentence_embedding": pooled, "last_hidden_state": hidden})


def main(model):
    report = Report()
    recorded = Recorded(model)
    jobs = [("sentence_transformers", arguments) for arguments in EXPORTS] + [("transformers", [])]
    for library, arguments in jobs:
        with scratch() as out:
            name = " ".join([library, *arguments])
            report.check(f"{name}: export", export, model, out, "--library-name", library, *arguments)
            path = f"{out}/model.onnx"
            feed = recorded.feed(path)
            report.check(f"{name}: ONNX Runtime", lambda: recorded.compare(run_onnxruntime(path, feed)))
            for executor in ("onnxruntime", "reference"):
                run = lambda: recorded.compare(run_ours(path, feed, "--executor", executor))
                report.check(f"{name}: optimum-cli run --executor {executor}", run)
    report.check("ORTModelForFeatureExtraction and its tokenizer", check_class, model, recorded)
    report.close()


if __name__ == "__main__":
    main(sys.argv[1])
