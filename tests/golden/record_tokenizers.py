#!/usr/bin/env python3
"""Write tests/data/tokenizers/components.jsonl: small tokenizers put together at random, with what the tokenizers library makes of texts.

    tests/golden/record_tokenizers.py GOLDENS >tests/data/tokenizers/components.jsonl      (tokenizers 0.22.2)

GOLDENS is a directory of recorded tokenizers; charsmaps and words come from there. One line is {"tokenizer", "cases"}; a case has the
keys of cases.jsonl (tests/data/README.md). Calls that fail in the library, and tokenizers that it does not load, are left out.
"""
import json
import random
import sys

from tokenizers import Tokenizer

GOLDENS = sys.argv[1]
LINES, CASES = 90, 6
R = random.Random(20)

SCRIPTS = [(0x20, 0x7E), (0x01, 0x1F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x52F), (0x5D0, 0x6FF), (0x900, 0xE7F), (0x1100, 0x11FF),
           (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x22FF), (0x2600, 0x27BF), (0x3041, 0x30FF), (0x3200, 0x33FF), (0x4E00, 0x4FFF),
           (0xAC00, 0xACFF), (0xF900, 0xFAFF), (0xFE00, 0xFFEF), (0x1D400, 0x1D4FF), (0x1F1E6, 0x1F1FF), (0x1F300, 0x1F6FF), (0x20000, 0x200FF)]
WORDS = ["the", "The", "THE", "don't", "naïve", "Straße", "x y", "1,234.50", "a_b", "https://x.org/?q=1", "Ġthe", "▁the", "<s>", "[X]", "...",
         "e\u0301e\u0308", "ﬁne", "½", "½", "\u200d", "👩‍🚒", "\r\n", "\t", "今天", "한국어", "שָׁלוֹם", "क्षत्रिय", "ｶﾞ", "\u00a0", "\u2028", "İ", "ǅ"]


def text():
    out = ""
    for _ in range(R.randrange(1, 9)):
        if R.random() < 0.5:
            out += R.choice(WORDS)
        else:
            first, last = R.choice(SCRIPTS)
            out += "".join(chr(R.randint(first, last)) for _ in range(R.randrange(1, 4)))
        out += R.choice(["", " ", "  ", "\n"])
    return out


def charsmaps():
    found = []

    def walk(o):
        if isinstance(o, dict):
            if "precompiled_charsmap" in o:
                found.append(o["precompiled_charsmap"])
            for v in o.values():
                walk(v)
        elif isinstance(o, list):
            for v in o:
                walk(v)

    for name in ("t5-toy",):
        walk(json.load(open(f"{GOLDENS}/{name}/tokenizer.json"))["normalizer"])
    return found


CHARSMAPS = charsmaps()
flag = lambda p=0.5: R.random() < p
REGEXES = [r"\s+", r"\d", r"\w+|[^\w\s]+", r"(?i:the)|x", r"'s|'t|\p{L}+", r"\p{N}{1,3}", r"[^\s\p{L}]+", r" ?\p{L}+|\s+(?!\S)", r"\b",
           r"[[:punct:]]", r"[a-z&&[^aeiou]]", r"\p{Lu}\p{Ll}*", r".", r"(?m:.+)", r"\n|\r", "$", "^", "x*", r"\p{Han}", r"[^\W\d]+", r"\p{M}",
           r"\p{P}|\p{S}", "a{1,2}+", r"[x[^\s]]", r"[^(\s|[.,!?])]+"]


def pattern():
    return {"Regex": R.choice(REGEXES)} if flag() else {"String": R.choice([" ", "a", "", "the", "▁", "\n", "é", ".."])}


def normalizer(inner=False):
    kind = R.choice(["BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "StripAccents", "Strip", "Prepend", "Replace", "ByteLevel"]
                    + ["Precompiled"] * (R.random() < 0.3) + ["Sequence"] * (0 if inner else 6))
    j = {"type": kind}
    if kind == "BertNormalizer":
        j.update(clean_text=flag(), handle_chinese_chars=flag(), strip_accents=R.choice([None, True, False]), lowercase=flag())
    elif kind == "Strip":
        j.update(strip_left=flag(), strip_right=flag())
    elif kind == "Prepend":
        j["prepend"] = R.choice(["▁", "ab", " ", "éx"])
    elif kind == "Replace":
        j.update(pattern=pattern(), content=R.choice(["", "_", "xy", "é", " "]))
    elif kind == "Precompiled":
        j["precompiled_charsmap"] = CHARSMAPS[0]
    elif kind == "Sequence":
        j["normalizers"] = [normalizer(True) for _ in range(R.randrange(4))]
    return j


BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def pre_tokenizer(inner=False):
    kind = R.choice(["BertPreTokenizer", "ByteLevel", "Whitespace", "WhitespaceSplit", "Digits", "UnicodeScripts", "CharDelimiterSplit", "Metaspace",
                     "Punctuation", "Split", "Split", "FixedLength"] + ["Sequence"] * (0 if inner else 8))
    j = {"type": kind}
    if kind == "ByteLevel":
        j.update(add_prefix_space=flag(), trim_offsets=flag(), use_regex=flag())
    elif kind == "Digits":
        j["individual_digits"] = flag()
    elif kind == "CharDelimiterSplit":
        j["delimiter"] = R.choice(["a", " ", "é"])
    elif kind == "Metaspace":
        j.update(replacement=R.choice(["▁", "_"]), prepend_scheme=R.choice(["always", "first", "never"]), split=flag())
    elif kind == "Punctuation":
        j["behavior"] = R.choice(BEHAVIORS)
    elif kind == "Split":
        j.update(pattern=pattern(), behavior=R.choice(BEHAVIORS), invert=flag())
    elif kind == "FixedLength":
        j["length"] = R.randrange(1, 7)
    elif kind == "Sequence":
        j["pretokenizers"] = [pre_tokenizer(True) for _ in range(R.randrange(4))]
    return j


def template():
    tokens = {"[A]": {"id": "[A]", "ids": [1, 2], "tokens": ["x", "y"]}, "[B]": {"id": "[B]", "ids": [3], "tokens": ["z"]}}
    special = lambda: [{"SpecialToken": {"id": R.choice(["[A]", "[B]"]), "type_id": R.randrange(3)}}] * R.randrange(2)
    sequence = lambda s: [{"Sequence": {"id": s, "type_id": R.randrange(3)}}]
    return {"type": "TemplateProcessing", "single": special() + sequence("A") + special(),
            "pair": special() + sequence("A") + special() + sequence("B") + special(), "special_tokens": tokens}


def post_processor(inner=False):
    kind = R.choice(["TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel"] + ["Sequence"] * (0 if inner else 2))
    j = {"type": kind}
    if kind == "TemplateProcessing":
        return template()
    if kind in ("BertProcessing", "RobertaProcessing"):
        j.update(sep=["s", 2], cls=["c", 1])
    if kind == "RobertaProcessing":
        j.update(trim_offsets=flag(), add_prefix_space=flag())
    if kind == "ByteLevel":
        j.update(add_prefix_space=flag(), trim_offsets=flag(), use_regex=flag())
    if kind == "Sequence":
        j["processors"] = [post_processor(True) for _ in range(R.randrange(3))]
    return j


def decoder(inner=False):
    kind = R.choice(["ByteLevel", "WordPiece", "BPEDecoder", "Metaspace", "CTC", "Replace", "ByteFallback", "Fuse", "Strip"]
                    + ["Sequence"] * (0 if inner else 5))
    j = {"type": kind}
    if kind == "ByteLevel":
        j.update(add_prefix_space=flag(), trim_offsets=flag(), use_regex=flag())
    elif kind == "WordPiece":
        j.update(prefix=R.choice(["##", "a", ""]), cleanup=flag())
    elif kind == "BPEDecoder":
        j["suffix"] = R.choice(["</w>", "e", ""])
    elif kind == "Metaspace":
        j.update(replacement="▁", prepend_scheme=R.choice(["always", "first", "never"]), split=flag())
    elif kind == "CTC":
        j.update(pad_token="a", word_delimiter_token="e", cleanup=flag())
    elif kind == "Replace":
        j.update(pattern=pattern(), content=R.choice(["", "_", " "]))
    elif kind == "Strip":
        j.update(content=R.choice([" ", "a", "▁"]), start=R.randrange(3), stop=R.randrange(2))
    elif kind == "Sequence":
        j["decoders"] = [decoder(True) for _ in range(R.randrange(4))]
    return j


def byte_alphabet():
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in kept]
    return [chr(b) for b in kept] + [chr(0x100 + i) for i in range(len(others))]


def bpe():
    """Symbols of some texts, and merges of pairs that occur in them."""
    level = flag()
    prefix, suffix = ("", R.choice(["", "</w>"])) if level else (R.choice(["", "##"]), R.choice(["", "</w>"]))
    alphabet = byte_alphabet() if level else sorted(set("".join(WORDS)) - set("ﬁ今국"))
    vocab = ["<unk>"] + [f"<0x{b:02X}>" for b in range(256)] * flag(0.4)
    for c in alphabet:
        vocab += dict.fromkeys([c, prefix + c, c + suffix, prefix + c + suffix])
    vocab = list(dict.fromkeys(vocab))
    merges = []
    for word in WORDS + ["there", "ing", "tion", "12", "▁▁"]:
        left = word[:1]
        for c in word[1:]:
            right = prefix + c
            if left in vocab and right in vocab and R.random() < 0.7:
                merges.append((left, right))
                left = left + c
                if left not in vocab:
                    vocab.append(left)
            else:
                left = right
    merges = list(dict.fromkeys(merges))
    return {"type": "BPE", "dropout": None, "unk_token": R.choice(["<unk>", None]), "continuing_subword_prefix": prefix or None,
            "end_of_word_suffix": suffix or None, "fuse_unk": flag(), "byte_fallback": flag(), "ignore_merges": flag(0.3),
            "vocab": {t: i for i, t in enumerate(vocab)}, "merges": [list(m) for m in merges] if flag() else [" ".join(m) for m in merges if " " not in "".join(m)]}


def unigram():
    pieces = ["<unk>", "▁"] + [f"<0x{b:02X}>" for b in range(256)] * flag(0.5)
    pieces += [c for c in sorted(set("".join(WORDS))) if R.random() < 0.8]
    pieces += [w[:n] for w in WORDS for n in (2, 3, 9)] + ["▁the", "▁x", "ing"]
    return {"type": "Unigram", "unk_id": 0, "byte_fallback": flag(),
            "vocab": [[p, round(-R.random() * 9, 3)] for p in dict.fromkeys(pieces)]}


def word_piece():
    tokens = ["[UNK]"] + sorted(set("".join(WORDS)))
    tokens += ["##" + c for c in tokens[1:]] + [w for w in WORDS] + ["##the", "##ng", "##on"]
    return {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": R.choice([3, 100]),
            "vocab": {t: i for i, t in enumerate(dict.fromkeys(tokens))}}


def word_level():
    return {"type": "WordLevel", "unk_token": "<unk>", "vocab": {t: i for i, t in enumerate(["<unk>", "c", "s", *WORDS, "a", " ", "▁"])
                                                                 } if flag(0.9) else {"<unk>": 0}}


def added_tokens():
    contents = [c for c in ["[X]", "the", "<s>", "é", " a", "ab", "AB", "...", "x y", "▁", "Day"] if R.random() < 0.25]
    return [dict(id=0, content=c, single_word=flag(0.3), lstrip=flag(0.3), rstrip=flag(0.3), normalized=flag(), special=flag()) for c in contents]


def tokenizer():
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added_tokens(),
            "normalizer": normalizer() if flag(0.7) else None, "pre_tokenizer": pre_tokenizer() if flag(0.8) else None,
            "post_processor": post_processor() if flag(0.7) else None, "decoder": decoder() if flag(0.8) else None,
            "model": R.choice([bpe, bpe, unigram, word_piece, word_level])()}


def window(e, pair):
    out = dict(ids=e.ids, type_ids=e.type_ids, attention_mask=e.attention_mask, special_tokens_mask=e.special_tokens_mask, offsets=e.offsets,
               word_ids=e.word_ids)
    if pair:
        out["sequence_ids"] = e.sequence_ids
    return out


def case(t):
    truncation = padding = None
    if flag(0.3):
        truncation = dict(max_length=R.randrange(9, 20), stride=R.choice([0, 0, 1, 2]), strategy=R.choice(["longest_first", "only_first", "only_second"]),
                          direction=R.choice(["left", "right"]))
    if flag(0.2):
        padding = dict(direction=R.choice(["left", "right"]), pad_id=7, pad_type_id=3, pad_token="x", length=R.choice([None, 5, 20]),
                       pad_to_multiple_of=R.choice([None, 8]))
    c = dict(text=text(), pair=text() if flag(0.3) else None, add_special_tokens=flag(0.7), truncation=truncation, padding=padding)
    t.no_truncation()
    t.no_padding()
    if truncation:
        t.enable_truncation(**truncation)
    if padding:
        t.enable_padding(**padding)
    e = t.encode(c["text"], c["pair"], add_special_tokens=c["add_special_tokens"])
    c.update(window(e, c["pair"] is not None), overflowing=[window(o, c["pair"] is not None) for o in e.overflowing],
             decoded=t.decode(e.ids, skip_special_tokens=True), decoded_raw=t.decode(e.ids, skip_special_tokens=False))
    return c


lines = 0
while lines < LINES:
    j = tokenizer()
    try:
        t = Tokenizer.from_str(json.dumps(j))
        cases = []
        while len(cases) < CASES:
            cases.append(case(t))
    except BaseException:  # a panic of the library is no Exception
        continue
    print(json.dumps({"tokenizer": j, "cases": cases}, ensure_ascii=False, separators=(",", ":")))
    lines += 1
