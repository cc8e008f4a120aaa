#!/usr/bin/env python3
"""Write src/tok/ucd.inc: character classes for which the tokenizers library has tables of older Unicode versions than utf8proc.

Every code point is passed through the library, so the tables hold what it does rather than what a standard says:
    tools/ucd.py >src/tok/ucd.inc        (needs the Python package `tokenizers`; takes two minutes)
"""
from tokenizers import normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def ranges(members):
    out = []
    for c in members:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def removed_by(normalizer):
    return ranges(c for c in CODE_POINTS if normalizer.normalize_str(chr(c)) == "")


def punctuation():
    p = pre_tokenizers.Punctuation()
    return ranges(c for c in CODE_POINTS if len(p.pre_tokenize_str("a" + chr(c) + "a")) == 3)


def scripts():
    """Ranges with the number of a script, from 1 on; characters that never split are left out."""
    p = pre_tokenizers.UnicodeScripts()
    same = lambda a, b: len(p.pre_tokenize_str(chr(a) + chr(b))) == 1
    firsts, out, last = [], [], None
    for c in CODE_POINTS:
        if c == 0x20 or (len(firsts) > 1 and same(firsts[0], c) and same(firsts[1], c)):
            last = None
            continue
        if last is None or not same(firsts[last], c):
            last = next((i for i, f in enumerate(firsts) if same(f, c)), None)
        if last is None:
            firsts.append(c)
            last = len(firsts) - 1
        if out and out[-1][1] == c - 1 and out[-1][2] == last + 1:
            out[-1][1] = c
        else:
            out.append([c, c, last + 1])
    return out


def table(kind, name, rows):
    cells = ["{ " + ", ".join(f"0x{v:X}" if i < 2 else str(v) for i, v in enumerate(r)) + " }," for r in rows]
    print(f"\nstatic const struct {kind} {name}[] = {{")
    line = "   "
    for cell in cells:
        if len(line) + len(cell) + 1 > 99:
            print(line)
            line = "   "
        line += " " + cell
    print(line + "\n};")


accents = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
print("/* src/tok/ucd.inc: written by tools/ucd.py. */")
table("range", "marks_nonspacing", removed_by(accents))
table("range", "marks_combining", removed_by(normalizers.StripAccents()))
table("range", "punctuation", punctuation())
table("script_range", "scripts", scripts())
