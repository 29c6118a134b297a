-- tokenizers_test.lua: every kind of tokenizer against what the reference recorded, the Lua interface, and bad input.
-- The recordings in tests/tokenizers/data are made by tests/tokenizers/reference.py.
local t = require "check"
local tokenizers, json, sys = require "tokenizers", require "json", require "sys"
local DATA = "tests/tokenizers/data/"

local function read(path)
  local f = assert(io.open(path, "rb"))
  local s = f:read("a")
  f:close()
  return s
end

local texts = json.decode(read(DATA .. "texts.json"))

local function flat(e)
  local out = {}
  for k, id in ipairs(e.ids) do
    local w = e.word_ids[k]
    local row = { id, e.offsets[k][1], e.offsets[k][2], e.type_ids[k], math.type(w) and w or -1, e.special_tokens_mask[k] }
    table.move(row, 1, 6, #out + 1, out)
  end
  return out
end

for _, file in ipairs(sys.list(DATA)) do
  local name = file:match("^(.-)%.expect%.json$")
  if name then
    t.test("recorded " .. name, function()
      local tok, want = tokenizers.from_file(DATA .. name .. ".json"), json.decode(read(DATA .. file))
      tok:no_padding()
      tok:no_truncation()
      for i, text in ipairs(texts) do      -- every seventh text was recorded with its predecessor as second text
        local e = (i - 1) % 7 == 3 and tok:encode(text, texts[i - 1]) or tok:encode(text)
        local got, row = flat(e), want[i]
        t.eq(table.concat(got, " "), table.concat(row[1], " "), "text " .. i)
        t.eq(tok:decode(e.ids, false), row[2], "decoded text " .. i)
        t.eq(tok:decode(e.ids, true), row[3], "decoded text without special tokens " .. i)
      end
    end)
  end
end

local tok = tokenizers.from_file(DATA .. "bert_cased.json")

t.test("a call makes tensors", function()
  local b = tok({ "def the one", "the" }, { padding = true })
  local e = tok:encode("the")
  t.eq(b.input_ids:size(0), 2)
  t.eq(b.input_ids[1]:tolist()[1], e.ids[1])
  local mask = b.attention_mask[1]:tolist()
  t.eq(mask[#e] == 1 and mask[#e + 1] == 0, true)
  t.eq(tostring(b.input_ids.dtype), "torch.int64")
end)

t.test("options of a call", function()
  t.eq(tok("the the the the", { truncation = true, max_length = 4 }).input_ids:size(1), 4)
  t.eq(tok("the", { padding = "max_length", max_length = 9 }).input_ids:size(1), 9)
  t.eq(tok({ "the", "the the" }, { padding = true, pad_to_multiple_of = 8 }).input_ids:size(1) % 8, 0)
  t.eq(tok("the", "the").token_type_ids[0]:tolist(), { 0, 0, 0, 1, 1 })
  t.eq(tok("the", { add_special_tokens = false, return_tensors = false }).input_ids, { { tok:token_to_id("the") } })
  t.eq(tok("the", { return_offsets_mapping = true }).offset_mapping:size(2), 2)
  local left = tok({ "the", "the the the" }, { padding = true, padding_side = "left" })
  t.eq(left.attention_mask[0]:tolist()[1], 0)
  t.error_matches(function() tok("the", { pading = true }) end, "unknown keyword 'pading'")
  t.error_matches(function() tok("the", { truncation = true }) end, "max_length")
  t.error_matches(function() tok({ "the", "the the" }) end, "padding = true")
end)

t.test("look-ups and settings", function()
  local id = tok:token_to_id("[CLS]")
  t.eq(tok:id_to_token(id), "[CLS]")
  t.eq(tok:token_to_id("no such token"), nil)
  t.eq(tok:id_to_token(1 << 40), nil)
  t.eq(tok:num_special_tokens_to_add(false), 2)
  t.eq(tok:num_special_tokens_to_add(true), 3)
  local own = tokenizers.from_file(DATA .. "bert_cased.json")
  own:enable_truncation(5)
  own:enable_padding { pad_token = "[PAD]", length = 7 }
  t.eq(#own:encode("the the the the the the"), 7)
  t.eq(#own:encode_batch({ "the", { "the", "the" } })[2], 7)
  own:no_padding()
  t.eq(#own:encode("the the the the the the"), 5)
  t.eq(own:decode_batch({ { id }, own:encode("the").ids }), { "", "the" })
  t.eq(own:decode(torch.tensor({ id, own:token_to_id("the") })), "the")
end)

t.test("bad texts", function()
  t.error_matches(function() tok:encode("ab\xffcd") end, "not valid UTF-8 at byte 2")
  t.error_matches(function() tok { "ok", "ab\xc3" } end, "text 2: text is not valid UTF-8 at byte 2")
  t.error_matches(function() tok:encode("\xed\xa0\x80") end, "byte 0")
  t.error_matches(function() tok {} end, "batch is empty")
  t.error_matches(function() tok { "a", 5 } end, "text 2: expected a string")
  t.error_matches(function() tok:encode(nil) end, "expected a string")
  t.error_matches(function() tok:decode { -1 } end, "id 1")
  t.eq(#tok:encode("", { add_special_tokens = false }), 0)
  t.eq(tok:decode {}, "")
  t.eq(tok:encode("a\0b", { add_special_tokens = false }).offsets[1][1], 0)
end)

local function refuses(text, part) t.error_matches(function() tokenizers.from_string(text) end, part) end

t.test("bad files", function()
  refuses("", "byte 0")
  refuses('{"model": {"type": "BPE"', "byte 24")
  refuses('{"model": "\xff"}', "byte 11: invalid UTF-8")
  refuses('{"a": 01}', "byte 7")
  refuses('{"a": "\\ud800"}', "surrogate")
  refuses(('['):rep(1000), "nested")
  refuses('[]', "expected an object")
  refuses('{}', "model is missing")
  refuses('{"model": {"type": "Magic", "vocab": {}}}', "unknown type 'Magic'")
  refuses('{"model": {"type": "WordLevel", "vocab": {"a": -1}}}', "id of 'a'")
  refuses('{"model": {"type": "WordLevel", "vocab": {"a": 4000000000}}}', "id of 'a'")
  refuses('{"model": {"type": "WordLevel", "vocab": {"a": 1, "b": 1}}}', "two tokens")
  refuses('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}', "merges[0]")
  refuses('{"model": {"type": "Unigram", "vocab": [["a"]]}}', "vocab[0]")
  refuses('{"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": 7}}', "unk_id")
  local head = '{"model": {"type": "WordLevel", "vocab": {"a": 0}}, '
  refuses(head .. '"normalizer": {"type": "Nope"}}', "normalizer: unknown type 'Nope'")
  refuses(head .. '"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"}}}', "')' missing")
  refuses(head .. '"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a)\\\\1"}}}', "not supported")
  refuses(head .. '"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a?)*"}}}', "endless")
  refuses(head .. '"post_processor": {"type": "BertProcessing"}}', "sep and cls")
  refuses(head .. '"decoder": {"type": "Strip"}}', "Strip.content")
  refuses(head .. '"added_tokens": [{"id": 1}]}', "added_tokens[0].content")
  t.error_matches(function() tokenizers.from_file("no/such/file") end, "no/such/file: cannot open")
  t.error_matches(function() tokenizers.from_pretrained("no/such/folder") end, "neither tokenizer.json")
  t.error_matches(function()
    tokenizers.from_string(head .. '"x": 0}'):encode("b")
  end, "unknown token is missing")
end)

t.test("a hostile pattern ends", function()
  local bad = tokenizers.from_string('{"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}, ' ..
    '"pre_tokenizer": ' ..
    '{"type": "Split", "pattern": {"Regex": "(a|a|a)*(a|a)*(a|a)*b"}, "behavior": "Isolated"}}')
  t.error_matches(function() bad:encode(("a"):rep(300)) end, "too many steps")
end)

t.test("vocabulary files", function()
  local dir = os.tmpname()
  os.remove(dir)
  assert(sys.mkdir(dir))
  local f = assert(io.open(dir .. "/vocab.txt", "w"))
  f:write("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nun\n##known\nword\n")
  f:close()
  local bert = tokenizers.from_pretrained(dir)
  t.eq(bert:encode("Unknown WORD thing [MASK]").ids, { 2, 5, 6, 7, 1, 4, 3 })
  t.eq(bert:decode({ 2, 5, 6, 7, 3 }), "unknown word")
  os.remove(dir .. "/vocab.txt")
  f = assert(io.open(dir .. "/vocab.json", "w"))
  f:write('{"a": 0, "b": 1, "ab": 2, "\\u0120": 3, "\\u0120ab": 4}')
  f:close()
  f = assert(io.open(dir .. "/merges.txt", "w"))
  f:write("#version: 0.2\na b\n\xC4\xA0 ab\n")
  f:close()
  local gpt = tokenizers.from_pretrained(dir)
  t.eq(gpt:encode("ab ab b").ids, { 2, 4, 3, 1 })
  t.eq(gpt:decode { 2, 4, 3, 1 }, "ab ab b")
  os.remove(dir .. "/vocab.json")
  os.remove(dir .. "/merges.txt")
  os.remove(dir)
end)

t.done()
