-- torch.nn.attention: attention of several heads and the transformer made of it.
local torch = require "torch"
local core = require "torch.nn.core"
local layer = require "torch.nn.layer"
local nn, F = torch.nn, torch.nn.functional

local M = {}
local None = torch.None

-- ---- attention ----
local OutProjection = nn.Linear:extend("NonDynamicallyQuantizableLinear")

local function reset_attention(self)
  if self._qkv_same_embed_dim then nn.init.xavier_uniform_(self.in_proj_weight)
  else
    for _, name in ipairs { "q_proj_weight", "k_proj_weight", "v_proj_weight" } do nn.init.xavier_uniform_(self[name]) end
  end
  if self.in_proj_bias ~= nil then
    nn.init.constant_(self.in_proj_bias, 0.0)
    nn.init.constant_(self.out_proj.bias, 0.0)
  end
  if self.bias_k ~= nil then
    nn.init.xavier_normal_(self.bias_k)
    nn.init.xavier_normal_(self.bias_v)
  end
end

-- Inputs with the batch first change places; what was one tensor stays one, so that it is projected in one product.
local function length_first(q, k, v)
  local q1 = q:transpose(0, 1)
  local k1 = k == q and q1 or k:transpose(0, 1)
  return q1, k1, v == k and k1 or v == q and q1 or v:transpose(0, 1)
end

layer.define(M, [[MultiheadAttention(embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int = None, vdim: int = None, batch_first: bool = False, device = None, dtype = None)]], {
  doc = "softmax(q k^T / sqrt(width)) v in several heads, between projections: `local y, weights = mha(q, k, v, {key_padding_mask =, need_weights =, attn_mask =, average_attn_weights =, is_causal =})`; a true mask entry is left out.",
  example = "(nn.MultiheadAttention(4, 2)(torch.ones(3, 1, 4), torch.ones(5, 1, 4), torch.ones(5, 1, 4))).shape",
  see = "F.multi_head_attention_forward F.scaled_dot_product_attention nn.TransformerEncoderLayer",
  init = function(self, a)
    if a.embed_dim <= 0 or a.num_heads <= 0 then
      error(("embed_dim and num_heads must be greater than 0, got embed_dim=%d and num_heads=%d instead")
        :format(a.embed_dim, a.num_heads), 3)
    end
    if a.embed_dim % a.num_heads ~= 0 then error("embed_dim must be divisible by num_heads", 3) end
    local E = a.embed_dim
    self.embed_dim, self.kdim, self.vdim = E, a.kdim or E, a.vdim or E
    self._qkv_same_embed_dim = self.kdim == E and self.vdim == E
    self.num_heads, self.dropout, self.batch_first = a.num_heads, a.dropout, a.batch_first
    self.head_dim, self.add_zero_attn = E // a.num_heads, a.add_zero_attn
    if self._qkv_same_embed_dim then
      self.in_proj_weight = layer.parameter(a, 3 * E, E)
      for _, name in ipairs { "q_proj_weight", "k_proj_weight", "v_proj_weight" } do self:register_parameter(name, nil) end
    else
      self.q_proj_weight = layer.parameter(a, E, E)
      self.k_proj_weight = layer.parameter(a, E, self.kdim)
      self.v_proj_weight = layer.parameter(a, E, self.vdim)
      self:register_parameter("in_proj_weight", nil)
    end
    if a.bias then self.in_proj_bias = layer.parameter(a, 3 * E) else self:register_parameter("in_proj_bias", nil) end
    self.out_proj = OutProjection(E, E, { bias = a.bias, device = a.device, dtype = a.dtype })
    for _, name in ipairs { "bias_k", "bias_v" } do
      if a.add_bias_kv then self[name] = layer.parameter(a, 1, 1, E) else self:register_parameter(name, nil) end
    end
    self:_reset_parameters()
  end,
  forward = function(self, ...)
    local q, k, v, padding, need, mask, average, causal = core.spread("forward", { "query", "key", "value", "key_padding_mask",
      "need_weights", "attn_mask", "average_attn_weights", "is_causal" }, ...)
    if not (torch.is_tensor(q) and torch.is_tensor(k) and torch.is_tensor(v)) then
      error("MultiheadAttention: query, key and value must be Tensors", 2)
    end
    if need == nil then need = true end
    if average == nil then average = true end
    local swap = self.batch_first and q.ndim == 3 and k.ndim == 3 and v.ndim == 3
    if swap then q, k, v = length_first(q, k, v) end
    local out = self.out_proj
    local y, w = F.multi_head_attention_forward(q, k, v, self.embed_dim, self.num_heads, self.in_proj_weight or None,
      self.in_proj_bias or None, self.bias_k or None, self.bias_v or None, self.add_zero_attn, self.dropout, out.weight,
      out.bias or None, { training = self.training, key_padding_mask = padding, need_weights = need, attn_mask = mask,
        use_separate_proj_weight = not self._qkv_same_embed_dim, q_proj_weight = self.q_proj_weight,
        k_proj_weight = self.k_proj_weight, v_proj_weight = self.v_proj_weight, average_attn_weights = average,
        is_causal = causal or false })
    return swap and y:transpose(0, 1) or y, w
  end,
  methods = { _reset_parameters = reset_attention },
})

-- ---- the transformer's layers ----
local activations = { relu = F.relu, gelu = F.gelu }
local function activation_of(a)
  if type(a) ~= "string" then return a end
  return activations[a] or error("activation should be relu/gelu, not " .. a, 4)
end

-- A mask as addend, checked.
local function canonical(mask, name, dtype)
  if mask == nil or mask == None then return nil end
  if mask.dtype ~= torch.bool and not mask.dtype.is_floating_point then
    error("only bool and floating types of " .. name .. " are supported", 4)
  end
  if mask.dtype ~= torch.bool then return mask end
  return torch.zeros_like(mask, { dtype = dtype }):masked_fill_(mask, -math.huge)
end

-- The parts that encoder and decoder layers share, in the reference's order.
local function add_parts(self, a, attentions, norms)
  local extra = { device = a.device, dtype = a.dtype }
  local function with(t) t.device, t.dtype = extra.device, extra.dtype return t end
  for _, name in ipairs(attentions) do
    self[name] = M.MultiheadAttention(a.d_model, a.nhead, with { dropout = a.dropout, batch_first = a.batch_first, bias = a.bias })
  end
  self.linear1 = nn.Linear(a.d_model, a.dim_feedforward, with { bias = a.bias })
  self.dropout = nn.Dropout(a.dropout)
  self.linear2 = nn.Linear(a.dim_feedforward, a.d_model, with { bias = a.bias })
  self.norm_first = a.norm_first
  for i = 1, norms do self["norm" .. i] = nn.LayerNorm(a.d_model, with { eps = a.layer_norm_eps, bias = a.bias }) end
  for i = 1, norms do self["dropout" .. i] = nn.Dropout(a.dropout) end
  self.activation = activation_of(a.activation)
end
local function attend(attention, dropout, q, kv, mask, padding, causal)
  return dropout((attention(q, kv, kv, { attn_mask = mask, key_padding_mask = padding, need_weights = false, is_causal = causal })))
end
local function feed(self, dropout, x) return dropout(self.linear2(self.dropout(self.activation(self.linear1(x))))) end

local sizes = [[dim_feedforward: int = 2048, dropout: float = 0.1, activation = 'relu', layer_norm_eps: float = 1e-05, batch_first: bool = False, norm_first: bool = False, bias: bool = True, device = None, dtype = None]]
layer.define(M, "TransformerEncoderLayer(d_model: int, nhead: int, " .. sizes .. ")", {
  doc = "Self-attention and a two-layer network, each with a residual and a norm.",
  example = "nn.TransformerEncoderLayer(4, 2, 8)(torch.ones(3, 1, 4)).shape", see = "nn.TransformerEncoder nn.MultiheadAttention",
  init = function(self, a) add_parts(self, a, { "self_attn" }, 2) end,
  forward = function(self, ...)
    local x, mask, padding, causal = core.spread("forward", { "src", "src_mask", "src_key_padding_mask", "is_causal" }, ...)
    padding, mask = canonical(padding, "src_key_padding_mask", x.dtype), canonical(mask, "src_mask", x.dtype)
    local function sa(y) return attend(self.self_attn, self.dropout1, y, y, mask, padding, causal) end
    if self.norm_first then
      x = x + sa(self.norm1(x))
      return x + feed(self, self.dropout2, self.norm2(x))
    end
    x = self.norm1(x + sa(x))
    return self.norm2(x + feed(self, self.dropout2, x))
  end,
})

layer.define(M, "TransformerDecoderLayer(d_model: int, nhead: int, " .. sizes .. ")", {
  doc = "Self-attention, attention to an encoder's output and a two-layer network, each with a residual and a norm.",
  example = "nn.TransformerDecoderLayer(4, 2, 8)(torch.ones(3, 1, 4), torch.ones(5, 1, 4)).shape",
  see = "nn.TransformerDecoder nn.MultiheadAttention",
  init = function(self, a) add_parts(self, a, { "self_attn", "multihead_attn" }, 3) end,
  forward = function(self, ...)
    local x, memory, mask, mmask, padding, mpadding, causal, mcausal = core.spread("forward", { "tgt", "memory", "tgt_mask",
      "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask", "tgt_is_causal", "memory_is_causal" }, ...)
    local function sa(y) return attend(self.self_attn, self.dropout1, y, y, mask, padding, causal) end
    local function ca(y) return attend(self.multihead_attn, self.dropout2, y, memory, mmask, mpadding, mcausal) end
    if self.norm_first then
      x = x + sa(self.norm1(x))
      x = x + ca(self.norm2(x))
      return x + feed(self, self.dropout3, self.norm3(x))
    end
    x = self.norm1(x + sa(x))
    x = self.norm2(x + ca(x))
    return self.norm3(x + feed(self, self.dropout3, x))
  end,
})

-- ---- stacks ----
local function square_mask(sz, dtype, device)
  return torch.full({ sz, sz }, -math.huge, { dtype = dtype, device = device }):triu(1)
end
-- Is the mask the causal one?  true and false are taken as given.
local function detect_causal(mask, causal, size)
  if causal ~= nil then return causal end
  if mask == nil or mask == None or not torch.is_tensor(mask) or mask.dtype == torch.bool then return false end
  if mask.ndim ~= 2 or mask:size(0) ~= size or mask:size(1) ~= size then return false end
  return torch.no_grad(function() return mask:eq(square_mask(size, mask.dtype, mask.device)):all():item() end)
end
local function length_of(x, batch_first)
  if x.ndim == 2 then return x:size(0) end
  return x:size(batch_first and 1 or 0)
end
local function copies(m, n)
  local list = {}
  for i = 1, n do list[i] = m:clone() end
  return nn.ModuleList(list)
end

-- PyTorch's inference path drops the padding of such an encoder: what comes out there is 0.
local function drops_padding(self, x, padding)
  local first = self.layers[0]
  if not self.enable_nested_tensor or first == nil or first.training or x.ndim ~= 3 or padding == nil then return false end
  if not first:isinstance(M.TransformerEncoderLayer) or first.norm_first then return false end
  local a = first.self_attn
  local activation = first.activation
  if activation ~= F.relu and activation ~= F.gelu and not (core.is_module(activation)
    and (activation:isinstance(nn.ReLU) or activation:isinstance(nn.GELU))) then return false end
  if not a.batch_first or a.in_proj_bias == nil or not a._qkv_same_embed_dim or a.num_heads % 2 == 1
    or first.norm1.eps ~= first.norm2.eps then return false end
  if torch.is_grad_enabled() then
    if x.requires_grad then return false end
    for _, p in ipairs(first:parameters()) do if p.requires_grad then return false end end
  end
  if not self.mask_check then return true end
  local keep = padding:eq(0)
  local before, after = keep:narrow(1, 0, keep:size(1) - 1), keep:narrow(1, 1, keep:size(1) - 1)
  return not after:logical_and(before:logical_not()):any():item()
end

layer.define(M, "TransformerEncoder(encoder_layer, num_layers: int, norm = None, enable_nested_tensor: bool = True, mask_check: bool = True)", {
  doc = "num_layers copies of an encoder layer in a row, then a norm.",
  example = "nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2)(torch.ones(3, 1, 4)).shape", see = "nn.TransformerEncoderLayer",
  init = function(self, a)
    self.layers = copies(a.encoder_layer, a.num_layers)
    self.num_layers, self.norm = a.num_layers, a.norm
    self.enable_nested_tensor, self.mask_check = a.enable_nested_tensor, a.mask_check
  end,
  forward = function(self, ...)
    local x, mask, padding, causal = core.spread("forward", { "src", "mask", "src_key_padding_mask", "is_causal" }, ...)
    padding, mask = canonical(padding, "src_key_padding_mask", x.dtype), canonical(mask, "mask", x.dtype)
    local first = self.layers[0].self_attn
    causal = detect_causal(mask, causal, length_of(x, first and first.batch_first))
    local dropped = drops_padding(self, x, padding)
    for _, m in pairs(self.layers) do x = m(x, { src_mask = mask, is_causal = causal, src_key_padding_mask = padding }) end
    if dropped then x = x:masked_fill(padding:ne(0):unsqueeze(-1), 0.0) end
    if self.norm ~= nil then x = self.norm(x) end
    return x
  end,
})

layer.define(M, "TransformerDecoder(decoder_layer, num_layers: int, norm = None)", {
  doc = "num_layers copies of a decoder layer in a row, then a norm.",
  example = "nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8), 2)(torch.ones(3, 1, 4), torch.ones(5, 1, 4)).shape",
  see = "nn.TransformerDecoderLayer",
  init = function(self, a)
    self.layers = copies(a.decoder_layer, a.num_layers)
    self.num_layers, self.norm = a.num_layers, a.norm
  end,
  forward = function(self, ...)
    local x, memory, mask, mmask, padding, mpadding, causal, mcausal = core.spread("forward", { "tgt", "memory", "tgt_mask",
      "memory_mask", "tgt_key_padding_mask", "memory_key_padding_mask", "tgt_is_causal", "memory_is_causal" }, ...)
    local first = self.layers[0].self_attn
    causal = detect_causal(mask, causal, length_of(x, first and first.batch_first))
    for _, m in pairs(self.layers) do
      x = m(x, memory, { tgt_mask = mask, memory_mask = mmask, tgt_key_padding_mask = padding, memory_key_padding_mask = mpadding,
        tgt_is_causal = causal, memory_is_causal = mcausal })
    end
    if self.norm ~= nil then x = self.norm(x) end
    return x
  end,
})

layer.define(M, [[Transformer(d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6, dim_feedforward: int = 2048, dropout: float = 0.1, activation = 'relu', custom_encoder = None, custom_decoder = None, layer_norm_eps: float = 1e-05, batch_first: bool = False, norm_first: bool = False, bias: bool = True, device = None, dtype = None)]], {
  doc = "An encoder and a decoder: `model(src, tgt, {src_mask =, tgt_mask =, ...})`.",
  example = "nn.Transformer(4, 2, 1, 1, 8)(torch.ones(3, 1, 4), torch.ones(2, 1, 4)).shape",
  see = "nn.TransformerEncoder nn.TransformerDecoder",
  init = function(self, a)
    local kw = { dim_feedforward = a.dim_feedforward, dropout = a.dropout, activation = a.activation, layer_norm_eps = a.layer_norm_eps,
      batch_first = a.batch_first, norm_first = a.norm_first, bias = a.bias, device = a.device, dtype = a.dtype }
    local norm = { eps = a.layer_norm_eps, bias = a.bias, device = a.device, dtype = a.dtype }
    if a.custom_encoder then self.encoder = a.custom_encoder
    else
      local one = M.TransformerEncoderLayer(a.d_model, a.nhead, kw)
      self.encoder = M.TransformerEncoder(one, a.num_encoder_layers, nn.LayerNorm(a.d_model, norm))
    end
    if a.custom_decoder then self.decoder = a.custom_decoder
    else
      local one = M.TransformerDecoderLayer(a.d_model, a.nhead, kw)
      self.decoder = M.TransformerDecoder(one, a.num_decoder_layers, nn.LayerNorm(a.d_model, norm))
    end
    self:_reset_parameters()
    self.d_model, self.nhead, self.batch_first = a.d_model, a.nhead, a.batch_first
  end,
  forward = function(self, ...)
    local src, tgt, smask, tmask, mmask, spad, tpad, mpad, scausal, tcausal, mcausal = core.spread("forward", { "src", "tgt", "src_mask",
      "tgt_mask", "memory_mask", "src_key_padding_mask", "tgt_key_padding_mask", "memory_key_padding_mask", "src_is_causal",
      "tgt_is_causal", "memory_is_causal" }, ...)
    local batched = src.ndim == 3
    if batched and src:size(self.batch_first and 0 or 1) ~= tgt:size(self.batch_first and 0 or 1) then
      error("the batch number of src and tgt must be equal", 2)
    end
    if src:size(-1) ~= self.d_model or tgt:size(-1) ~= self.d_model then
      error("the feature number of src and tgt must be equal to d_model", 2)
    end
    local memory = self.encoder(src, { mask = smask, src_key_padding_mask = spad, is_causal = scausal })
    return self.decoder(tgt, memory, { tgt_mask = tmask, memory_mask = mmask, tgt_key_padding_mask = tpad,
      memory_key_padding_mask = mpad, tgt_is_causal = tcausal, memory_is_causal = mcausal })
  end,
  methods = {
    _reset_parameters = function(self)
      for _, p in ipairs(self:parameters()) do if p.ndim > 1 then nn.init.xavier_uniform_(p) end end
    end,
  },
})
--- The mask that lets position i see positions up to i: 0 there, -inf elsewhere.
function M.Transformer.generate_square_subsequent_mask(...)
  local first = ...
  local sz, device, dtype = core.spread("generate_square_subsequent_mask", { "sz", "device", "dtype" },
    select(math.type(first) and 1 or 2, ...))
  return square_mask(sz, dtype, device)
end

return M
