"""An encoder in the manner of I-BERT: weights and activations pass through symmetric integer quantisation with a straight-through
gradient; the rest is BERT."""
import math
from typing import Optional

import torch
from torch import nn
from torch.nn import CrossEntropyLoss


class IBertLikeConfig:
    def __init__(self, vocab_size=40, hidden_size=32, num_layers=2, num_heads=4, intermediate_size=64, max_position=20,
                 quant_mode=True, weight_bit=8, act_bit=8, num_labels=3):
        self.vocab_size, self.hidden_size, self.num_layers = vocab_size, hidden_size, num_layers
        self.num_heads, self.intermediate_size, self.max_position = num_heads, intermediate_size, max_position
        self.quant_mode, self.weight_bit, self.act_bit, self.num_labels = quant_mode, weight_bit, act_bit, num_labels


def symmetric_scale(num_bits, low, high):
    """The scale that maps [low, high] onto the signed integers of num_bits bits."""
    n = 2 ** (num_bits - 1) - 1
    scale = torch.max(torch.abs(low), torch.abs(high))
    return torch.clamp(scale, min=1e-8) / n


def quantise(x: torch.Tensor, num_bits: int, scale: torch.Tensor) -> torch.Tensor:
    """Rounds to the grid; the gradient passes straight through."""
    n = 2 ** (num_bits - 1) - 1
    rounded = torch.clamp(torch.round(x / scale), -n, n) * scale
    return x + (rounded - x).detach()


class QuantLinear(nn.Module):
    def __init__(self, inputs, outputs, weight_bit=8, quant_mode=False):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros([outputs, inputs]))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight_bit, self.quant_mode = weight_bit, quant_mode
        self.register_buffer("fc_scaling_factor", torch.zeros(outputs), persistent=False)
        nn.init.normal_(self.weight, std=0.05)

    def forward(self, x):
        weight = self.weight
        if self.quant_mode:
            w = weight.detach()
            scale = symmetric_scale(self.weight_bit, w.min(dim=1)[0], w.max(dim=1)[0])
            weight = quantise(weight, self.weight_bit, scale.unsqueeze(1))
        return nn.functional.linear(x, weight=weight, bias=self.bias)


class QuantAct(nn.Module):
    def __init__(self, act_bit, quant_mode=False):
        super().__init__()
        self.act_bit, self.quant_mode = act_bit, quant_mode

    def forward(self, x):
        if not self.quant_mode:
            return x
        limit = torch.abs(x.detach()).max()
        return quantise(x, self.act_bit, symmetric_scale(self.act_bit, -limit, limit))


class IBertLikeEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=0)
        self.position_embeddings = nn.Embedding(config.max_position, config.hidden_size)
        self.register_buffer("position_ids", torch.arange(config.max_position).expand((1, -1)), persistent=False)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=1e-5)
        self.output_activation = QuantAct(config.act_bit, quant_mode=config.quant_mode)

    def forward(self, input_ids):
        position_ids = self.position_ids[:, : input_ids.size(1)]
        embeddings = self.word_embeddings(input_ids) + self.position_embeddings(position_ids)
        return self.output_activation(self.LayerNorm(embeddings))


class IBertLikeSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_heads, self.head_size = config.num_heads, config.hidden_size // config.num_heads
        self.query = QuantLinear(config.hidden_size, config.hidden_size, config.weight_bit, config.quant_mode)
        self.key = QuantLinear(config.hidden_size, config.hidden_size, config.weight_bit, config.quant_mode)
        self.value = QuantLinear(config.hidden_size, config.hidden_size, config.weight_bit, config.quant_mode)
        self.output = QuantLinear(config.hidden_size, config.hidden_size, config.weight_bit, config.quant_mode)
        self.dropout = nn.Dropout(0.1)

    def transpose_for_scores(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.size()[:-1], self.num_heads, self.head_size).permute(0, 2, 1, 3)

    def forward(self, hidden_states, attention_mask: Optional[torch.FloatTensor] = None):
        query = self.transpose_for_scores(self.query(hidden_states))
        key = self.transpose_for_scores(self.key(hidden_states))
        value = self.transpose_for_scores(self.value(hidden_states))
        scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(self.head_size)
        if attention_mask is not None:
            scores = scores + attention_mask
        probs = self.dropout(nn.functional.softmax(scores, dim=-1))
        context = torch.matmul(probs, value).permute(0, 2, 1, 3).contiguous()
        return self.output(context.view(hidden_states.size()))


class IBertLikeLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = IBertLikeSelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=1e-5)
        self.intermediate = QuantLinear(config.hidden_size, config.intermediate_size, config.weight_bit, config.quant_mode)
        self.intermediate_act = nn.GELU()
        self.output = QuantLinear(config.intermediate_size, config.hidden_size, config.weight_bit, config.quant_mode)
        self.output_norm = nn.LayerNorm(config.hidden_size, eps=1e-5)
        self.output_activation = QuantAct(config.act_bit, config.quant_mode)

    def forward(self, hidden_states, attention_mask=None):
        hidden_states = self.attention_norm(hidden_states + self.attention(hidden_states, attention_mask))
        output = self.output(self.intermediate_act(self.intermediate(hidden_states)))
        return self.output_activation(self.output_norm(hidden_states + output))


class IBertLikeForSequenceClassification(nn.Module):
    def __init__(self, config: IBertLikeConfig):
        super().__init__()
        self.num_labels = config.num_labels
        self.embeddings = IBertLikeEmbeddings(config)
        self.layers = nn.ModuleList(IBertLikeLayer(config) for _ in range(config.num_layers))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids: torch.LongTensor, attention_mask: Optional[torch.Tensor] = None, labels: Optional[torch.LongTensor] = None):
        device = input_ids.device
        if attention_mask is None:
            attention_mask = torch.ones(input_ids.size(), device=device)
        hidden_states = self.embeddings(input_ids)
        mask = (1.0 - attention_mask[:, None, None, :].to(hidden_states.dtype)) * torch.finfo(hidden_states.dtype).min
        for layer in self.layers:
            hidden_states = layer(hidden_states, mask)
        logits = self.classifier(hidden_states[:, 0])
        if labels is None:
            return logits
        labels = labels.to(logits.device)
        loss_fct = CrossEntropyLoss()
        return loss_fct(logits.view(-1, self.num_labels), labels.view(-1)), logits
