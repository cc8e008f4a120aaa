"""Old vocabulary files through our conversions and through those of Transformers, class by class: the same ids, types and offsets.

Vocabularies are made here: SentencePiece models trained on a few lines, merges of a byte-level BPE, a list of word pieces.
"""

import json
import pathlib
import subprocess
import warnings

try:
    import sacremoses  # noqa: F401: HerBERT's class asks for it
    import sentencepiece
except ImportError as error:
    print(f"skipped: {error}")
    print("0 passed, 0 failed, 1 skipped")
    raise SystemExit(0)
import transformers
from common import CLI, Report, scratch
from tokenizers import ByteLevelBPETokenizer, CharBPETokenizer
from transformers.utils import logging

TEXTS = [
    "Hello world!", "the quick brown fox, 1,234 times", "  two  spaces\tand a tab ", "Déjà vu naïve CAFÉ ﬁne", "你好 world", "don't stop [MASK] <mask> </s> now",
    "", " ", "``quoted'' text, 12, 5", "a<s>b", "x😀y", "new\nline", "UPPER lower",
]
WORDS = "the quick brown fox jumps over a lazy dog hello world two spaces and tab deja vu naive cafe fine don't stop now quoted text new line upper lower 1,234 5, 12"
CORPUS = [WORDS, WORDS.title(), "Déjà vu, naïve café", "times times times!", "1, 2, 3, 4, 5, 12, 34"] * 30

WORD_PIECE = "BertTokenizer DistilBertTokenizer ElectraTokenizer MobileBertTokenizer ConvBertTokenizer SqueezeBertTokenizer LayoutLMTokenizer LayoutLMv2Tokenizer LxmertTokenizer " \
    "MPNetTokenizer FunnelTokenizer SplinterTokenizer"
BYTE_BPE = "GPT2Tokenizer RobertaTokenizer BartTokenizer LongformerTokenizer LEDTokenizer CodeGenTokenizer DebertaTokenizer BlenderbotTokenizer MvpTokenizer " \
    "Qwen2Tokenizer LayoutLMv3Tokenizer MarkupLMTokenizer WhisperTokenizer"
CHAR_BPE = "CLIPTokenizer OpenAIGPTTokenizer HerbertTokenizer"
SPM = {
    "spiece.model": "T5Tokenizer MT5Tokenizer UdopTokenizer AlbertTokenizer PegasusTokenizer BigBirdTokenizer FNetTokenizer XLNetTokenizer ReformerTokenizer",
    "sentencepiece.bpe.model": "CamembertTokenizer XLMRobertaTokenizer LayoutXLMTokenizer MBartTokenizer BarthezTokenizer MBart50Tokenizer NllbTokenizer SeamlessM4TTokenizer XGLMTokenizer",
    "sentencepiece.model": "RemBertTokenizer",
    "spm.model": "DebertaV2Tokenizer",
    "tokenizer.model": "LlamaTokenizer CodeLlamaTokenizer GemmaTokenizer",
}
# Settings beside the defaults.
MORE = {
    "XLNetTokenizer": [{"do_lower_case": True, "keep_accents": True}],
    "FNetTokenizer": [{"do_lower_case": True, "keep_accents": False}],
    "RemBertTokenizer": [{"do_lower_case": True, "keep_accents": False}],
    "DebertaV2Tokenizer": [{"do_lower_case": True, "split_by_punct": True}],
    "MBart50Tokenizer": [{"src_lang": "fr_XX"}],
    "NllbTokenizer": [{"src_lang": "fra_Latn"}, {"legacy_behaviour": True}],
    "SeamlessM4TTokenizer": [{"additional_special_tokens": ["__eng__", "__fra__"], "src_lang": "fra"}],
    "BertTokenizer": [{"do_lower_case": False}, {"strip_accents": False, "tokenize_chinese_chars": False}],
    "RobertaTokenizer": [{"add_prefix_space": True}],
    "DebertaTokenizer": [{"add_prefix_space": True}],
    "LlamaTokenizer": [{"legacy": False}, {"add_eos_token": True, "add_bos_token": False}],
    "CodeLlamaTokenizer": [{"legacy": False, "add_prefix_space": False}, {"prefix_token": None, "suffix_token": "<s>", "add_eos_token": True}],
    "LayoutLMv3Tokenizer": [{"add_prefix_space": False}],
    "MarkupLMTokenizer": [{"add_prefix_space": True}],
    "UdopTokenizer": [{"legacy": False}, {"additional_special_tokens": ["<loc_0>", "quick"]}],
    "WhisperTokenizer": [{"language": "French", "task": "transcribe"}, {"language": "de", "task": "translate", "predict_timestamps": True, "add_prefix_space": True}],
    "T5Tokenizer": [{"extra_ids": 3}, {"legacy": False}],
    "ReformerTokenizer": [{"additional_special_tokens": ["<x>"]}],
}


def train(directory, algorithm, head, corpus=None):
    """A SentencePiece model whose first pieces are these."""
    (directory / "corpus.txt").write_text("\n".join(corpus or CORPUS))
    roles = {"unk": ("<unk>", "[UNK]"), "bos": ("<s>",), "eos": ("</s>",), "pad": ("<pad>", "[PAD]")}
    known = {role: piece for role, pieces in roles.items() for piece in pieces if piece in head}
    ids = {f"{role}_id": head.index(known[role]) if role in known else -1 for role in roles}
    names = {f"{role}_piece": piece for role, piece in known.items()}
    symbols = [piece for piece in head if piece not in known.values()]
    sentencepiece.SentencePieceTrainer.train(
        input=str(directory / "corpus.txt"), model_prefix=str(directory / "m"), vocab_size=150 if algorithm == "unigram" else 160, model_type=algorithm,
        control_symbols=symbols, byte_fallback=False, hard_vocab_limit=False, minloglevel=2, **ids, **names,
    )
    return (directory / "m.model").read_bytes()


# What a class needs to be made, which our side does not read.
NEEDS = {"MarkupLMTokenizer": {"tags_dict": {"a": 0, "b": 1}}}

HEADS = {
    "AlbertTokenizer": ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
    "FNetTokenizer": ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
    "RemBertTokenizer": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "BigBirdTokenizer": ["<pad>", "</s>", "<s>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
    "XLNetTokenizer": ["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"],
    "T5Tokenizer": ["<pad>", "</s>", "<unk>"],
    "MT5Tokenizer": ["<pad>", "</s>", "<unk>"],
    "UdopTokenizer": ["<pad>", "</s>", "<unk>"],
    "PegasusTokenizer": ["<pad>", "</s>", "<unk>"],
    "BarthezTokenizer": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "DebertaV2Tokenizer": ["[PAD]", "[CLS]", "[SEP]", "[UNK]"],
    "GemmaTokenizer": ["<pad>", "</s>", "<s>", "<unk>"],
}


def write_spm(directory, name, file):
    head = HEADS.get(name, ["<unk>", "<s>", "</s>"])
    algorithm = "bpe" if name in ("LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "ReformerTokenizer") else "unigram"
    (directory / file).write_bytes(train(directory, algorithm, head))
    for rest in ("m.model", "m.vocab", "corpus.txt"):
        (directory / rest).unlink()


WHISPER = [f"<|{name}|>" for name in "endoftext startoftranscript en zh de es ru ko fr translate transcribe notimestamps".split()]


def specials(name):
    return {
        "DebertaTokenizer": ["[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"], "CLIPTokenizer": ["<|startoftext|>", "<|endoftext|>"],
        "GPT2Tokenizer": ["<|endoftext|>"], "CodeGenTokenizer": ["<|endoftext|>"], "Qwen2Tokenizer": ["<|endoftext|>"],
        "WhisperTokenizer": WHISPER,
    }.get(name, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])


def write_byte_bpe(directory, name):
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(CORPUS, vocab_size=400, special_tokens=specials(name))
    tokenizer.save_model(str(directory))


def write_char_bpe(directory, name):
    if name == "CLIPTokenizer":
        return write_clip(directory)
    tokenizer = CharBPETokenizer(lowercase=True)
    tokenizer.train_from_iterator(CORPUS, vocab_size=300, special_tokens=specials(name))
    tokenizer.save_model(str(directory))


def write_clip(directory):
    """Bytes as characters, words end in </w>."""
    plain = sorted(transformers.models.clip.tokenization_clip.bytes_to_unicode().values())
    vocab = plain + [c + "</w>" for c in plain]
    merges = [("t", "h"), ("th", "e</w>"), ("o", "r"), ("l", "d</w>"), ("or", "ld</w>"), ("w", "orld</w>"), ("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o</w>"), ("1", "2</w>")]
    vocab += ["".join(pair) for pair in merges] + ["<|startoftext|>", "<|endoftext|>"]
    (directory / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocab)}))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, merges)) + "\n")


def write_word_piece(directory, name):
    special = {
        "MPNetTokenizer": ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"], "FunnelTokenizer": ["<s>", "<pad>", "</s>", "<unk>", "<cls>", "<sep>", "<mask>"],
        "SplinterTokenizer": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[QUESTION]"],
    }.get(name, ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    letters = [chr(c) for c in range(97, 123)] + list("0123456789!,.'`[]<>/你好") + ["é", "É", "H", "U"]
    words = sorted({w.strip(",") for w in WORDS.split()})
    (directory / "vocab.txt").write_text("\n".join(special + letters + ["##" + c for c in letters] + words) + "\n")


def ours(directory):
    lines = [{"text": a, "pair": b} for a in TEXTS for b in (None, "the end")]
    command = [CLI, "tokenize", "-t", directory, "-i", "-"]
    result = subprocess.run(command, input="".join(json.dumps(line) + "\n" for line in lines), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return list(map(json.loads, result.stdout.splitlines()))


def theirs(tokenizer):
    backend = tokenizer.backend_tokenizer
    backend.no_padding(), backend.no_truncation()
    encodings = [backend.encode(a, b) if b is not None else backend.encode(a) for a in TEXTS for b in (None, "the end")]
    return [{"ids": e.ids, "type_ids": e.type_ids, "offsets": [list(o) for o in e.offsets], "special_tokens_mask": e.special_tokens_mask} for e in encodings]


def check(name, write, settings):
    with scratch() as directory:
        directory = pathlib.Path(directory)
        write(directory, name)
        (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name, **NEEDS.get(name, {}), **settings}))
        tokenizer = getattr(transformers, name + "Fast").from_pretrained(directory)
        got, want = ours(directory), theirs(tokenizer)
        for i, (a, b) in enumerate(zip(got, want, strict=True)):
            assert "error" not in a, a["error"]
            for key in b:
                assert a[key] == b[key], f"{TEXTS[i // 2]!r}, {key}: {a[key]} is not {b[key]}"
        # What the tokenizer knows of itself, through what it saves.
        saved = directory / "saved"
        subprocess.run([CLI, "tokenize", "-t", directory, "--save", saved], check=True, capture_output=True)
        for file in saved.glob("*"):
            if file.name not in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
                file.unlink()
        again = getattr(transformers, name + "Fast").from_pretrained(saved)
        a, b = again.get_vocab(), tokenizer.get_vocab()
        assert a == b, f"vocabularies differ: {sorted(a.items() ^ b.items())}"
        assert theirs(again) == want, "the saved tokenizer.json differs"


def marian_ids(directory, texts, *options):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    out = subprocess.run([CLI, "tokenize", "-t", directory, "-i", "-", *options], input=lines, capture_output=True, text=True, check=True).stdout
    return [json.loads(line)["ids"] for line in out.splitlines()]


MARIAN_TEXTS = TEXTS[:3] + [">>fra<< Hello world", "12, 5 quick </s> fox", "", ">>fra<<", ">>xyz<<Hello", "Hello >>fra<< world", "quick</s>>>fra<<fox", " >>fra<< x", ">>fra<",
                             ">><<", ">>>fra<<", ">>fra<<>>fra<< 12"]


def check_marian(separate):
    """Source and target; vocab.json lacks pieces of both."""
    with scratch() as directory:
        directory = pathlib.Path(directory)
        pieces = []
        for side, corpus in (("source", CORPUS), ("target", CORPUS[::2] + ["bonjour le monde"] * 20)):
            (directory / f"{side}.spm").write_bytes(train(directory, "unigram", ["<unk>", "<s>", "</s>"], corpus))
            model = sentencepiece.SentencePieceProcessor(str(directory / f"{side}.spm"))
            pieces.append([p for p in map(model.id_to_piece, range(3, len(model))) if p not in ("ck", "2", "\u2581fox", "quick", "s")])
        lists = pieces if separate else [sorted(set(pieces[0] + pieces[1]))]
        for name, texts in zip(("vocab.json", "target_vocab.json"), lists):
            vocab = ["</s>", "<unk>"] + texts + [">>fra<<", "<pad>"]
            (directory / name).write_text(json.dumps({token: i for i, token in enumerate(dict.fromkeys(vocab))}))
        (directory / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "MarianTokenizer", "separate_vocabs": separate}))
        tokenizer = transformers.MarianTokenizer.from_pretrained(directory)
        assert marian_ids(directory, MARIAN_TEXTS) == [tokenizer(text)["input_ids"] for text in MARIAN_TEXTS], "source"
        got, want = marian_ids(directory, MARIAN_TEXTS, "--target"), [tokenizer(text_target=text)["input_ids"] for text in MARIAN_TEXTS]
        assert got == want, f"target: {got} is not {want}"


def main():
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    report = Report()
    jobs = [(name, write_word_piece) for name in WORD_PIECE.split()] + [(name, write_byte_bpe) for name in BYTE_BPE.split()]
    jobs += [(name, write_char_bpe) for name in CHAR_BPE.split()]
    for file, names in SPM.items():
        jobs += [(name, lambda d, n, file=file: write_spm(d, n, file)) for name in names.split()]
    for separate in (False, True):
        report.check(f"MarianTokenizer, separate vocabularies: {separate}", check_marian, separate)
    for name, write in jobs:
        for settings in [{}] + MORE.get(name, []):
            report.check(f"{name} {json.dumps(settings)}", check, name, write, settings)
    report.close()


if __name__ == "__main__":
    main()
