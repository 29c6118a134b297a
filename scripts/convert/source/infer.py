"""Classifies one sequence with the trained weights."""
import sys

import torch

from model.ibert_like import IBertLikeConfig, IBertLikeForSequenceClassification


@torch.no_grad()
def classify(numbers, path="ibert_like.ckpt"):
    model = IBertLikeForSequenceClassification(IBertLikeConfig())
    model.load_state_dict(torch.load(path, map_location="cpu"))
    model.eval()
    input_ids = torch.LongTensor([numbers])
    logits = model(input_ids)
    return logits.softmax(dim=-1)[0].detach().cpu().numpy(), int(logits.argmax(dim=-1))


if __name__ == "__main__":
    print(classify([int(word) for word in sys.argv[1:]] or [1, 2, 3, 4, 5, 6, 7, 8]))
