"""The original's Python classes load our directories and compute what PyTorch computes of the same checkpoint."""

import pathlib

import numpy as np
import torch
import transformers
from optimum import onnxruntime as ort_classes
from transformers.utils import logging

from common import Report, checkpoint, close, equal, export, scratch

# One forward pass: task of the golden, PyTorch's class, the ORT class.
FORWARD = [
    ("bert/feature-extraction", "AutoModel", "ORTModelForFeatureExtraction"),
    ("distilbert/feature-extraction", "AutoModel", "ORTModelForFeatureExtraction"),
    ("bert/text-classification", "AutoModelForSequenceClassification", "ORTModelForSequenceClassification"),
    ("roberta/text-classification", "AutoModelForSequenceClassification", "ORTModelForSequenceClassification"),
    ("distilbert/token-classification", "AutoModelForTokenClassification", "ORTModelForTokenClassification"),
    ("xlm-roberta/token-classification", "AutoModelForTokenClassification", "ORTModelForTokenClassification"),
    ("distilbert/question-answering", "AutoModelForQuestionAnswering", "ORTModelForQuestionAnswering"),
    ("camembert/question-answering", "AutoModelForQuestionAnswering", "ORTModelForQuestionAnswering"),
    ("bert/fill-mask", "AutoModelForMaskedLM", "ORTModelForMaskedLM"),
    ("camembert/fill-mask", "AutoModelForMaskedLM", "ORTModelForMaskedLM"),
    ("bert/multiple-choice", "AutoModelForMultipleChoice", "ORTModelForMultipleChoice"),
    ("roberta/multiple-choice", "AutoModelForMultipleChoice", "ORTModelForMultipleChoice"),
]
LAYOUTS = {"embedded": [], "safetensors": ["--weights", "safetensors"]}
NEW_TOKENS = 12


def load_pair(source, out, torch_class, ort_class, **kwargs):
    reference = getattr(transformers, torch_class).from_pretrained(source).eval()
    return reference, getattr(ort_classes, ort_class).from_pretrained(out, **kwargs)


def texts(model, choices=0, left=False):
    """Two texts of random ids, the second one shorter; with choices, that many of each."""
    rng = np.random.default_rng(7)
    shape = (2, choices, 9) if choices else (2, 9)
    pad = model.config.pad_token_id or 0
    ids = torch.from_numpy(rng.integers(max(pad, 3) + 1, model.config.vocab_size, shape))
    mask = torch.ones_like(ids)
    hidden = slice(0, 4) if left else slice(5, None)
    mask[1, ..., hidden] = 0
    ids[1, ..., hidden] = pad
    return {"input_ids": ids, "attention_mask": mask}


def check_forward(case, torch_class, ort_class, layout, directory):
    source = checkpoint(case, directory)
    task = case.split("/")[1]
    with scratch() as out:
        export(source, out, "--task", task, *LAYOUTS[layout])
        reference, ours = load_pair(source, out, torch_class, ort_class)
        feed = texts(reference, choices=3 if task == "multiple-choice" else 0)
        if "token_type_ids" in ours.input_names:
            feed["token_type_ids"] = torch.arange(9).ge(4).long().expand_as(feed["input_ids"])
        with torch.no_grad():
            want = reference(**feed)
        got = ours(**feed)
        return f"{max(close(got[name], want[name]) for name in ours.output_names):.1e}"


def same_generation(reference, ours, feed, **how):
    """Both generate the same tokens, from the same scores."""
    how |= {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False}
    how |= {"return_dict_in_generate": True, "output_scores": True}
    want, got = (model.generate(**feed, **how) for model in (reference, ours))
    equal(got.sequences.tolist(), want.sequences.tolist())
    pairs = zip(got.scores, want.scores, strict=True)
    return max(close(*(torch.nan_to_num(x, neginf=-1e3) for x in pair)) for pair in pairs)


def check_causal(case, arguments, use_cache, directory):
    source = checkpoint(case, directory)
    with scratch() as out:
        export(source, out, "--task", case.split("/")[1], *arguments)
        reference, ours = load_pair(source, out, "AutoModelForCausalLM", "ORTModelForCausalLM", use_cache=use_cache)
        return compare_causal(reference, ours)


def compare_causal(reference, ours):
    ids = texts(reference)["input_ids"]
    feed = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with torch.no_grad():
        want = reference(**feed).logits
    worst = [close(ours(**feed).logits, want)]
    worst.append(same_generation(reference, ours, texts(reference, left=True)))
    worst.append(same_generation(reference, ours, texts(reference, left=True), num_beams=3))
    return f"{max(worst):.1e}"


def compare_seq2seq(reference, ours):
    feed = texts(reference)
    rng = np.random.default_rng(8)
    decoder = {"decoder_input_ids": torch.from_numpy(rng.integers(3, reference.config.vocab_size, (2, 5)))}
    with torch.no_grad():
        want = reference(**feed, **decoder)
    got = ours(**feed, **decoder)
    worst = [close(got.logits, want.logits), close(got.encoder_last_hidden_state, want.encoder_last_hidden_state)]
    start = {"decoder_start_token_id": 0}  # the goldens' configurations name none
    worst.append(same_generation(reference, ours, feed, **start))
    worst.append(same_generation(reference, ours, feed, num_beams=3, **start))
    return f"{max(worst):.1e}"


def check_seq2seq(kind, arguments, load, directory):
    source = checkpoint(f"{kind}/text2text-generation-with-past", directory)
    with scratch() as out:
        export(source, out, *arguments)
        return compare_seq2seq(*load_pair(source, out, "AutoModelForSeq2SeqLM", "ORTModelForSeq2SeqLM", **load))


def check_saved(case, torch_class, ort_class, compare, arguments, directory):
    """What save_pretrained writes of our directory loads again and gives the same numbers."""
    source = checkpoint(case, directory)
    with scratch() as out, scratch() as saved:
        export(source, out, *arguments)
        getattr(ort_classes, ort_class).from_pretrained(out).save_pretrained(saved)
        for path in pathlib.Path(out).iterdir():
            path.unlink()
        return compare(*load_pair(source, saved, torch_class, ort_class))


def main():
    report = Report()
    with scratch() as directory:
        for case, torch_class, ort_class in FORWARD:
            for layout in LAYOUTS:
                report.check(f"{ort_class} {case} {layout}", check_forward, case, torch_class, ort_class, layout, directory)
        for kind in ("gpt2", "llama"):
            past, plain = f"{kind}/text-generation-with-past", f"{kind}/text-generation"
            jobs = [(past, [], True), (past, ["--weights", "safetensors"], True), (past, ["--opset", "23"], True)]
            jobs += [(past, ["--linear", "matmul", "--weights", "external"], True), (plain, [], False)]
            for case, arguments, use_cache in jobs:
                name = " ".join(["ORTModelForCausalLM", case, *arguments])
                report.check(name, check_causal, case, arguments, use_cache, directory)
        for kind in ("bloom", "codegen", "falcon", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj", "mpt", "opt", "phi", "stablelm"):
            case = f"{kind}/text-generation-with-past"
            report.check(f"ORTModelForCausalLM {case}", check_causal, case, [], True, directory)
        plain = ["--task", "text2text-generation"]
        jobs = [("t5", arguments, load) for arguments, load in [
            ([], {"use_merged": True}),
            ([], {"use_merged": False}),
            (["--weights", "safetensors"], {"use_merged": True}),
            (["--weights", "safetensors"], {"use_merged": False}),
            (["--weights", "external", "--opset", "23"], {"use_merged": True}),
            (["--no-post-process"], {"use_merged": False}),
            (["--decoder", "merged"], {}),
            (["--decoder", "single"], {}),
            (["--decoder", "single"], {"use_io_binding": True}),
            (["--decoder", "single", "--weights", "safetensors", "--opset", "14"], {}),
            (plain, {"use_cache": False, "use_merged": False}),
        ]]
        for kind in ("bart", "m2m_100", "marian", "pegasus"):
            jobs += [(kind, [], {}), (kind, ["--decoder", "single"], {})]
        for kind, arguments, load in jobs:
            name = " ".join([f"ORTModelForSeq2SeqLM {kind}", *arguments, *(f"{k}={v}" for k, v in load.items())])
            report.check(name, check_seq2seq, kind, arguments, load, directory)
        causal = ("AutoModelForCausalLM", "ORTModelForCausalLM", compare_causal)
        seq2seq = ("AutoModelForSeq2SeqLM", "ORTModelForSeq2SeqLM", compare_seq2seq)
        for case, how in [
            ("gpt2/text-generation-with-past", causal),
            ("llama/text-generation-with-past", causal),
            ("t5/text2text-generation-with-past", seq2seq),
        ]:
            for arguments in ([], ["--weights", "external"], ["--weights", "safetensors"]):
                name = " ".join(["save_pretrained", case, *arguments])
                report.check(name, check_saved, case, *how, arguments, directory)
    report.close()


if __name__ == "__main__":
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    main()
