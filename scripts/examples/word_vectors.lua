-- word_vectors.lua: skip-gram with negative sampling on sentences of a toy language; words of a kind end up close together.
torch.manual_seed(0)

local kinds = {
  animal = { "cat", "dog", "horse", "cow", "sheep" }, food = { "bread", "soup", "rice", "cheese", "apple" },
  eats = { "eats", "likes", "wants" }, place = { "house", "garden", "field", "barn" }, lives = { "sleeps", "lives", "plays" },
}
local patterns = { { "animal", "eats", "food" }, { "animal", "lives", "place" }, { "food", "place" } }

local words, index, kind_of = {}, {}, {}
for kind, list in pairs(kinds) do for _, w in ipairs(list) do words[#words + 1], kind_of[w] = w, kind end end
table.sort(words)
for i, w in ipairs(words) do index[w] = i - 1 end

-- Pairs of words that stand in one sentence.
local function draw(list) return list[torch.randint(#list, { 1 }):item() + 1] end
local centre, context = {}, {}
for _ = 1, 1500 do
  local sentence = {}
  for i, kind in ipairs(draw(patterns)) do sentence[i] = index[draw(kinds[kind])] end
  for i, a in ipairs(sentence) do
    for j, b in ipairs(sentence) do
      if i ~= j then centre[#centre + 1], context[#context + 1] = a, b end
    end
  end
end
centre, context = torch.tensor(centre), torch.tensor(context)

local SkipGram = nn.Module:extend("SkipGram")
function SkipGram:init(count, size)
  self.inner, self.outer = nn.Embedding(count, size), nn.Embedding(count, size)
end
function SkipGram:forward(a, b, wrong)
  local v = self.inner(a)
  local good = (v * self.outer(b)):sum(-1)
  local bad = self.outer(wrong):matmul(v:unsqueeze(-1)):squeeze(-1)
  return -(F.logsigmoid(good):mean() + F.logsigmoid(-bad):sum(-1):mean())
end

local model = SkipGram(#words, 8)
local opt = optim.Adam(model:parameters(), { lr = 2e-2 })
for epoch = 1, 10 do
  local total, n = 0, 0
  for _, batch in ipairs(torch.randperm(#centre):split(256)) do
    local loss = model(centre[batch], context[batch], torch.randint(#words, { #batch, 4 }))
    opt:zero_grad()
    loss:backward()
    opt:step()
    total, n = total + loss:item(), n + 1
  end
  if epoch % 5 == 0 then print(("epoch %d: loss %.3f"):format(epoch, total / n)) end
end

local v = F.normalize(model.inner.weight:detach(), { dim = 1 })
local alike = v:matmul(v:t()) - 2 * torch.eye(#words)
local right, nearest = 0, alike:argmax(1):tolist()
for i, w in ipairs(words) do
  local other = words[nearest[i] + 1]
  if kind_of[w] == kind_of[other] then right = right + 1 end
  if i % 5 == 0 then print(("nearest to %s: %s"):format(w, other)) end
end
print(("%d of %d words are nearest to one of their kind"):format(right, #words))
assert(right >= 0.8 * #words, "kinds were not found")
