"""Tokenizers that `optimum-cli tokenize --save` wrote: Transformers loads them and gets the ids that we get.

From tokenizer.json, and from a vocabulary alone; our program opens what Transformers saves again.
"""

import json
import os
import pathlib
import subprocess

from common import CLI, DATA, Report, scratch
from transformers import AutoTokenizer

TEXTS = ["Hello world!", "Déjà vu — naïve café, 12345", "你好 world", "  two  spaces ", "don't stop", "", "[MASK] <mask>"]
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "!", "##s", "don", "'", "t", "stop", "cafe", ",", "two"]


def ids_of(directory):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    command = [CLI, "tokenize", "-t", directory, "-i", "-"]
    out = subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout
    return [json.loads(line)["ids"] for line in out.splitlines()]


def save(directory, out):
    subprocess.run([CLI, "tokenize", "-t", directory, "--save", out], check=True)


def check(directory):
    with scratch() as out:
        save(directory, out)
        tokenizer = AutoTokenizer.from_pretrained(out)
        want = [tokenizer(text)["input_ids"] for text in TEXTS]
        assert ids_of(out) == want, "ids differ"
        again = os.path.join(out, "again")
        tokenizer.save_pretrained(again)
        assert ids_of(again) == want, "ids differ after Transformers saved it"
    return type(tokenizer).__name__


def check_vocabulary(directory):
    (directory / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    (directory / "config.json").write_text('{"model_type": "bert"}')
    with scratch() as out:
        save(directory, out)
        (pathlib.Path(out) / "vocab.txt").unlink()
        tokenizer = AutoTokenizer.from_pretrained(out)
        assert tokenizer.is_fast and tokenizer.mask_token == "[MASK]" and tokenizer.pad_token == "[PAD]"
        want = [AutoTokenizer.from_pretrained(directory)(text)["input_ids"] for text in TEXTS]
        assert [tokenizer(text)["input_ids"] for text in TEXTS] == want == ids_of(out)


def main():
    report = Report()
    for file in sorted(DATA.glob("tokenizers/*/tokenizer.json")):
        report.check(file.parent.name, check, file.parent)
    with scratch() as directory:
        report.check("vocab.txt", check_vocabulary, pathlib.Path(directory))
    report.close()


if __name__ == "__main__":
    main()
