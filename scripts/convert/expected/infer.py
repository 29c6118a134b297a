"""Classifies one sequence with the trained weights."""
import sys

import mindspore as ms
from mindspore import ops

from model.ibert_like import IBertLikeConfig, IBertLikeForSequenceClassification


@ms._no_grad()
def classify(numbers, path="ibert_like.ckpt"):
    model = IBertLikeForSequenceClassification(IBertLikeConfig())
    model.load_state_dict(ms.load_checkpoint(path))
    model.set_train(False)
    input_ids = ms.tensor([numbers], dtype=ms.int64)
    logits = model(input_ids)
    return ops.stop_gradient(logits.softmax(axis=-1)[0]).asnumpy(), int(logits.argmax(dim=-1))


if __name__ == "__main__":
    print(classify([int(word) for word in sys.argv[1:]] or [1, 2, 3, 4, 5, 6, 7, 8]))
