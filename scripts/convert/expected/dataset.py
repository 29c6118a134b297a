"""Numbers as words: pairs of a sequence and the class of its sum."""
import random

import mindspore as ms
from mindspore.dataset import GeneratorDataset


class SumDataset:
    def __init__(self, size=64, length=8, vocab_size=40, classes=3, seed=0):
        rng = random.Random(seed)
        self.rows = [[rng.randrange(1, vocab_size) for _ in range(length)] for _ in range(size)]
        self.classes = classes

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        return ms.tensor(row, dtype=ms.int64), ms.tensor(sum(row) % self.classes, dtype=ms.int64)


def loader(batch_size=8, shuffle=True):
    return GeneratorDataset(SumDataset(), column_names=["data", "label"], shuffle=shuffle).batch(batch_size)
