#!/usr/bin/env python3
"""Compares Moth's tokenizers with PyPI's `tokenizers`, or records a small part of that comparison for `make test`.

  reference.py record DATA                small tokenizers of every kind, trained here, and what the reference makes of TEXTS
  reference.py compare MOTH FILE...       10,000 lines through each tokenizer.json: single, pairs, truncated; ids, types,
                                          offsets, words, special masks and both decoded texts must be equal
  reference.py bench MOTH FILE...         seconds for the same lines, one text a call, one core, both sides
  reference.py many DIR                   writes larger tokenizers of every kind, to be given to compare
Needs: pip install tokenizers sentencepiece protobuf.
"""
import base64
import inspect
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import AddedToken, Regex, Tokenizer, decoders as D, models, normalizers as N   # noqa: E402
from tokenizers import pre_tokenizers as P, processors as PP, trainers as T                    # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLES = r"""Der schnelle braune Fuchs springt über den faulen Hund. Äpfel, Öl und Übermut.
Le cœur a ses raisons que la raison ne connaît point ; l’été, à Noël, ça ira.
El niño comió piñas y bebió café en Bogotá. ¿Cómo estás? ¡Qué alegría!
Съешь же ещё этих мягких французских булок, да выпей чаю.
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Καλημέρα κόσμε!
敏捷的棕色狐狸跳过了懒狗。今天天气真好，我们去公园吧！
素早い茶色の狐がのろまな犬を飛び越える。カタカナとひらがなと漢字。ｶﾀｶﾅ
빠른 갈색 여우가 게으른 개를 뛰어넘는다. 안녕하세요 세계! \u1100\u1161\u11a8 \u1100\u1161
الثعلب البني السريع يقفز فوق الكلب الكسول. مَرْحَبًا بِالعَالَمِ
השועל החום המהיר קופץ מעל הכלב העצלן. שָׁלוֹם
तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है। क्षत्रिय ज्ञान
สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ
ပျံလွှားနေသော မြေခွေးညို မဒှ်ကၠုင် ဘာသာမန်
Nhanh như cáo nâu nhảy qua con chó lười. Tiếng Việt có dấu: ế ề ể ễ ệ
İstanbul'da ILIK bir gün. ıspanak ŞIK ğ ﬁ ﬂ ﬀ ½ ² ³ ™ ㎏ Ⅷ ① ⑴ Ａ Ｂ ｃ １２３
naïve façade coöperate re\u0301sume\u0301 \u212b A\u030a ñ n\u0303 e\u0323\u0302 q\u0323\u0307 q\u0307\u0323 Z\u0351\u036b\u0343\u036a\u0302A\u0334\u0335\u031c
😀 😃 👨‍👩‍👧‍👦 👩🏽‍🚀 🇩🇪🇫🇷🇯🇵 🏳️‍🌈 ❤️ ☎️ 1️⃣ #️⃣ 🤷🏿‍♀️ ✨ ♥ ☃ 🀄 🧑‍💻
\u200b\u200czero\u200dwidth\ufeff bom\u00a0nbsp\u2003em\u3000ideographic\u2028line\u2029para\u0085nel\u00adsoft
x\u0001y\u0007z\u001bq\u007fd\ufffdr \ue000pua \U000f0000 \U0010ffff \u0378unassigned
$ € £ ¥ ₹ ± × ÷ ≠ ≤ ∞ ∑ ∫ √ → ⇒ ∀∃∈ «quotes» „low“ ‚single‘ … — – · • § ¶
I'm you're he'll we've they'd it's don't CAN'T I'M YOU'RE it'S ſ 'ſ \u212a'K
   leading spaces\t\ttabs\t \n\nnewlines\r\n\r\n  trailing   
1234567890 3.14159 1,000,000 0xDEADBEEF 1e-10 ٣٤٥ १२३ 一二三 ⅓
<s> </s> <unk> <pad> [CLS] [SEP] [MASK] [PAD] [UNK] <|endoftext|> <|im_start|>user<|im_end|> <bos><eos> <mask>
<|begin_of_text|> <start_of_turn>model<end_of_turn> <0x0A> ▁under ▁▁ Ġ Ċ <EOT> the  the the
http://www.example.com/path?x=1&y=2#frag user@example.org C:\\Windows\\System32 /usr/bin/env
def f(x: int) -> int:\n    return x ** 2  # squared\n
{"key": [1, 2, {"a": null}], "b": "text"} The quick brown fox, it jumps; over!""".split("\n")
SPECIALS = "<s> </s> <unk> [CLS] [SEP] [MASK] <|endoftext|> <|im_end|> <bos> <eos> <pad> <mask> <|eot_id|> <EOT>".split()


def unescape(s):
    def one(m):
        return chr(int(m[1] or m[2], 16)) if m[1] or m[2] else {"t": "\t", "r": "\r", "n": "\n", "\\": "\\"}[m[3]]
    return re.sub(r"\\u([0-9a-f]{4})|\\U([0-9a-f]{8})|\\([trn\\])", one, s)


SAMPLES = [unescape(s) for s in SAMPLES]


def corpus(n, seed=7):
    """n lines: source code and prose of Python's library, many scripts, random characters, marks, special tokens."""
    rng = random.Random(seed)
    code = []
    for m in (argparse_modules()):
        code += [x.rstrip("\n") for x in inspect.getsource(m).split("\n") if 3 < len(x) < 400]

    def odd():
        k = rng.random()
        c = (rng.randrange(32, 0x250) if k < .3 else rng.randrange(0x250, 0x3000) if k < .6 else rng.randrange(0x3000, 0x10000)
             if k < .85 else rng.choice([rng.randrange(0x10000, 0x20000), rng.randrange(0x1F300, 0x1FB00), rng.randrange(0x10000, 0x110000)]))
        return "?" if 0xD800 <= c < 0xE000 else chr(c)

    lines = [" "]
    while len(lines) < n:
        k = rng.random()
        if k < .35:
            s = rng.choice(code)
        elif k < .55:
            s = rng.choice(SAMPLES)
        elif k < .7:
            s = rng.choice(SAMPLES)
            a = rng.randrange(len(s) + 1)
            s = s[a:a + rng.randrange(1, 60)] + rng.choice(["", " ", "\n", "  ", "\t"]) + rng.choice(SAMPLES)[:rng.randrange(0, 40)]
        elif k < .8:
            s = "".join(odd() for _ in range(rng.randrange(1, 40)))
        elif k < .88:
            words = (rng.choice(code) + " " + rng.choice(SAMPLES)).split(" ")
            rng.shuffle(words)
            s = rng.choice([" ", "  ", "\u00a0", "\n", " \n "]).join(words[:rng.randrange(1, 25)])
        elif k < .94:
            s = rng.choice(SAMPLES) + rng.choice(SPECIALS) + rng.choice(["", " "]) + rng.choice(code) + rng.choice(SPECIALS)
        else:
            s = ""
            for ch in rng.choice(SAMPLES + code)[:60]:
                s += ch
                if rng.random() < .3:
                    s += chr(rng.choice([rng.randrange(0x300, 0x370), 0x200D, 0xFE0F, rng.randrange(0x591, 0x5C8),
                                         rng.randrange(0x64B, 0x660), 0x0334, 0x0327, 0x3099]))
        lines.append(s or " ")
    return lines


def argparse_modules():
    import argparse, ast, calendar, csv, datetime, difflib, email.message, json.decoder, logging, pickle, tarfile, textwrap, zipfile
    return [argparse, ast, calendar, csv, datetime, difflib, email.message, json.decoder, logging, pickle, tarfile, textwrap, zipfile]


# ---- tokenizers of every kind, trained on the lines ----
PATTERNS = {
    "cl100k": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s""",
    "gpt2": r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
    "odd": r"""(?<=\d)\s|[A-Za-z_][A-Za-z0-9_]*?\b|\w{2,4}?x|(?<!a)b|.$|^\s*""",
    "han": r"""[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    "bloom": r""" ?[^(\s|[.,!?…。，、।۔،])]+""",
    "icase": r"""(?i)strasse|ÄÖ|[k-s]+|é"""}
CLS, SEP = ("[CLS]", 1), ("[SEP]", 2)


def kinds(lines, size, chars):
    """Yields (name, tokenizer).  size: vocabulary; chars: how many single characters the alphabets may hold."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]"]
    plain = [x for x in lines if all(ord(c) < 0x250 for c in x)]

    def done(t, trainer, added=(), data=lines):
        t.train_from_iterator(data, trainer)
        t.add_tokens(list(added))
        return t

    def bpe(**kw):
        return T.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False, **kw)

    def piece(**kw):
        return T.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False, limit_alphabet=chars)

    def uni(unk="[UNK]"):
        return T.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token=unk, show_progress=False)

    letters = P.ByteLevel.alphabet()
    t = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    t.normalizer = N.Sequence([N.NFC(), N.Replace(Regex(r"\s+"), " "), N.Lowercase()])
    t.pre_tokenizer = P.Sequence([P.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
                                  P.ByteLevel(add_prefix_space=False)])
    t.post_processor = PP.RobertaProcessing(SEP, CLS, trim_offsets=False, add_prefix_space=False)
    t.decoder = D.BPEDecoder(suffix="</w>")
    yield "clip", done(t, bpe(end_of_word_suffix="</w>", initial_alphabet=letters))

    t = Tokenizer(models.BPE())
    t.pre_tokenizer = P.ByteLevel(add_prefix_space=True)
    t.post_processor = PP.RobertaProcessing(SEP, CLS, trim_offsets=True, add_prefix_space=True)
    t.decoder = D.ByteLevel()
    yield "roberta", done(t, bpe(initial_alphabet=letters), [
        AddedToken("<mask>", lstrip=True, rstrip=True, special=True, normalized=False),
        AddedToken("café", single_word=True), AddedToken("the", single_word=True, normalized=True)])

    t = Tokenizer(models.Unigram())
    t.normalizer = N.Sequence([N.Nmt(), N.NFKC(), N.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = P.Sequence([P.WhitespaceSplit(), P.Metaspace(prepend_scheme="first")])
    t.decoder = D.Metaspace(prepend_scheme="first")
    t.post_processor = PP.TemplateProcessing(single="$A [SEP]", pair="$A:3 [SEP]:4 $B:5 [SEP]:6 [CLS]:1", special_tokens=[SEP, CLS])
    yield "t5", done(t, uni(), data=plain)

    t = Tokenizer(models.Unigram())
    t.normalizer = N.Sequence([N.Replace("``", '"'), N.Replace("''", '"'), N.NFKD(), N.StripAccents(), N.Lowercase(), N.Strip()])
    t.pre_tokenizer, t.decoder, t.post_processor = P.Metaspace(), D.Metaspace(), PP.BertProcessing(SEP, CLS)
    yield "albert", done(t, uni(), data=plain)

    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.pre_tokenizer = P.Whitespace()
    yield "wordlevel", done(t, T.WordLevelTrainer(vocab_size=size, special_tokens=special, show_progress=False))

    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=12))
    t.normalizer = N.Sequence([N.NFD(), N.Lowercase(), N.StripAccents(), N.Strip(left=False, right=True)])
    t.pre_tokenizer = P.Sequence([P.WhitespaceSplit(), P.Digits(individual_digits=True), P.Punctuation("merged_with_previous")])
    t.decoder = D.WordPiece(cleanup=False)
    yield "wordpiece", done(t, piece(), [AddedToken("ÄÖ Ü", normalized=True), AddedToken("[MASK]", special=True),
                                          AddedToken("résumé", normalized=True, lstrip=True)])

    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer, t.decoder = N.BertNormalizer(lowercase=False), P.BertPreTokenizer(), D.WordPiece()
    t.post_processor = PP.BertProcessing(SEP, CLS)
    yield "bert_cased", done(t, piece())

    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer = N.BertNormalizer(lowercase=True, strip_accents=False, handle_chinese_chars=False, clean_text=False)
    t.pre_tokenizer, t.decoder = P.BertPreTokenizer(), D.WordPiece()
    yield "bert_accents", done(t, piece())

    for how in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            t = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=invert))
            t.pre_tokenizer = P.Sequence([P.Split(Regex(r"\d+|\p{Lu}\p{Ll}*|\s"), how, invert=invert),
                                          P.Split("e", "isolated" if invert else how), P.Punctuation(how)])
            yield "split_%s_%d" % (how, invert), done(t, bpe(limit_alphabet=chars))

    t = Tokenizer(models.BPE(unk_token="[UNK]", continuing_subword_prefix="@@", fuse_unk=True))
    t.pre_tokenizer = P.Sequence([P.CharDelimiterSplit("e"), P.Digits()])
    t.decoder = D.Sequence([D.Replace("@@", ""), D.Fuse(), D.Strip(" ", 1, 0)])
    yield "bpe_prefix", done(t, bpe(continuing_subword_prefix="@@", limit_alphabet=chars))

    for name, pattern in PATTERNS.items():
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = P.Sequence([P.Split(Regex(pattern), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)])
        t.decoder = D.ByteLevel()
        t.post_processor = PP.Sequence([
            PP.ByteLevel(trim_offsets=True, add_prefix_space=False),
            PP.TemplateProcessing(single="[CLS] $0", pair="[CLS] $A [CLS]:1 $B:1", special_tokens=[CLS])])
        yield "pattern_" + name, done(t, bpe(initial_alphabet=letters),
                                      [AddedToken("  ", normalized=True), AddedToken("    ", normalized=False)])

    t = Tokenizer(models.Unigram())
    t.pre_tokenizer, t.decoder = P.Metaspace(prepend_scheme="never", split=False), D.Metaspace(prepend_scheme="never")
    yield "metaspace_never", done(t, uni(), data=plain)

    t = Tokenizer(models.BPE(unk_token="[UNK]"))
    t.pre_tokenizer, t.decoder = P.Metaspace(prepend_scheme="first"), D.Metaspace(prepend_scheme="first")
    yield "metaspace_first", done(t, bpe(limit_alphabet=chars), [AddedToken("<|x|>", special=True)])

    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.pre_tokenizer = P.Split(Regex("."), "isolated")
    t.decoder = D.CTC(pad_token="e", word_delimiter_token="a", cleanup=True)
    yield "ctc", done(t, T.WordLevelTrainer(vocab_size=size, special_tokens=special, show_progress=False))

    t = Tokenizer(models.BPE())
    t.normalizer, t.pre_tokenizer, t.decoder = N.ByteLevel(), P.FixedLength(length=5), D.ByteLevel()
    yield "byte_normalizer", done(t, bpe(initial_alphabet=letters))

    t = Tokenizer(models.BPE(unk_token="[UNK]"))
    t.normalizer = N.Sequence([N.Strip(), N.Prepend("▁x"), N.Replace(" ", "▁▁"), N.Replace(Regex("[aeiou]"), "")])
    yield "prepend", done(t, bpe(limit_alphabet=chars), [AddedToken("<|x|>", special=True), AddedToken("the ", normalized=True)])
    yield "precompiled", precompiled(lines, size * 3)


def precompiled(lines, size):
    """A SentencePiece model with a normalization table of its own, as XLM-R and T5 files carry one."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/text", "w") as f:
            f.write("\n".join(re.sub(r"[^\x20-\u024f\u0300-\u036f\ufb00-\ufb04]", "", x) for x in lines))
        with open(d + "/rules.tsv", "w") as f:
            rules = {"\ufb01": "fi", "\ufb02": "fl", "\u00bd": "1/2", "\u00b2": "2", "\u2122": "TM", "A\u030a": "\u00c5",
                     "e\u0301": "\u00e9", "\u0001": "", "\u007f": "", "\u00a0": " ", "\u3000": " ", "\t": " ", "\u2026": "..."}
            for a, b in rules.items():
                f.write(" ".join("%X" % ord(c) for c in a) + "\t" + " ".join("%X" % ord(c) for c in b) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            input=d + "/text", model_prefix=d + "/m", vocab_size=size, character_coverage=0.98, minloglevel=2,
            normalization_rule_tsv=d + "/rules.tsv", hard_vocab_limit=False)
        m = pb.ModelProto()
        with open(d + "/m.model", "rb") as f:
            m.ParseFromString(f.read())
    j = json.loads(Tokenizer(models.Unigram([(p.piece, p.score) for p in m.pieces], unk_id=0)).to_str())
    table = base64.b64encode(m.normalizer_spec.precompiled_charsmap).decode()
    j["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Precompiled", "precompiled_charsmap": table}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
    j["pre_tokenizer"] = j["decoder"] = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    return Tokenizer.from_str(json.dumps(j))


# ---- recording, comparing, timing ----
def result(t, s, pair=None):
    e = t.encode(s, pair) if pair is not None else t.encode(s)
    rows = [[i, a, b, y, -1 if w is None else w, m] for i, (a, b), y, w, m in
            zip(e.ids, e.offsets, e.type_ids, e.word_ids, e.special_tokens_mask)]
    return rows, t.decode(e.ids, skip_special_tokens=False), t.decode(e.ids, skip_special_tokens=True)


def load(path):
    t = Tokenizer.from_file(path)
    t.no_padding()
    t.no_truncation()
    return t


def record(folder):
    os.makedirs(folder, exist_ok=True)
    texts = SAMPLES + corpus(25, 3)[1:]
    with open(folder + "/texts.json", "w") as f:
        json.dump(texts, f, ensure_ascii=False, indent=0)
    keep = "clip roberta t5 albert wordpiece bert_cased split_merged_with_next_0 bpe_prefix pattern_odd pattern_han prepend precompiled".split()
    for name, t in kinds(SAMPLES * 3 + corpus(400, 5), 300, 60):
        if name not in keep:
            continue
        t.save(folder + "/" + name + ".json", pretty=False)
        t = load(folder + "/" + name + ".json")
        with open(folder + "/" + name + ".expect.json", "w") as f:
            rows = []
            for i, s in enumerate(texts):
                r = result(t, s, texts[i - 1] if i % 7 == 3 else None)
                rows.append([[x for row in r[0] for x in row], r[1], r[2]])
            f.write("[\n" + ",\n".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in rows) + "\n]\n")


def compare(moth, files):
    lines, wrong = corpus(10000), 0
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/lines.json", "w") as f:
            json.dump(lines, f)
        for path in files:
            for mode in ("single", "pairs", "truncated"):
                t = load(path)
                if mode == "truncated":
                    t.enable_truncation(12)
                p = subprocess.run([moth, HERE + "/dump.lua", path, d + "/lines.json", mode], capture_output=True)
                got, bad = p.stdout.decode("utf8", "replace").split("\0"), 0
                for i, s in enumerate(lines):
                    r = result(t, s, lines[i + 1] if mode == "pairs" and i + 1 < len(lines) else None)
                    want = "".join(":".join(map(str, row)) + " " for row in r[0]) + "\1" + r[1] + "\1" + r[2]
                    if i >= len(got) or got[i] != want:
                        bad += 1
                        if bad <= 3:
                            print("  line", i, repr(s[:60]), "\n   want", want[:200], "\n   got ", (got[i] if i < len(got) else p.stderr)[:200])
                print("%-28s %-10s %d lines, %d differ" % (os.path.basename(path), mode, len(lines), bad))
                wrong += bad
    return wrong


def bench(moth, files):
    lines = corpus(10000)
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/lines.json", "w") as f:
            json.dump(lines, f)
        for path in files:
            t, best = load(path), 1e9
            for _ in range(3):
                a = time.perf_counter()
                for s in lines:
                    t.encode(s)
                best = min(best, time.perf_counter() - a)
            p = subprocess.run([moth, HERE + "/dump.lua", path, d + "/lines.json", "bench"], capture_output=True, text=True)
            print("%-28s reference %.3f s, moth %.3f s, ratio %.2f" % (os.path.basename(path), best, float(p.stdout), float(p.stdout) / best))


def main(args):
    if args[0] == "record":
        record(args[1])
    elif args[0] == "compare":
        sys.exit(1 if compare(args[1], args[2:]) else 0)
    elif args[0] == "bench":
        bench(args[1], args[2:])
    elif args[0] == "many":
        os.makedirs(args[1], exist_ok=True)
        for name, t in kinds(corpus(6000), 1000, 200):
            t.save(args[1] + "/" + name + ".json")


main(sys.argv[1:])
