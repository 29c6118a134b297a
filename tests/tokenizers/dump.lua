-- dump.lua: what Moth's tokenizer makes of a list of lines; reference.py compare and bench read it.
-- moth dump.lua TOKENIZER.json LINES.json single|pairs|truncated|bench
local tokenizers, json, sys = require "tokenizers", require "json", require "sys"
local path, lines, mode = arg[1], arg[2], arg[3]
local f = assert(io.open(lines, "rb"))
lines = json.decode(f:read("a"))
f:close()
local tok = tokenizers.from_file(path)
tok:no_padding()
tok:no_truncation()

if mode == "bench" then
  local best = math.huge
  for _ = 1, 3 do
    local t = sys.clock()
    for i = 1, #lines do tok:encode(lines[i]) end
    best = math.min(best, sys.clock() - t)
  end
  print(best)
  return
end
if mode == "truncated" then tok:enable_truncation(12) end
io.stdout:setvbuf("full")
for i, line in ipairs(lines) do
  local e = tok:encode(line, mode == "pairs" and lines[i + 1] or nil)
  local ids, off, types, words, special = e.ids, e.offsets, e.type_ids, e.word_ids, e.special_tokens_mask
  for k = 1, #ids do
    local w = math.type(words[k]) and words[k] or -1
    io.write(ids[k], ":", off[k][1], ":", off[k][2], ":", types[k], ":", w, ":", special[k], " ")
  end
  io.write("\1", tok:decode(ids, false), "\1", tok:decode(ids, true), "\0")
end
