"""The peer's half of minilm.lua: the same texts through transformers and tokenizers.

    minilm_peer.py MODEL [--threads 2]       answers the protocol of worker.lua
    minilm_peer.py MODEL --against FILE      compares with the vectors that minilm.lua --vectors FILE wrote
Needs: pip install torch transformers.
"""
import argparse
import os
import sys
import time

p = argparse.ArgumentParser()
p.add_argument("model")
p.add_argument("--threads", type=int, default=2)
p.add_argument("--against")
args = p.parse_args()
os.environ["TOKENIZERS_PARALLELISM"] = "true" if args.threads > 1 else "false"
os.environ["RAYON_NUM_THREADS"] = str(args.threads)

import torch  # noqa: E402
from transformers import AutoModel, AutoTokenizer  # noqa: E402

torch.set_num_threads(args.threads)
source = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "minilm.lua"), encoding="utf-8").read()
WORDS, RARE = (part.split("]]")[0].split() for part in source.split("in ([[")[1:3])
state = 1


def random(n):
    global state
    state = (state * 1103515245 + 12345) % 2147483648
    return state // 65536 % n


def word():
    return RARE[random(len(RARE))] if random(8) == 0 else WORDS[random(len(WORDS))]


mixed = [" ".join(word() for _ in range(5 + random(56))) for _ in range(32)]
equal = [" ".join(WORDS[random(len(WORDS))] for _ in range(32)) for _ in range(32)]
tokenizer = AutoTokenizer.from_pretrained(args.model)
model = AutoModel.from_pretrained(args.model, dtype=torch.float32).eval()


@torch.inference_mode()
def encode(texts):
    batch = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
    mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(mean, dim=-1)


WORK = {"minilm_mixed": mixed, "minilm_equal": equal}
if args.against:
    got = torch.load(args.against)
    for name, texts in WORK.items():
        ids = tokenizer(texts)["input_ids"]
        n = [len(i) for i in ids]
        diff = (encode(texts) - got[name[7:]]).abs().max().item()
        print(f"{name}: {len(texts)} texts of {min(n)} to {max(n)} tokens, {sum(n)} of {max(n) * len(n)} padded; "
              f"largest difference {diff:.2e}")
    sys.exit()
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "list":
        print(" ".join(WORK), flush=True)
        continue
    name, seconds = line.split()
    n, start, spent = 0, time.perf_counter(), 0
    while spent < float(seconds) or n == 0:
        encode(WORK[name])
        n += 1
        spent = time.perf_counter() - start
    print(f"{name} {spent / n:.9g}", flush=True)
