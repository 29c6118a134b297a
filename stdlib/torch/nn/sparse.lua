-- torch.nn.sparse: look-up tables.
local core = require "torch.nn.core"
local torch = require "torch"
local layer = require "torch.nn.layer"
local nn, F = torch.nn, torch.nn.functional

local M = {}

local function padding_row(a)
  local i, n = a.padding_idx, a.num_embeddings
  if i == nil then return nil end
  if i >= n or i < -n then error("Padding_idx must be within num_embeddings", 4) end
  return i < 0 and i + n or i
end

local function make_weight(self, a)
  if a._weight == nil then
    self.weight = core.Parameter(torch.empty({ a.num_embeddings, a.embedding_dim }, { dtype = a.dtype, device = a.device }),
      not a._freeze)
    return self:reset_parameters()
  end
  if a._weight.shape ~= { a.num_embeddings, a.embedding_dim } then
    error("Shape of weight does not match num_embeddings and embedding_dim", 4)
  end
  self.weight = core.Parameter(a._weight, not a._freeze)
end

local function reset(self)
  nn.init.normal_(self.weight)
  if self.padding_idx ~= nil then torch.no_grad(function() self.weight[self.padding_idx]:zero_() end) end
end

local function describe(self, mode)
  local text = require "torch.nn.text"
  local parts = { ("%d, %d"):format(self.num_embeddings, self.embedding_dim) }
  local function add(name, default)
    if self[name] ~= default then parts[#parts + 1] = name .. "=" .. text.py(self[name]) end
  end
  if not mode then add("padding_idx") end
  add("max_norm")
  add("norm_type", 2.0)
  add("scale_grad_by_freq", false)
  if mode then
    parts[#parts + 1] = "mode=" .. text.py(self.mode)
    add("padding_idx")
  elseif self.sparse then parts[#parts + 1] = "sparse=True" end
  return table.concat(parts, ", ")
end

-- Class.from_pretrained(embeddings, freeze = true, more...): a layer over a given matrix.
local function from_pretrained(class, names)
  return function(...)
    local first = ...
    local given = table.pack(core.spread("from_pretrained", names, select(first == class and 2 or 1, ...)))
    local kw = {}
    for i, name in ipairs(names) do kw[name] = given[i] end
    local embeddings = kw.embeddings
    if not torch.is_tensor(embeddings) or embeddings.ndim ~= 2 then
      error("Embeddings parameter is expected to be 2-dimensional", 2)
    end
    local freeze = kw.freeze == nil or kw.freeze
    kw.embeddings, kw.freeze, kw._weight = nil, nil, embeddings
    kw.num_embeddings, kw.embedding_dim = embeddings:size(0), embeddings:size(1)
    local m = class(kw)
    m.weight.requires_grad = not freeze
    return m
  end
end

layer.define(M, [[Embedding(num_embeddings: int, embedding_dim: int, padding_idx: int = None, max_norm: float = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False, _weight = None, _freeze: bool = False, device = None, dtype = None)]], {
  doc = "A table of vectors, looked up by integer; row padding_idx starts at zero and gets no gradient.",
  example = "nn.Embedding(10, 3)(torch.tensor{1, 2}).shape", see = "nn.EmbeddingBag F.embedding",
  init = function(self, a)
    self.num_embeddings, self.embedding_dim, self.padding_idx = a.num_embeddings, a.embedding_dim, padding_row(a)
    self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse = a.max_norm, a.norm_type, a.scale_grad_by_freq, a.sparse
    make_weight(self, a)
  end,
  forward = function(self, x)
    return F.embedding(x, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse)
  end,
  methods = { reset_parameters = reset, extra_repr = function(self) return describe(self) end },
})
M.Embedding.from_pretrained = from_pretrained(M.Embedding,
  { "embeddings", "freeze", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse" })

layer.define(M, [[EmbeddingBag(num_embeddings: int, embedding_dim: int, max_norm: float = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False, mode: str = 'mean', sparse: bool = False, _weight = None, include_last_offset: bool = False, padding_idx: int = None, device = None, dtype = None)]], {
  doc = "Sums, means or maxima of the rows of each bag of indices.",
  example = "nn.EmbeddingBag(10, 3)(torch.tensor{{1, 2}, {4, 5}}).shape", see = "nn.Embedding",
  init = function(self, a)
    self.num_embeddings, self.embedding_dim, self.padding_idx = a.num_embeddings, a.embedding_dim, padding_row(a)
    self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse = a.max_norm, a.norm_type, a.scale_grad_by_freq, a.sparse
    self.mode, self.include_last_offset = a.mode, a.include_last_offset
    make_weight(self, a)
  end,
  arguments = "input offsets per_sample_weights",
  forward = function(self, x, offsets, per_sample_weights)
    return (F.embedding_bag(x, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode,
      self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx))
  end,
  methods = { reset_parameters = reset, extra_repr = function(self) return describe(self, true) end },
})
M.EmbeddingBag.from_pretrained = from_pretrained(M.EmbeddingBag, { "embeddings", "freeze", "max_norm", "norm_type",
  "scale_grad_by_freq", "mode", "sparse", "include_last_offset", "padding_idx" })

return M
