"""An encoder in the manner of BERT with a masked language head."""
import math
from typing import Optional

import torch
from torch import nn


class Config:
    def __init__(self, vocab_size=50, hidden_size=32, num_heads=4, num_layers=2, max_position=24, eps=1e-12):
        self.vocab_size, self.hidden_size, self.num_heads = vocab_size, hidden_size, num_heads
        self.num_layers, self.max_position, self.eps = num_layers, max_position, eps


class Embeddings(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=0)
        self.places = nn.Embedding(config.max_position, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.eps)
        self.register_buffer("position_ids", torch.arange(config.max_position).expand((1, -1)), persistent=False)

    def forward(self, input_ids: torch.LongTensor) -> torch.Tensor:
        length = input_ids.size(1)
        return self.norm(self.words(input_ids) + self.places(self.position_ids[:, :length]))


class SelfAttention(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.num_heads = config.num_heads
        self.head_size = config.hidden_size // config.num_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(0.1)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        new_shape = x.size()[:-1] + (self.num_heads, self.head_size)
        return x.view(new_shape).permute(0, 2, 1, 3)

    def forward(self, x: torch.Tensor, mask: Optional[torch.FloatTensor] = None) -> torch.Tensor:
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(self.head_size)
        if mask is not None:
            scores = scores + mask
        probs = self.dropout(nn.functional.softmax(scores, dim=-1))
        y = torch.matmul(probs, v).permute(0, 2, 1, 3).contiguous()
        return self.dense(y.view(y.size()[:-2] + (self.num_heads * self.head_size,)))


class Layer(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.attention = SelfAttention(config)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.eps)
        self.up = nn.Linear(config.hidden_size, 4 * config.hidden_size)
        self.down = nn.Linear(4 * config.hidden_size, config.hidden_size)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.eps)

    def forward(self, x, mask=None):
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.down(nn.functional.gelu(self.up(x))))


class BertForMaskedLM(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.num_layers)])
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.apply_init()

    def apply_init(self):
        for layer in self.layers:
            nn.init.normal_(layer.up.weight, mean=0.0, std=0.02)
            nn.init.zeros_(layer.up.bias)

    def extend(self, mask: torch.Tensor, dtype: torch.dtype, device: torch.device = None) -> torch.Tensor:
        mask = mask[:, None, None, :].to(device=device, dtype=dtype)
        return (1.0 - mask) * torch.finfo(dtype).min

    def forward(self, input_ids: torch.LongTensor, attention_mask: Optional[torch.Tensor] = None) -> torch.Tensor:
        if attention_mask is None:
            attention_mask = torch.ones(input_ids.size(), device=input_ids.device)
        x = self.embeddings(input_ids)
        mask = self.extend(attention_mask, x.dtype, device=x.device)
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(x) + self.bias
