"""Numbers as words: pairs of a sequence and the class of its sum."""
import random

import torch
from torch.utils.data import DataLoader, Dataset


class SumDataset(Dataset):
    def __init__(self, size=64, length=8, vocab_size=40, classes=3, seed=0):
        rng = random.Random(seed)
        self.rows = [[rng.randrange(1, vocab_size) for _ in range(length)] for _ in range(size)]
        self.classes = classes

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        return torch.tensor(row, dtype=torch.long), torch.tensor(sum(row) % self.classes, dtype=torch.long)


def loader(batch_size=8, shuffle=True):
    return DataLoader(SumDataset(), batch_size=batch_size, shuffle=shuffle, num_workers=0, pin_memory=True)
