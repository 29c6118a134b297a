--- tokenizers: Hugging Face's tokenizers from Lua.
--
--   local tokenizers = require "tokenizers"
--   local tok = tokenizers.from_file("tokenizer.json")       -- or from_pretrained(folder)
--   local e = tok:encode("Hello world")                      -- e.ids, e.tokens, e.offsets, ... plain lists
--   tok:decode(e.ids)
--   local batch = tok({"one text", "another one"}, {padding = true, truncation = true, max_length = 128})
--   batch.input_ids, batch.attention_mask, batch.token_type_ids       -- int64 tensors, batch x length
--
-- Invariant: whatever a folder holds (tokenizer.json, vocab.txt, vocab.json with merges.txt) becomes one JSON text that
-- the C reader checks; nothing else builds a tokenizer.
local core = require "tokenizers.core"
local json = require "json"

local M = { from_file = core.from_file, from_string = core.from_string }

local function read(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local text = f:read("a")
  f:close()
  return text
end

local function must_read(path) return read(path) or error("tokenizers: " .. path .. ": cannot open", 3) end

local function special(id, content) return { id = id, content = content, special = true, normalized = false } end

--- BERT's vocab.txt, a token a line.  Options: lowercase (true), strip_accents, tokenize_chinese_chars (true).
function M.from_bert_vocab(path, opt)
  opt = opt or {}
  local vocab, n, added = {}, 0, {}
  for line in (must_read(path) .. "\n"):gmatch("(.-)\r?\n") do
    if line ~= "" or n == 0 then vocab[line] = n end
    n = n + 1
  end
  for _, t in ipairs { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" } do
    if vocab[t] then added[#added + 1] = special(vocab[t], t) end
  end
  if not (vocab["[UNK]"] and vocab["[CLS]"] and vocab["[SEP]"]) then
    error("tokenizers: " .. path .. ": [UNK], [CLS] or [SEP] is missing", 2)
  end
  local lower = opt.lowercase ~= false
  return core.from_string(json.encode {
    added_tokens = added,
    normalizer = { type = "BertNormalizer", clean_text = true, lowercase = lower, strip_accents = opt.strip_accents,
      handle_chinese_chars = opt.tokenize_chinese_chars ~= false },
    pre_tokenizer = { type = "BertPreTokenizer" },
    post_processor = { type = "BertProcessing", sep = { "[SEP]", vocab["[SEP]"] }, cls = { "[CLS]", vocab["[CLS]"] } },
    decoder = { type = "WordPiece", prefix = "##", cleanup = true },
    model = { type = "WordPiece", unk_token = "[UNK]", vocab = vocab },
  }, path)
end

--- GPT-2's vocab.json and merges.txt.  Options: add_prefix_space (false), roberta (adds <s> and </s>), special (names).
function M.from_bpe_vocab(vocab_path, merges_path, opt)
  opt = opt or {}
  local vocab, merges, added = json.decode(must_read(vocab_path)), {}, {}
  for line in (must_read(merges_path) .. "\n"):gmatch("(.-)\r?\n") do
    if line ~= "" and not line:find("^#version") then merges[#merges + 1] = line end
  end
  for _, t in ipairs(opt.special or { "<|endoftext|>", "<s>", "</s>", "<pad>", "<unk>", "<mask>" }) do
    if vocab[t] then
      local a = special(vocab[t], t)
      a.lstrip = t == "<mask>"
      added[#added + 1] = a
    end
  end
  local space = opt.add_prefix_space == true
  return core.from_string(json.encode {
    added_tokens = added,
    pre_tokenizer = { type = "ByteLevel", add_prefix_space = space },
    post_processor = opt.roberta and { type = "RobertaProcessing", sep = { "</s>", vocab["</s>"] },
      cls = { "<s>", vocab["<s>"] }, trim_offsets = true, add_prefix_space = space }
      or { type = "ByteLevel", trim_offsets = false },
    decoder = { type = "ByteLevel" },
    model = { type = "BPE", vocab = vocab, merges = merges },
  }, vocab_path)
end

--- The tokenizer of a checkpoint folder.
function M.from_pretrained(dir)
  local config = read(dir .. "/tokenizer_config.json")
  config = config and json.decode(config) or {}
  if read(dir .. "/tokenizer.json") then return core.from_file(dir .. "/tokenizer.json") end
  if read(dir .. "/vocab.txt") then
    local function given(v) if v ~= json.null then return v end end
    return M.from_bert_vocab(dir .. "/vocab.txt", { lowercase = given(config.do_lower_case),
      strip_accents = given(config.strip_accents), tokenize_chinese_chars = given(config.tokenize_chinese_chars) })
  end
  if read(dir .. "/vocab.json") and read(dir .. "/merges.txt") then
    return M.from_bpe_vocab(dir .. "/vocab.json", dir .. "/merges.txt", {
      add_prefix_space = config.add_prefix_space, roberta = (config.tokenizer_class or ""):find("Roberta") ~= nil })
  end
  error("tokenizers: " .. dir .. ": neither tokenizer.json nor vocab.txt nor vocab.json with merges.txt", 2)
end

return M
