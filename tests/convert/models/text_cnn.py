"""Convolutions of several widths over words, the greatest of each."""
import torch
import torch.nn.functional as F
from torch import nn


class TextCNN(nn.Module):
    def __init__(self, vocab_size=30, dim=16, channels=8, widths=(2, 3), classes=3):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim)
        self.convs = nn.ModuleList([nn.Conv1d(dim, channels, w) for w in widths])
        self.classifier = nn.Linear(channels * len(widths), classes)

    def forward(self, input_ids: torch.LongTensor) -> torch.Tensor:
        x = self.embedding(input_ids).permute(0, 2, 1)
        features = [F.relu(conv(x)).max(dim=-1)[0] for conv in self.convs]
        return F.log_softmax(self.classifier(torch.cat(features, dim=1)), dim=-1)
