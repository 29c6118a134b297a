#!/usr/bin/env python3
"""Writes stdlib/tokenizers/uni_tables.h: what the tokenizers need to know of every code point.

The reference (PyPI's `tokenizers`) mixes several editions of Unicode: its regular expressions, its normal forms, its
punctuation and its grapheme clusters each come from another one.  So the tables are asked from the reference, code point
by code point, and not taken from one edition.  Needs: pip install tokenizers regex.   Usage: unicode_tables.py OUT.h
"""
import sys
import unicodedata
import regex
from tokenizers import normalizers as N, pre_tokenizers as P, Regex

CPS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
CHARS = [chr(c) for c in CPS]
CATS = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()
SCRIPTS = "Han Hiragana Katakana Hangul Latin Greek Cyrillic Arabic Hebrew Thai Devanagari Bengali Tamil Myanmar".split()
GCBS = "Other CR LF Control Extend ZWJ Regional_Indicator Prepend SpacingMark L V T LV LVT".split()


def matched(pattern):
    """The set of characters that the reference's regex engine matches."""
    split, out = P.Split(Regex(pattern), "removed"), set()
    for k in range(0, len(CHARS), 4096):
        part = CHARS[k:k + 4096]
        kept = set()
        for _, (a, b) in split.pre_tokenize_str("".join(part)):
            kept.update(range(a, b))
        out.update(ch for i, ch in enumerate(part) if i not in kept)
    return out


def splits(pre):
    return {ch for ch in CHARS if len(pre.pre_tokenize_str("a" + ch + "a")) > 1}


def removed(norm):
    return {ch for ch in CHARS if norm.normalize_str(ch) == ""}


def numbers(name, values, ctype):
    lines, line = [], " "
    for v in values:
        s = " %d," % v
        if len(line) + len(s) > 100:
            lines.append(line)
            line = " "
        line += s
    lines.append(line)
    return "static const %s %s[%d] = {\n%s\n};\n" % (ctype, name, len(values), "\n".join(lines))


def combining_classes(nfd):
    """Classes as the reference knows them: marks newer than its edition count as starters."""
    out = {}
    for ch in CHARS:
        ccc = unicodedata.combining(ch)
        if ccc and (nfd("a" + ch + "\u0334") == "a\u0334" + ch if ccc > 1 else nfd("a\u0301" + ch) == "a" + ch + "\u0301"):
            out[ch] = ccc
    return out


def main(path):
    cat = {}
    for i, c in enumerate(CATS):
        if c != "Cs":
            for ch in matched(r"\p{%s}" % c):
                cat[ch] = i
    white = {ch for ch in CHARS if not P.WhitespaceSplit().pre_tokenize_str(ch)}
    punct = splits(P.Punctuation())
    numeric = splits(P.Digits(True))
    word = {ch for ch in CHARS if len(P.Whitespace().pre_tokenize_str("a" + ch + "a")) == 1}
    bert = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    accents = removed(N.BertNormalizer(**{**bert, "strip_accents": True}))
    control = removed(N.BertNormalizer(**{**bert, "clean_text": True}))
    cjk = {ch for ch in CHARS if len(N.BertNormalizer(**{**bert, "handle_chinese_chars": True}).normalize_str(ch)) == 3}
    marks = removed(N.StripAccents())
    nfc, nfd, nfkc, nfkd = (f().normalize_str for f in (N.NFC, N.NFD, N.NFKC, N.NFKD))
    ccc = combining_classes(nfd)
    gcb = {}
    for i, name in enumerate(GCBS):
        if i:
            for ch in regex.findall(r"\p{GCB=%s}" % name, "".join(CHARS)):
                gcb[ch] = i
    pict = set(regex.findall(r"\p{Extended_Pictographic}", "".join(CHARS)))
    flags = [white, punct, numeric, word, accents, control, cjk, marks, pict, matched(r"\w")]

    records, index, runs, last = [], {}, [], None
    for cp in range(0x110000):
        ch = chr(cp)
        rec = (27, 0, 0, 0) if 0xD800 <= cp <= 0xDFFF else (
            cat.get(ch, 29), ccc.get(ch, 0), gcb.get(ch, 0), sum(1 << i for i, s in enumerate(flags) if ch in s))
        if rec not in index:
            index[rec] = len(records)
            records.append(rec)
        if index[rec] != last:
            runs.append((cp, index[rec]))
            last = index[rec]
    run_data, at = [], 0
    for cp, rec in runs:
        run_data += [cp - at, rec]
        at = cp

    lower, prev = [], None           # runs of (first, last, step, delta)
    for ch in CHARS:
        low = N.Lowercase().normalize_str(ch)
        if low == ch or len(low) > 1:
            continue
        cp, delta = ord(ch), ord(low) - ord(ch)
        if prev and prev[3] == delta and cp - prev[1] in (1, 2) and (prev[2] in (0, cp - prev[1])):
            prev[1], prev[2] = cp, cp - prev[1]
        else:
            prev = [cp, cp, 0, delta]
            lower.append(prev)
    for r in lower:
        r[2] = r[2] or 1
    longer = [(ch, N.Lowercase().normalize_str(ch)) for ch in CHARS if len(N.Lowercase().normalize_str(ch)) > 1]
    assert longer == [("\u0130", "i\u0307")], longer

    canon, compat, pairs = [], [], []
    for ch in CHARS:
        if "\uac00" <= ch <= "\ud7a3":
            continue
        full = nfd(ch)
        if full != ch:
            canon += [ord(ch), len(full)] + [ord(c) for c in full]
            two = [int(x, 16) for x in unicodedata.decomposition(ch).split() if not x.startswith("<")]
            if len(two) == 2 and nfc(chr(two[0]) + chr(two[1])) == ch:
                pairs.append((two[0], two[1], ord(ch)))
        if nfkd(ch) != full:
            more = nfkd(ch)
            compat += [ord(ch), len(more)] + [ord(c) for c in more]
    pairs.sort()

    scripts = []                     # per script: the number of ranges, then (first, last) of each
    for name in SCRIPTS:
        ranges = []
        for cp in sorted(ord(ch) for ch in matched(r"\p{%s}" % name)):
            if ranges and ranges[-1] == cp - 1:
                ranges[-1] = cp
            else:
                ranges += [cp, cp]
        scripts += [len(ranges) // 2] + ranges

    with open(path, "w") as f:
        f.write("/* uni_tables.h: generated by scripts/unicode_tables.py; do not edit.  See that script and uni.c. */\n")
        f.write(numbers("UNI_RECORDS", [x for r in records for x in r], "uint16_t"))
        f.write(numbers("UNI_RUNS", run_data, "uint32_t"))
        f.write(numbers("UNI_LOWER", [x for r in lower for x in r], "int32_t"))
        f.write(numbers("UNI_CANON", canon, "uint32_t"))
        f.write(numbers("UNI_COMPAT", compat, "uint32_t"))
        f.write("static const char UNI_SCRIPT_NAMES[] = \"%s\";\n" % " ".join(SCRIPTS))
        f.write(numbers("UNI_SCRIPTS", scripts, "uint32_t"))
        f.write(numbers("UNI_PAIRS", [x for p in pairs for x in p], "uint32_t"))


main(sys.argv[1])
