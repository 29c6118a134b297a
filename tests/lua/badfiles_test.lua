-- badfiles_test.lua: truncated, corrupted and hostile files, wrong checkpoints, wrong text: an error that says the file
-- and the place, and nothing half-loaded.
package.path = "tests/lua/?.lua;" .. package.path
local t, sys = require "check", require "sys"
local torch, nn = require "torch", require("torch").nn
local tokenizers, bert = require "tokenizers", require "models.bert"

local dir, data = assert(sys.tmpdir()), "tests/data/files/"
local function file(name, text)
  sys.write(dir .. "/" .. name, text)
  return dir .. "/" .. name
end
local function refused(path, part) t.error_matches(function() torch.load(path) end, part) end

local files = { "all.safetensors", "one.npy", "stored.npz", "deflated.npz", "zip.pt", "stream.pt", "quant.gguf" }
for _, name in ipairs(files) do
  t.test(name .. " cut anywhere", function()
    local whole = sys.read(data .. name)
    local last = name == "quant.gguf" and #whole - 32 or #whole - 1    -- the last tensor's padding may be missing
    for n = 0, last, math.max(1, last // 60) do
      local ok, message = pcall(torch.load, file(name, whole:sub(1, n)))
      t.eq(ok, false, name .. " of " .. n .. " bytes")
      t.ok(tostring(message):find(name, 1, true), message)
      t.ok(tostring(message):find("%d+"), message)
    end
    refused(file(name, whole .. "x"), name)
  end)
end

t.test("bytes changed in a checkpoint with checksums are noticed", function()
  local whole = sys.read(data .. "zip.pt")
  local at = whole:find("PK\1\2", 1, true)
  local noticed = 0
  for n = 40, at - 1, at // 50 do
    local byte = string.char(whole:byte(n) ~ 0x55)
    local ok, got = pcall(torch.load, file("zip.pt", whole:sub(1, n - 1) .. byte .. whole:sub(n + 1)))
    if not ok then
      noticed = noticed + 1
      t.ok(tostring(got):find("zip.pt", 1, true), got)
    end
  end
  t.ok(noticed > 10, noticed .. " noticed")
end)

local function header(text, bytes)
  return file("h.safetensors", string.pack("<I8", #text) .. text .. ("x"):rep(bytes))
end
local function two(a, b, name)
  local entry = '"%s":{"dtype":"F32","shape":[2],"data_offsets":[%s]}'
  return header("{" .. entry:format("a", a) .. "," .. entry:format(name or "b", b) .. "}", 24)
end

t.test("hostile safetensors", function()
  refused(two("0,8", "4,12"), "h.safetensors: tensor 'b' overlaps the one before at byte 8 of the data")
  refused(two("0,8", "16,24"), "tensor 'b' leaves a hole before it at byte 8 of the data")
  refused(two("0,8", "8,16"), "8 bytes after the last tensor's data at byte 16 of the data")
  refused(two("0,8", "8,24", "a"), "tensor 'a'")
  local entry = '"a":{"dtype":"U8","shape":[1],"data_offsets":'
  refused(header("{" .. entry .. "[0,1]}," .. entry .. "[1,2]}}", 2), "named 'a': the second's data are at byte 1")
  refused(header('{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}', 8),
    "tensor 'a': the shape is too large at byte")
  refused(header('{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}', 8), "tensor 'a': unknown dtype at byte 22")
  refused(header('{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}', 8), "tensor 'a'")
  refused(header('{"a\xff":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8), "invalid UTF-8 at byte 3")
  refused(header(('{"a":'):rep(100000), 0), "h.safetensors: in the header")
  refused(file("cap.safetensors", string.pack("<I8", 1 << 40) .. "{"), "a header of 1099511627776 bytes")
end)

t.test("hostile checkpoints run nothing", function()
  refused(file("e.pt", "\x80\2cos\nsystem\n(X\4\0\0\0trueTtR."), "e.pt: pickle: the name 'os.system' is not allowed")
  refused(file("e.pt", "\x80\2c__builtin__\neval\n(X\1\0\0\0" .. "1tR."), "__builtin__.eval")
  refused(file("e.pt", "\x80\2" .. ("("):rep(5000000) .. "."), "e.pt")
  refused(file("e.pt", "\x80\2X\255\255\255\127abc."), "at byte")
end)

t.test("a state with missing, extra or mis-shaped names leaves the model as it was", function()
  local net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
  local before = {}
  for k, v in pairs(net:state_dict()) do before[k] = v:clone() end
  local function try(change, part)
    local sd = {}
    for k, v in pairs(before) do sd[k] = torch.ones_like(v) end
    change(sd)
    t.error_matches(function() net:load_state_dict(sd) end, part)
    for k, v in pairs(net:state_dict()) do t.ok(torch.equal(v, before[k]), k .. " was changed") end
  end
  try(function(sd) sd["1.bias"] = nil end, 'Missing key(s) in state_dict: "1.bias"')
  try(function(sd) sd["1.extra"] = torch.ones(1) end, 'Unexpected key(s) in state_dict: "1.extra"')
  try(function(sd) sd["1.running_mean"] = torch.ones(3) end, "size mismatch for 1.running_mean")
  try(function(sd) sd["0.weight"] = 5 end, "0.weight")
  net:load_state_dict({ ["0.bias"] = torch.tensor { 5., 6 } }, { strict = false })
  t.eq(net[0].bias:tolist(), { 5.0, 6.0 })
end)

local tok = tokenizers.from_string [[{ "added_tokens": [{"id": 0, "content": "[UNK]", "special": true}],
  "pre_tokenizer": {"type": "Whitespace"},
  "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "one": 1, "two": 2}}}]]

t.test("text: unknown words, invalid UTF-8, nothing at all", function()
  t.eq(tok:encode("one three \u{10FFFF} two").tokens, { "one", "[UNK]", "[UNK]", "two" })
  t.error_matches(function() tok:encode("one \xff") end, "not valid UTF-8 at byte 4")
  t.error_matches(function() tok { "one", "two \xc3" } end, "text 2: text is not valid UTF-8 at byte 4")
  t.error_matches(function() tok {} end, "the batch is empty")
  t.error_matches(function() tok { 7 } end, "text 1: expected a string")
  t.error_matches(function() tok:decode { 1, -1 } end, "id 2 is not a whole number >= 0")
  t.eq(#tok:encode("").ids, 0)
  t.error_matches(function() tokenizers.from_string('{"model":{"type":"WordPiece","vocab":{"a":0}') end, "byte 44")
  t.error_matches(function() tokenizers.from_file(data .. "one.npy") end, "one.npy: byte 0: invalid UTF-8")
end)

t.test("BERT: token numbers, masks and batches that do not fit", function()
  local model = bert.from_pretrained("tests/data/bert/")
  local int = { dtype = torch.int64 }
  t.error_matches(function() model(torch.tensor { { 1, 40000 } }) end, "index 40000 is out of range")
  t.error_matches(function() model(torch.tensor { { 1, -1 } }) end, "index -1 is out of range")
  t.error_matches(function() model(torch.tensor { { 1.5, 2 } }) end, "int64")
  local mask = torch.ones(1, 3)
  t.error_matches(function() model(torch.tensor { { 1, 2 } }, { attention_mask = mask }) end, "2 in one and 3")
  t.error_matches(function() model(torch.zeros(2, 0, int)) end, "size 0")
  t.ok(model(torch.zeros(0, 4, int)).last_hidden_state.shape == { 0, 4, 64 })
  t.eq(model(torch.tensor { { 1, 2 } }).last_hidden_state:isfinite():all():item(), true)
end)

sys.remove(dir, { recursive = true })
t.done()
