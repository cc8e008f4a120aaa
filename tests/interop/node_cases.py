"""node_cases.py OUT MINILM: write the directories that transformers.js loads, and what PyTorch computes of them.

OUT/NAME/ has the layout of a repository for transformers.js (the .onnx files in onnx/); OUT/cases.json lists the checks that
client.mjs makes.
"""

import json
import pathlib
import shutil
import sys

import torch
import transformers
from safetensors.numpy import load_file
from transformers.utils import logging

from classes import NEW_TOKENS, texts
from common import DATA, checkpoint, export, scratch

LAYOUTS = {"embedded": [], "external": ["--weights", "external"], "safetensors": ["--weights", "safetensors"]}
FORWARD = [
    ("bert/feature-extraction", "AutoModel"),
    ("bert/fill-mask", "AutoModelForMaskedLM"),
    ("distilbert/question-answering", "AutoModelForQuestionAnswering"),
    ("roberta/text-classification", "AutoModelForSequenceClassification"),
    ("distilbert/token-classification", "AutoModelForTokenClassification"),
]
GENERATE = [
    ("gpt2/text-generation-with-past", "AutoModelForCausalLM"),
    ("llama/text-generation-with-past", "AutoModelForCausalLM"),
    ("t5/text2text-generation-with-past", "AutoModelForSeq2SeqLM"),
]
SEQ2SEQ = ["bart", "marian"]


def repository(source, out, name, *args):
    """Export into OUT/NAME, models and their data in onnx/ and the rest beside it."""
    target = out / name
    with scratch() as directory:
        export(source, directory, *args)
        shutil.copytree(directory, target / "onnx")
    for path in (target / "onnx").iterdir():
        if path.suffix in (".json", ".txt", ".model"):
            path.rename(target / path.name)


def tensor(value):
    return {"dims": list(value.shape), "data": value.flatten().tolist()}


def forward_case(case, torch_class, layout, out, directory):
    source = checkpoint(case, directory)
    name = f"{case.replace('/', '-')}-{layout}"
    repository(source, out, name, "--task", case.split("/")[1], *LAYOUTS[layout])
    model = getattr(transformers, torch_class).from_pretrained(source).eval()
    feed = texts(model)
    if model.config.model_type == "bert":
        feed["token_type_ids"] = torch.zeros_like(feed["input_ids"])
    with torch.no_grad():
        outputs = model(**feed)
    names = [k for k in outputs if k != "pooler_output"]
    return {
        "kind": "forward",
        "name": name,
        "class": torch_class,
        "external": layout == "external",
        "inputs": {k: tensor(v) for k, v in feed.items()},
        "outputs": {k: tensor(outputs[k]) for k in names},
    }


DTYPES = {"fp32": 1e-4, "fp16": 1e-2, "q8": 0.1, "int8": 0.1, "uint8": 0.1, "q4": 0.3, "q4f16": 0.3, "bnb4": 0.3}


def dtype_cases(source_case, torch_class, out, directory):
    """One export with --transformersjs, loaded by every dtype; few bits are that far off. Also with the tensors in files of
    their own, which the configuration says."""
    plain = forward_case(source_case, torch_class, "embedded", out, directory)
    source, task = checkpoint(source_case, directory), source_case.split("/")[1]
    for form in LAYOUTS:
        name = f"{plain['name']}-dtypes-{form}"
        if form == "safetensors":
            continue
        export(source, out / name, "--task", task, "--transformersjs", *LAYOUTS[form])
        for dtype, tolerance in DTYPES.items():
            yield plain | {"name": name, "dtype": dtype, "tolerance": tolerance, "external": None}


def generating_dtypes(case, plain, out, directory):
    """Decoders and both files of a sequence-to-sequence model run in every dtype; only float32 must give PyTorch's tokens."""
    for form in ("embedded", "external"):
        name = f"{plain['name']}-dtypes-{form}"
        export(checkpoint(case, directory), out / name, "--task", case.split("/")[1], "--transformersjs", *LAYOUTS[form])
        for dtype in DTYPES:
            yield plain | {"name": name, "dtype": dtype, "external": None, "exact": dtype == "fp32"}


def generate_case(case, torch_class, layout, out, directory, *args):
    source = checkpoint(case, directory)
    name = "-".join([case.replace("/", "-"), layout, *(a.strip("-") for a in args)])
    repository(source, out, name, "--task", case.split("/")[1], *LAYOUTS[layout], *args)
    model = getattr(transformers, torch_class).from_pretrained(source).eval()
    seq2seq = torch_class == "AutoModelForSeq2SeqLM"
    feed = texts(model, left=not seq2seq)
    how = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}
    if seq2seq:
        how["decoder_start_token_id"] = 0
    return {
        "kind": "generate",
        "name": name,
        "class": torch_class,
        # for several files the loader expects data files of their own; ONNX Runtime finds the shared one by itself
        "external": layout == "external" and not seq2seq,
        "inputs": {k: tensor(v) for k, v in feed.items()},
        "options": how,
        "tokens": model.generate(**feed, **how).tolist(),
    }


def embed_case(source, library, out):
    """The real model on the texts that the recording did not cut (clients differ in where they do)."""
    name = f"all-MiniLM-L6-v2-{library}"
    repository(source, out, name, "--library-name", library)
    recorded = load_file(DATA / "real/all-MiniLM-L6-v2/expected.safetensors")
    whole = recorded["inputs/attention_mask"].sum(1) < recorded["inputs/attention_mask"].shape[1]
    all_texts = json.loads((DATA / "real/all-MiniLM-L6-v2/texts.json").read_text())
    return {
        "kind": "embed",
        "name": name,
        "texts": [t for t, w in zip(all_texts, whole, strict=True) if w],
        "outputs": tensor(recorded["outputs/sentence_embedding"][whole]),
    }


def main(out, minilm):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    with scratch() as directory:
        cases = [forward_case(*c, layout, out, directory) for c in FORWARD for layout in LAYOUTS]
        cases += [generate_case(*c, layout, out, directory) for c in GENERATE for layout in LAYOUTS]
        for kind in ["t5", *SEQ2SEQ]:
            case = (f"{kind}/text2text-generation-with-past", "AutoModelForSeq2SeqLM", "embedded", out, directory)
            cases += [generate_case(*case, "--decoder", form) for form in ("merged", "single")]
        cases += dtype_cases("bert/text-classification", "AutoModelForSequenceClassification", out, directory)
        for case, _ in GENERATE[1:]:
            plain = next(c for c in cases if c["name"] == f"{case.replace('/', '-')}-embedded")
            cases += generating_dtypes(case, plain, out, directory)
    cases += [embed_case(minilm, library, out) for library in ("transformers", "sentence_transformers")]
    (out / "cases.json").write_text(json.dumps(cases))


if __name__ == "__main__":
    logging.set_verbosity_error()
    main(pathlib.Path(sys.argv[1]), sys.argv[2])
