-- char_lm.lua: a character language model: an LSTM learns small sentences letter by letter, with a one-cycle learning
-- rate, clipped gradients and an exponential average of the weights, and then writes its own.
local data = require "torch.utils.data"
torch.manual_seed(0)

local verbs, places = { "sat", "slept", "sang", "hid" }, { "mat", "log", "roof", "hill" }
local text = {}
for _, who in ipairs { "cat", "dog", "bird", "fox" } do
  for i, verb in ipairs(verbs) do text[#text + 1] = ("the %s %s on the %s. "):format(who, verb, places[i]) end
end
text = table.concat(text):rep(8)

-- Characters as numbers.
local chars, code = {}, {}
for c in text:gmatch(".") do
  if not code[c] then
    chars[#chars + 1] = c
    code[c] = #chars - 1
  end
end
local ids = {}
for i = 1, #text do ids[i] = code[text:sub(i, i)] end
ids = torch.tensor(ids)

-- Sample i is the 32 characters from a place on, and the same moved by one.
local LENGTH = 32
local Windows = data.Dataset:extend("Windows")
function Windows:init(x) self.x = x end
function Windows:len() return (#self.x - 1) // LENGTH * 4 - 4 end
function Windows:get(i)
  local from = i * LENGTH // 4
  return self.x:narrow(0, from, LENGTH), self.x:narrow(0, from + 1, LENGTH)
end

local CharLM = nn.Module:extend("CharLM")
function CharLM:init(count, width)
  self.embed = nn.Embedding(count, 16)
  self.lstm = nn.LSTM(16, width, { batch_first = true })
  self.head = nn.Linear(width, count)
end
function CharLM:forward(x, state)
  local h, new_state = self.lstm(self.embed(x), state)
  return self.head(h), new_state
end

local loader = data.DataLoader(Windows(ids), { batch_size = 16, shuffle = true })
local model = CharLM(#chars, 64)
local average = optim.swa_utils.AveragedModel(model, { multi_avg_fn = optim.swa_utils.get_ema_multi_avg_fn(0.9) })
local opt = optim.AdamW(model:parameters(), { lr = 1e-2 })
local epochs = 16
local schedule = optim.lr_scheduler.OneCycleLR(opt, { max_lr = 2e-2, epochs = epochs, steps_per_epoch = loader:len() })
local loss
for epoch = 1, epochs do
  for x, y in loader:iter() do
    loss = F.cross_entropy(model(x):flatten(0, 1), y:flatten())
    opt:zero_grad()
    loss:backward()
    nn.utils.clip_grad_norm_(model:parameters(), 1.0)
    opt:step()
    schedule:step()
    average:update_parameters(model)
  end
  if epoch % 4 == 0 then
    print(("epoch %d: loss %.3f, lr %.5f"):format(epoch, loss:item(), schedule:get_last_lr()[1]))
  end
end

-- Writing: the next character is drawn from the model's distribution, which is made sharper by the temperature.
local function write(net, start, n, temperature)
  return torch.no_grad(function()
    local out, x, logits, state = start, {}
    for i = 1, #start do x[i] = code[start:sub(i, i)] end
    x = torch.tensor { x }
    for _ = 1, n do
      logits, state = net(x, state)
      local next_id = torch.multinomial((logits[{ 0, -1 }] / temperature):softmax(-1), 1)
      out = out .. chars[next_id:item() + 1]
      x = next_id:unsqueeze(0)
    end
    return out
  end)
end

local written = write(average, "the ", 300, 0.5)
print(written)
local known, total = 0, 0
for sentence in written:gmatch("(the [^.]*%.) ") do
  total = total + 1
  if text:find(sentence, 1, true) then known = known + 1 end
end
print(("%d of %d sentences are of the language"):format(known, total))
assert(loss:item() < 0.45 and known >= 0.7 * total and total >= 4, "the model did not learn")
