"""A decoder in the manner of Cohere2: parallel attention and MLP behind one norm, sliding-window layers with rotary places
between full layers without any, interleaved rotation, scaled logits."""
from typing import Optional, Tuple

import torch
import torch.utils.checkpoint
from torch import nn


class Cohere2LikeConfig:
    def __init__(self, vocab_size=48, hidden_size=32, intermediate_size=64, num_layers=4, num_heads=4, num_kv_heads=2,
                 sliding_window=4, pattern=4, logit_scale=0.0625, eps=1e-5, rope_theta=50000.0):
        self.vocab_size, self.hidden_size, self.intermediate_size = vocab_size, hidden_size, intermediate_size
        self.num_layers, self.num_heads, self.num_kv_heads = num_layers, num_heads, num_kv_heads
        self.sliding_window, self.pattern, self.logit_scale = sliding_window, pattern, logit_scale
        self.eps, self.rope_theta = eps, rope_theta


class Cohere2LikeRotary(nn.Module):
    def __init__(self, config: Cohere2LikeConfig, device: Optional[torch.device] = None):
        super().__init__()
        dim = config.hidden_size // config.num_heads
        exponents = torch.arange(0, dim, 2, dtype=torch.int64, device=device).float() / dim
        self.register_buffer("inv_freq", 1.0 / (config.rope_theta**exponents), persistent=False)

    @torch.no_grad()
    def forward(self, x: torch.Tensor, position_ids: torch.LongTensor) -> Tuple[torch.Tensor, torch.Tensor]:
        inv_freq = self.inv_freq[None, :, None].float().expand(position_ids.shape[0], -1, 1).to(x.device)
        positions = position_ids[:, None, :].float()
        device_type = x.device.type if isinstance(x.device.type, str) and x.device.type != "mps" else "cpu"
        with torch.autocast(device_type=device_type, enabled=False):  # float32 throughout
            freqs = (inv_freq.float() @ positions.float()).transpose(1, 2)
            emb = torch.repeat_interleave(freqs, 2, dim=-1)
            cos = emb.cos()
            sin = emb.sin()
        return cos.to(dtype=x.dtype), sin.to(dtype=x.dtype)


class Cohere2LikeLayerNorm(nn.Module):
    """A layer norm without bias."""

    def __init__(self, hidden_size, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, hidden_states):
        input_dtype = hidden_states.dtype
        hidden_states = hidden_states.to(torch.float32)
        mean = hidden_states.mean(-1, keepdim=True)
        variance = (hidden_states - mean).pow(2).mean(-1, keepdim=True)
        hidden_states = (hidden_states - mean) * torch.rsqrt(variance + self.eps)
        return (self.weight.to(torch.float32) * hidden_states).to(input_dtype)


def rotate_half(x):
    x1 = x[..., ::2]
    x2 = x[..., 1::2]
    return torch.stack([-x2, x1], dim=-1).flatten(-2)


def repeat_kv(hidden_states: torch.Tensor, n_rep: int) -> torch.Tensor:
    batch, heads, length, dim = hidden_states.shape
    if n_rep == 1:
        return hidden_states
    hidden_states = hidden_states[:, :, None, :, :].expand(batch, heads, n_rep, length, dim)
    return hidden_states.reshape(batch, heads * n_rep, length, dim)


class Cohere2LikeAttention(nn.Module):
    def __init__(self, config: Cohere2LikeConfig, layer_idx: int):
        super().__init__()
        self.head_dim = config.hidden_size // config.num_heads
        self.groups = config.num_heads // config.num_kv_heads
        self.scaling = self.head_dim**-0.5
        self.sliding_window = config.sliding_window if (layer_idx + 1) % config.pattern != 0 else None
        self.q_proj = nn.Linear(config.hidden_size, config.num_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, config.num_kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, config.num_kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(config.num_heads * self.head_dim, config.hidden_size, bias=False)

    def forward(self, hidden_states: torch.Tensor, rotary: Tuple[torch.Tensor, torch.Tensor],
                attention_mask: Optional[torch.Tensor] = None) -> torch.Tensor:
        shape = hidden_states.size()[:-1] + (-1, self.head_dim)
        query = self.q_proj(hidden_states).view(shape).transpose(1, 2)
        key = self.k_proj(hidden_states).view(shape).transpose(1, 2)
        value = self.v_proj(hidden_states).view(shape).transpose(1, 2)
        if self.sliding_window is not None:
            cos, sin = rotary[0].unsqueeze(1), rotary[1].unsqueeze(1)
            query = query * cos + rotate_half(query) * sin
            key = key * cos + rotate_half(key) * sin
        key, value = repeat_kv(key, self.groups), repeat_kv(value, self.groups)
        scores = torch.matmul(query, key.transpose(2, 3)) * self.scaling
        if attention_mask is not None:
            scores = scores + attention_mask[:, :, :, : key.shape[-2]]
        probs = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        output = torch.matmul(probs, value).transpose(1, 2).contiguous()
        return self.o_proj(output.reshape(hidden_states.size(0), hidden_states.size(1), -1))


class Cohere2LikeMLP(nn.Module):
    def __init__(self, config: Cohere2LikeConfig):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act_fn = nn.SiLU(inplace=True)

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class Cohere2LikeDecoderLayer(nn.Module):
    def __init__(self, config: Cohere2LikeConfig, layer_idx: int):
        super().__init__()
        self.self_attn = Cohere2LikeAttention(config, layer_idx)
        self.mlp = Cohere2LikeMLP(config)
        self.input_layernorm = Cohere2LikeLayerNorm(config.hidden_size, eps=config.eps)
        self.is_sliding = self.self_attn.sliding_window is not None

    def forward(self, hidden_states, rotary, full_mask, sliding_mask):
        residual = hidden_states
        hidden_states = self.input_layernorm(hidden_states)
        mask = sliding_mask if self.is_sliding else full_mask
        return residual + self.self_attn(hidden_states, rotary, mask) + self.mlp(hidden_states)


class Cohere2LikeForCausalLM(nn.Module):
    def __init__(self, config: Cohere2LikeConfig):
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([Cohere2LikeDecoderLayer(config, i) for i in range(config.num_layers)])
        self.norm = Cohere2LikeLayerNorm(config.hidden_size, eps=config.eps)
        self.rotary_emb = Cohere2LikeRotary(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        for module in self.modules():
            self._init_weights(module)

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=0.02)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)

    def masks(self, inputs_embeds: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        dtype, device = inputs_embeds.dtype, inputs_embeds.device
        length = inputs_embeds.size(1)
        min_dtype = torch.finfo(dtype).min
        full = torch.full((length, length), fill_value=min_dtype, dtype=dtype, device=device)
        full = torch.triu(full, diagonal=1)
        places = torch.arange(length, device=device)
        outside = (places[:, None] - places[None, :]) >= self.config.sliding_window
        sliding = full.masked_fill(outside, min_dtype)
        return full[None, None, :, :], sliding[None, None, :, :]

    def forward(self, input_ids: torch.LongTensor) -> torch.Tensor:
        hidden_states = self.embed_tokens(input_ids)
        position_ids = torch.arange(hidden_states.shape[1], device=hidden_states.device).unsqueeze(0)
        rotary = self.rotary_emb(hidden_states, position_ids)
        full_mask, sliding_mask = self.masks(hidden_states)
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                hidden_states = torch.utils.checkpoint.checkpoint(
                    layer, hidden_states, rotary, full_mask, sliding_mask, use_reentrant=False
                )
            else:
                hidden_states = layer(hidden_states, rotary, full_mask, sliding_mask)
        return self.lm_head(self.norm(hidden_states)) * self.config.logit_scale
