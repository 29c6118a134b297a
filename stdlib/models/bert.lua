--- models.bert: BERT with transformers' names: configuration, parts, heads, checkpoint folders.
--
--   local bert = require "models.bert"
--   local model = bert.Model(bert.Config{ hidden_size = 64, num_attention_heads = 4 })
--   local out = model(ids, { attention_mask = mask })    -- or model(tokenizer(texts))
--   out.last_hidden_state, out.pooler_output
--   local model, report = bert.from_pretrained(folder)
--
-- Invariant: the parameter names are transformers' own, so a state_dict goes both ways unchanged.
local torch = require "torch"
local nn, F = torch.nn, torch.nn.functional
local json = require "json"

local M = {}

-- ---- configuration ----
local defaults = {
  vocab_size = 30522, hidden_size = 768, num_hidden_layers = 12, num_attention_heads = 12,
  intermediate_size = 3072, hidden_act = "gelu", hidden_dropout_prob = 0.1,
  attention_probs_dropout_prob = 0.1, max_position_embeddings = 512, type_vocab_size = 2,
  initializer_range = 0.02, layer_norm_eps = 1e-12, pad_token_id = 0, num_labels = 2,
  tie_word_embeddings = true,
}

--- A configuration: the defaults of bert-base, overridden by the given fields; others are kept.
function M.Config(given)
  local config = {}
  for k, v in pairs(defaults) do config[k] = v end
  for k, v in pairs(given or {}) do if v ~= json.null then config[k] = v end end
  if config.id2label and not (given or {}).num_labels then
    local n = 0
    for _ in pairs(config.id2label) do n = n + 1 end
    config.num_labels = n
  end
  if config.hidden_size % config.num_attention_heads ~= 0 then
    error(("bert.Config: hidden_size %d is not a multiple of num_attention_heads %d")
      :format(config.hidden_size, config.num_attention_heads), 2)
  end
  local kind = config.position_embedding_type
  if kind and kind ~= "absolute" then
    error("bert.Config: position_embedding_type '" .. kind .. "' is not supported", 2)
  end
  return config
end

local activations = {
  gelu = function(x) return F.gelu(x) end,
  gelu_new = function(x) return F.gelu(x, { approximate = "tanh" }) end,
  gelu_pytorch_tanh = function(x) return F.gelu(x, { approximate = "tanh" }) end,
  relu = function(x) return F.relu(x) end,
  silu = function(x) return F.silu(x) end,
  tanh = function(x) return torch.tanh(x) end,
}

local function activation(name)
  return activations[name] or error("bert: unknown activation '" .. tostring(name) .. "'", 3)
end

-- ---- parts ----
local Embeddings = nn.Module:extend("BertEmbeddings")
M.Embeddings = Embeddings
function Embeddings:init(c)
  self.word_embeddings = nn.Embedding(c.vocab_size, c.hidden_size, { padding_idx = c.pad_token_id })
  self.position_embeddings = nn.Embedding(c.max_position_embeddings, c.hidden_size)
  self.token_type_embeddings = nn.Embedding(c.type_vocab_size, c.hidden_size)
  self.LayerNorm = nn.LayerNorm(c.hidden_size, { eps = c.layer_norm_eps })
  self.dropout = nn.Dropout(c.hidden_dropout_prob)
end
function Embeddings:forward(ids, types, positions)
  types = types or torch.zeros_like(ids)
  positions = positions or torch.arange(ids:size(1)):unsqueeze(0)
  local x = self.word_embeddings(ids) + self.token_type_embeddings(types)
  x = x + self.position_embeddings(positions)
  return self.dropout(self.LayerNorm(x))
end

local SelfAttention = nn.Module:extend("BertSelfAttention")
M.SelfAttention = SelfAttention
function SelfAttention:init(c)
  self.heads, self.head_size = c.num_attention_heads, c.hidden_size // c.num_attention_heads
  self.query = nn.Linear(c.hidden_size, c.hidden_size)
  self.key = nn.Linear(c.hidden_size, c.hidden_size)
  self.value = nn.Linear(c.hidden_size, c.hidden_size)
  self.dropout = nn.Dropout(c.attention_probs_dropout_prob)
end
function SelfAttention:split(x)                     -- batch x length x hidden -> batch x heads x length x head
  return x:view(x:size(0), x:size(1), self.heads, self.head_size):transpose(1, 2)
end
function SelfAttention:forward(x, mask)             -- mask: added to the scores, or nil
  local q, k, v = self:split(self.query(x)), self:split(self.key(x)), self:split(self.value(x))
  local scores = q:matmul(k:transpose(-1, -2)) * (1 / math.sqrt(self.head_size))
  if mask then scores = scores + mask end
  local probs = torch.softmax(scores, -1)
  local context = self.dropout(probs):matmul(v):transpose(1, 2)
  return context:reshape(x:size(0), x:size(1), self.heads * self.head_size), probs
end

local SelfOutput = nn.Module:extend("BertSelfOutput")
M.SelfOutput = SelfOutput
function SelfOutput:init(c)
  self.dense = nn.Linear(c.hidden_size, c.hidden_size)
  self.LayerNorm = nn.LayerNorm(c.hidden_size, { eps = c.layer_norm_eps })
  self.dropout = nn.Dropout(c.hidden_dropout_prob)
end
function SelfOutput:forward(x, input) return self.LayerNorm(self.dropout(self.dense(x)) + input) end

local Attention = nn.Module:extend("BertAttention")
M.Attention = Attention
function Attention:init(c)
  self.self = SelfAttention(c)
  self.output = SelfOutput(c)
end
function Attention:forward(x, mask)
  local context, probs = self.self(x, mask)
  return self.output(context, x), probs
end

local Intermediate = nn.Module:extend("BertIntermediate")
M.Intermediate = Intermediate
function Intermediate:init(c)
  self.dense = nn.Linear(c.hidden_size, c.intermediate_size)
  self.act = activation(c.hidden_act)
end
function Intermediate:forward(x) return self.act(self.dense(x)) end

local Output = nn.Module:extend("BertOutput")
M.Output = Output
function Output:init(c)
  self.dense = nn.Linear(c.intermediate_size, c.hidden_size)
  self.LayerNorm = nn.LayerNorm(c.hidden_size, { eps = c.layer_norm_eps })
  self.dropout = nn.Dropout(c.hidden_dropout_prob)
end
function Output:forward(x, input) return self.LayerNorm(self.dropout(self.dense(x)) + input) end

local Layer = nn.Module:extend("BertLayer")
M.Layer = Layer
function Layer:init(c)
  self.attention = Attention(c)
  self.intermediate = Intermediate(c)
  self.output = Output(c)
end
function Layer:forward(x, mask)
  local y, probs = self.attention(x, mask)
  return self.output(self.intermediate(y), y), probs
end

local Encoder = nn.Module:extend("BertEncoder")
M.Encoder = Encoder
function Encoder:init(c)
  local layers = {}
  for i = 1, c.num_hidden_layers do layers[i] = Layer(c) end
  self.layer = nn.ModuleList(layers)
  self.depth = c.num_hidden_layers
end
function Encoder:forward(x, mask, keep)             -- keep: a table that gathers hidden_states and attentions
  if keep then keep.hidden_states[1] = x end
  for i = 0, self.depth - 1 do
    local probs
    x, probs = self.layer[i](x, mask)
    if keep then keep.hidden_states[i + 2], keep.attentions[i + 1] = x, probs end
  end
  return x
end

local Pooler = nn.Module:extend("BertPooler")
M.Pooler = Pooler
function Pooler:init(c) self.dense = nn.Linear(c.hidden_size, c.hidden_size) end
function Pooler:forward(x) return torch.tanh(self.dense(x:select(1, 0))) end

-- ---- the model ----
--- Linear and embedding weights are normal, biases and the padding row zero; LayerNorm stays as it is.
local function init_weights(model, c)
  torch.no_grad(function()
    for name, p in model:named_parameters() do
      if not name:find("LayerNorm", 1, true) then
        if name:find("bias$") then p:zero_() else p:normal_(0, c.initializer_range) end
        if name:find("word_embeddings", 1, true) then p[c.pad_token_id]:zero_() end
      end
    end
  end)
end

--- The forward arguments, however they came: (ids), (ids, {attention_mask = ...}), a tokenizer's batch.
local names = { "attention_mask", "token_type_ids", "position_ids", "labels", "start_positions",
  "end_positions", "output_hidden_states", "output_attentions", "input_ids" }
local known = {}
for _, name in ipairs(names) do known[name] = true end
local function arguments(ids, opt, ...)
  if type(ids) == "table" then ids, opt = ids.input_ids, ids end
  if opt ~= nil and type(opt) ~= "table" then
    local types, positions = ...
    opt = { attention_mask = opt, token_type_ids = types, position_ids = positions }
  end
  opt = opt or {}
  for k in pairs(opt) do
    if not known[k] then error("bert: unknown argument '" .. tostring(k) .. "'", 3) end
  end
  if ids == nil then error("bert: input_ids is missing", 3) end
  if ids.ndim ~= 2 then
    error("bert: input_ids: expected batch x length, got " .. ids.ndim .. " dimensions", 3)
  end
  return ids, opt
end

--- 1 for tokens, 0 for padding -> what is added to the scores: the dtype's lowest number for padding.
local lowest = { [torch.float64] = -1.7976931348623157e308, [torch.float16] = -65504.0,
  [torch.bfloat16] = -3.3895313892515355e38, [torch.float32] = -3.4028234663852886e38 }
local function additive(mask, dtype)
  if mask == nil then return nil end
  mask = mask:to(dtype):unsqueeze(1):unsqueeze(1)
  return (mask * -1 + 1) * lowest[dtype]
end

local Model = nn.Module:extend("BertModel")
M.Model = Model
function Model:init(c, opt)
  self.config = c
  self.embeddings = Embeddings(c)
  self.encoder = Encoder(c)
  self.pooled = not (opt and opt.add_pooling_layer == false)
  if self.pooled then self.pooler = Pooler(c) end
  if not (opt and opt.part) then init_weights(self, c) end
end
function Model:forward(ids, opt, ...)
  ids, opt = arguments(ids, opt, ...)
  if ids:size(1) > self.config.max_position_embeddings then
    local most = self.config.max_position_embeddings
    error(("bert: %d tokens, the model takes %d"):format(ids:size(1), most), 2)
  end
  local keep
  if opt.output_hidden_states or opt.output_attentions then keep = { hidden_states = {}, attentions = {} } end
  local x = self.embeddings(ids, opt.token_type_ids, opt.position_ids)
  x = self.encoder(x, additive(opt.attention_mask, x.dtype), keep)
  local out = { last_hidden_state = x, pooler_output = self.pooled and self.pooler(x) or nil }
  if opt.output_hidden_states then out.hidden_states = keep.hidden_states end
  if opt.output_attentions then out.attentions = keep.attentions end
  return out
end

-- ---- heads ----
local function finish(out, logits, loss)
  return { logits = logits, loss = loss, hidden_states = out.hidden_states,
    attentions = out.attentions }
end

local Transform = nn.Module:extend("BertPredictionHeadTransform")
function Transform:init(c)
  self.dense = nn.Linear(c.hidden_size, c.hidden_size)
  self.act = activation(c.hidden_act)
  self.LayerNorm = nn.LayerNorm(c.hidden_size, { eps = c.layer_norm_eps })
end
function Transform:forward(x) return self.LayerNorm(self.act(self.dense(x))) end

local Predictions = nn.Module:extend("BertLMPredictionHead")
function Predictions:init(c)
  self.transform = Transform(c)
  self.decoder = nn.Linear(c.hidden_size, c.vocab_size)
  self.bias = self.decoder.bias
end
function Predictions:forward(x) return self.decoder(self.transform(x)) end

local Cls = nn.Module:extend("BertOnlyMLMHead")
function Cls:init(c) self.predictions = Predictions(c) end
function Cls:forward(x) return self.predictions(x) end

local MaskedLM = nn.Module:extend("BertForMaskedLM")
M.MaskedLM = MaskedLM
function MaskedLM:init(c)
  self.config = c
  self.bert = Model(c, { add_pooling_layer = false, part = true })
  self.cls = Cls(c)
  init_weights(self, c)
  if c.tie_word_embeddings then
    self.cls.predictions.decoder.weight = self.bert.embeddings.word_embeddings.weight
  end
end
function MaskedLM:forward(ids, opt, ...)
  ids, opt = arguments(ids, opt, ...)
  local out = self.bert(ids, opt)
  local logits, loss = self.cls(out.last_hidden_state), nil
  if opt.labels then
    loss = F.cross_entropy(logits:view(-1, self.config.vocab_size), opt.labels:reshape(-1))
  end
  return finish(out, logits, loss)
end

local SequenceClassification = nn.Module:extend("BertForSequenceClassification")
M.SequenceClassification = SequenceClassification
function SequenceClassification:init(c)
  self.config = c
  self.bert = Model(c, { part = true })
  self.dropout = nn.Dropout(c.classifier_dropout or c.hidden_dropout_prob)
  self.classifier = nn.Linear(c.hidden_size, c.num_labels)
  init_weights(self, c)
end
function SequenceClassification:forward(ids, opt, ...)
  ids, opt = arguments(ids, opt, ...)
  local out = self.bert(ids, opt)
  local logits, loss = self.classifier(self.dropout(out.pooler_output)), nil
  if opt.labels and self.config.num_labels == 1 then
    loss = F.mse_loss(logits:squeeze(-1), opt.labels)
  elseif opt.labels then loss = F.cross_entropy(logits, opt.labels) end
  return finish(out, logits, loss)
end

local TokenClassification = nn.Module:extend("BertForTokenClassification")
M.TokenClassification = TokenClassification
function TokenClassification:init(c)
  self.config = c
  self.bert = Model(c, { add_pooling_layer = false, part = true })
  self.dropout = nn.Dropout(c.classifier_dropout or c.hidden_dropout_prob)
  self.classifier = nn.Linear(c.hidden_size, c.num_labels)
  init_weights(self, c)
end
function TokenClassification:forward(ids, opt, ...)
  ids, opt = arguments(ids, opt, ...)
  local out = self.bert(ids, opt)
  local logits, loss = self.classifier(self.dropout(out.last_hidden_state)), nil
  if opt.labels then
    loss = F.cross_entropy(logits:view(-1, self.config.num_labels), opt.labels:reshape(-1))
  end
  return finish(out, logits, loss)
end

local QuestionAnswering = nn.Module:extend("BertForQuestionAnswering")
M.QuestionAnswering = QuestionAnswering
function QuestionAnswering:init(c)
  self.config = c
  self.bert = Model(c, { add_pooling_layer = false, part = true })
  self.qa_outputs = nn.Linear(c.hidden_size, 2)
  init_weights(self, c)
end
function QuestionAnswering:forward(ids, opt, ...)
  ids, opt = arguments(ids, opt, ...)
  local out = self.bert(ids, opt)
  local logits = self.qa_outputs(out.last_hidden_state)
  local first, last, loss = logits:select(-1, 0), logits:select(-1, 1), nil
  if opt.start_positions and opt.end_positions then
    local a, b = F.cross_entropy(first, opt.start_positions), F.cross_entropy(last, opt.end_positions)
    loss = (a + b) / 2
  end
  local result = finish(out, nil, loss)
  result.start_logits, result.end_logits = first, last
  return result
end

-- ---- checkpoint folders ----
local function read(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local text = f:read("a")
  f:close()
  return text
end

local function load_tensors(dir)
  local function there(path)
    local f = io.open(path, "rb")
    return f and f:close()
  end
  local st, bin = dir .. "/model.safetensors", dir .. "/pytorch_model.bin"
  if there(st) then return require("safetensors").load_file(st) end
  if there(bin) then return torch.load(bin) end
  error("bert.from_pretrained: " .. dir .. ": neither model.safetensors nor pytorch_model.bin", 3)
end

--- The name in the model for a name in the file: old LayerNorm names, with or without the leading "bert.".
local function rename(name, has)
  name = name:gsub("%.gamma$", ".weight"):gsub("%.beta$", ".bias")
  if has[name] then return name end
  if has["bert." .. name] then return "bert." .. name end
  local short = name:match("^bert%.(.*)$")
  return short and has[short] and short or nil
end

local function shape_text(t) return tostring(t.shape) end

--- Matches a file's tensors with the model's names.  Returns the state to load and a report; wrong
-- shapes are errors.
local function match(model, tensors)
  local own, has, state, report = model:state_dict(), {}, {}, { missing = {}, unexpected = {} }
  for name, t in pairs(own) do has[name] = t end
  local wrong = {}
  for name, t in pairs(tensors) do
    local to = rename(name, has)
    if not to then
      if not name:find("position_ids$") then table.insert(report.unexpected, name) end
    elseif has[to].shape ~= t.shape then
      local is, should = shape_text(t), shape_text(has[to])
      wrong[#wrong + 1] = ("%s: the file has %s, the model %s"):format(name, is, should)
    else state[to] = t end
  end
  if #wrong > 0 then
    table.sort(wrong)
    error("bert.from_pretrained: wrong shapes:\n  " .. table.concat(wrong, "\n  "), 3)
  end
  for name in pairs(has) do if not state[name] then table.insert(report.missing, name) end end
  table.sort(report.missing)
  table.sort(report.unexpected)
  return state, report
end

--- A model from a checkpoint folder.  opt.class: one of this module's classes (default Model);
-- opt.config overrides fields.  Names of a head that the file lacks are left as initialised and
-- reported; a missing name of the body is an error.
-- Returns the model in eval mode and { missing = names, unexpected = names }.
function M.from_pretrained(dir, opt)
  opt = opt or {}
  local text = read(dir .. "/config.json")
  if not text then error("bert.from_pretrained: " .. dir .. "/config.json: cannot open", 2) end
  local config = json.decode(text)
  for k, v in pairs(opt.config or {}) do config[k] = v end
  local model = (opt.class or Model)(M.Config(config))
  local state, report = match(model, load_tensors(dir))
  local lost = {}
  for _, name in ipairs(report.missing) do
    if name:find("embeddings%.") or name:find("encoder%.") then lost[#lost + 1] = name end
  end
  if #lost > 0 then
    local list = table.concat(lost, "\n  ")
    error("bert.from_pretrained: " .. dir .. ": missing from the file:\n  " .. list, 2)
  end
  model:load_state_dict(state, { strict = false })
  model:eval()
  return model, report
end

-- ---- sentences to vectors ----
local Sentences = {}
Sentences.__index = Sentences

--- A sentence encoder from a folder: encoder(texts) is a tensor of texts x hidden, mean-pooled and of length one.
function M.sentence_encoder(dir, opt)
  opt = opt or {}
  local model = M.from_pretrained(dir)
  local config = json.decode(read(dir .. "/sentence_bert_config.json") or "{}")
  return setmetatable({ model = model, tokenizer = require("tokenizers").from_pretrained(dir),
    max_length = opt.max_length or config.max_seq_length or 128, group = opt.group or 64 }, Sentences)
end

--- Where groups of texts end, given their lengths in ascending order: a group has at most `most` texts and no more than
-- 8 % padding, unless it would be too small to be worth a call of its own.
local function groups(length, most)
  local ends, last = {}, #length
  while last > 0 do
    local top, from, real = length[last], last, length[last]
    while from > 1 and last - from + 1 < most do
      local n, sum = last - from + 2, real + length[from - 1]
      if top * n > 1.08 * sum and top * (n - 1) >= 128 then break end
      from, real = from - 1, sum
    end
    table.insert(ends, 1, last)
    last = from - 1
  end
  return ends
end

function Sentences:pooled(batch)
  local hidden = self.model(batch).last_hidden_state
  local mask = batch.attention_mask:to(hidden.dtype):unsqueeze(-1)
  local mean = (hidden * mask):sum(1) / mask:sum(1)
  return mean / (mean * mean):sum(-1, { keepdim = true }):sqrt()
end

--- Texts of like length go through the model together, so that little work is spent on padding.
function Sentences:__call(texts)
  if type(texts) == "string" then texts = { texts } end
  if #texts == 0 then error("sentence encoder: the batch is empty", 2) end
  local order, length = {}, {}
  local limit = self.max_length
  local all = self.tokenizer(texts, { truncation = true, max_length = limit, return_tensors = false })
  for i, ids in ipairs(all.input_ids) do order[i], length[i] = i, #ids end
  table.sort(order, function(a, b)
    return length[a] < length[b] or (length[a] == length[b] and a < b)
  end)
  return torch.no_grad(function()
    local parts, place, sorted, from = {}, {}, {}, 1
    for k, i in ipairs(order) do sorted[k] = length[i] end
    for _, last in ipairs(groups(sorted, self.group)) do
      local group = {}
      for k = from, last do
        group[#group + 1] = texts[order[k]]
        place[order[k]] = k - 1
      end
      local batch = self.tokenizer(group, { padding = true, truncation = true, max_length = limit })
      parts[#parts + 1] = self:pooled(batch)
      from = last + 1
    end
    return torch.cat(parts, 0):index_select(0, torch.tensor(place))
  end)
end

return M
