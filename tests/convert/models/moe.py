"""A sparse mixture of experts: the two best of four for every token."""
import torch
import torch.nn.functional as F
from torch import nn


class Expert(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.up, self.down = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, x):
        return self.down(F.silu(self.up(x)))


class SparseMoe(nn.Module):
    def __init__(self, dim=16, experts=4, top_k=2):
        super().__init__()
        self.top_k, self.num_experts = top_k, experts
        self.gate = nn.Linear(dim, experts, bias=False)
        self.experts = nn.ModuleList([Expert(dim) for _ in range(experts)])

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        batch, length, dim = hidden_states.shape
        x = hidden_states.view(-1, dim)
        weights = F.softmax(self.gate(x), dim=1, dtype=torch.float)
        weights, chosen = torch.topk(weights, self.top_k, dim=-1)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        out = torch.zeros((batch * length, dim), dtype=x.dtype, device=x.device)
        mask = F.one_hot(chosen, num_classes=self.num_experts).to(x.dtype)
        for i, expert in enumerate(self.experts):
            share = (mask[:, :, i] * weights).sum(dim=-1, keepdim=True)
            out = out + expert(x) * share
        return out.reshape(batch, length, dim)
