"""A recurrent net written out gate by gate."""
import torch
from torch import nn


class Recurrent(nn.Module):
    def __init__(self, inputs=8, hidden=12, classes=4):
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Linear(inputs + hidden, 4 * hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x.new_zeros(x.size(0), self.hidden)
        c = torch.zeros_like(h)
        steps = []
        for t in range(x.size(1)):
            i, f, g, o = self.gates(torch.cat([x[:, t], h], dim=-1)).chunk(4, dim=-1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            steps.append(self.out(h))
        return torch.stack(steps, dim=1)
