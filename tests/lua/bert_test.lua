-- bert_test.lua: parts (a) and (b) of scripts/bert_validate.lua, and what a wrong checkpoint folder is answered.
local t = require "check"
local nn = require("torch").nn

if not (nn.Module and nn.LayerNorm and nn.Embedding and torch.softmax) then
  t.test("skipped: the modules that BERT is made of are not there", function() end)
  t.done()
end

local bert = require "models.bert"
local DATA = "tests/data/bert/"

t.test("bert_validate.lua (a) and (b)", function()
  local moth = os.getenv("MOTH") or "build/moth"
  local p = assert(io.popen(moth .. " scripts/bert_validate.lua 2>&1"))
  local text = p:read("a")
  t.ok(p:close(), text)
end)

t.test("a checkpoint folder loads by name", function()
  local model, report = bert.from_pretrained(DATA)
  t.eq({ #report.missing, #report.unexpected }, { 0, 0 })
  t.eq(model.config.hidden_size, 64)
  local with_head = bert.from_pretrained(DATA, { class = bert.TokenClassification, config = { num_labels = 5 } })
  t.eq(with_head(torch.tensor { { 1, 2, 3 } }).logits.shape == { 1, 3, 5 }, true)
end)

t.test("wrong folders and arguments", function()
  t.error_matches(function() bert.from_pretrained("no/such/folder") end, "config.json: cannot open")
  t.error_matches(function() bert.from_pretrained(DATA, { config = { hidden_size = 32 } }) end, "wrong shapes")
  t.error_matches(function() bert.from_pretrained(DATA, { config = { num_hidden_layers = 3 } }) end,
    "encoder.layer.2.attention.self.query.weight")
  t.error_matches(function() bert.Config { hidden_size = 10, num_attention_heads = 3 } end, "multiple")
  local model = bert.from_pretrained(DATA)
  t.error_matches(function() model(torch.tensor { 1, 2 }) end, "batch x length")
  t.error_matches(function() model(torch.tensor { { 1 } }, { atention_mask = 1 }) end, "atention_mask")
  t.error_matches(function() model(torch.ones(1, 17, { dtype = torch.int64 })) end, "17 tokens")
end)

t.done()
