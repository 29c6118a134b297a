"""A T5 encoder: relative buckets instead of places, no bias in the norm."""
import math

import torch
from torch import nn


class T5LayerNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, hidden_states):
        variance = hidden_states.to(torch.float32).pow(2).mean(-1, keepdim=True)
        hidden_states = hidden_states * torch.rsqrt(variance + self.variance_epsilon)
        if self.weight.dtype in [torch.float16, torch.bfloat16]:
            hidden_states = hidden_states.to(self.weight.dtype)
        return self.weight * hidden_states


class Attention(nn.Module):
    def __init__(self, dim, heads, buckets=8, distance=16, relative=False):
        super().__init__()
        self.heads, self.key_size, self.buckets, self.distance = heads, dim // heads, buckets, distance
        self.q, self.k = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.v, self.o = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.relative = nn.Embedding(buckets, heads) if relative else None

    def bucket(self, position):
        n = self.buckets // 2
        ret = (position > 0).to(torch.long) * n
        position = torch.abs(position)
        exact = n // 2
        is_small = position < exact
        large = exact + (torch.log(position.float() / exact + 1e-6) / math.log(self.distance / exact) * (n - exact)).to(torch.long)
        large = torch.min(large, torch.full_like(large, n - 1))
        return ret + torch.where(is_small, position, large)

    def bias(self, length, device=None):
        context = torch.arange(length, dtype=torch.long, device=device)[:, None]
        memory = torch.arange(length, dtype=torch.long, device=device)[None, :]
        values = self.relative(self.bucket(memory - context))
        return values.permute([2, 0, 1]).unsqueeze(0)

    def forward(self, x, bias=None):
        b, t, c = x.shape

        def shape(y):
            return y.view(b, -1, self.heads, self.key_size).transpose(1, 2)

        scores = torch.matmul(shape(self.q(x)), shape(self.k(x)).transpose(3, 2))
        if bias is None:
            bias = self.bias(t, device=scores.device)
        probs = nn.functional.softmax((scores + bias).float(), dim=-1).type_as(scores)
        y = torch.matmul(probs, shape(self.v(x))).transpose(1, 2).contiguous().view(b, -1, c)
        return self.o(y), bias


class Block(nn.Module):
    def __init__(self, dim, heads, relative):
        super().__init__()
        self.attention = Attention(dim, heads, relative=relative)
        self.norm1, self.norm2 = T5LayerNorm(dim), T5LayerNorm(dim)
        self.wi, self.wo = nn.Linear(dim, 2 * dim, bias=False), nn.Linear(2 * dim, dim, bias=False)
        self.act = nn.ReLU()

    def forward(self, x, bias=None):
        y, bias = self.attention(self.norm1(x), bias)
        x = x + y
        return x + self.wo(self.act(self.wi(self.norm2(x)))), bias


class T5Encoder(nn.Module):
    def __init__(self, vocab_size=30, dim=32, heads=4, layers=2):
        super().__init__()
        self.shared = nn.Embedding(vocab_size, dim)
        self.blocks = nn.ModuleList([Block(dim, heads, relative=i == 0) for i in range(layers)])
        self.norm = T5LayerNorm(dim)

    def forward(self, input_ids: torch.LongTensor) -> torch.Tensor:
        x, bias = self.shared(input_ids), None
        for block in self.blocks:
            x, bias = block(x, bias)
        return self.norm(x)
