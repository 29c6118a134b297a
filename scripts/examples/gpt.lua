-- gpt.lua: a small GPT from scratch: causal attention with a cache of keys and values, trained to add two numbers digit
-- by digit; the answers are then drawn with and without the cache, which must agree.
torch.manual_seed(0)

local Attention = nn.Module:extend("Attention")
function Attention:init(d, heads)
  self.heads, self.qkv, self.out = heads, nn.Linear(d, 3 * d), nn.Linear(d, d)
end
-- cache: {k =, v =} of the positions before x; the new ones are appended to it.
function Attention:forward(x, cache)
  local b, n, d = x.shape:unpack()
  local q, k, v = table.unpack(self.qkv(x):view(b, n, 3, self.heads, d // self.heads):permute(2, 0, 3, 1, 4):unbind(0))
  local fresh = not (cache and cache.k)
  if cache then
    if cache.k then k, v = torch.cat({ cache.k, k }, 2), torch.cat({ cache.v, v }, 2) end
    cache.k, cache.v = k, v
  end
  local y = F.scaled_dot_product_attention(q, k, v, { is_causal = fresh })
  return self.out(y:transpose(1, 2):reshape(b, n, d))
end

local Block = nn.Module:extend("Block")
function Block:init(d, heads)
  self.norm1, self.attention, self.norm2 = nn.LayerNorm(d), Attention(d, heads), nn.LayerNorm(d)
  self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
end
function Block:forward(x, cache)
  x = x + self.attention(self.norm1(x), cache)
  return x + self.mlp(self.norm2(x))
end

local GPT = nn.Module:extend("GPT")
function GPT:init(vocabulary, context, d, heads, layers)
  self.token, self.position = nn.Embedding(vocabulary, d), nn.Embedding(context, d)
  self.blocks = nn.ModuleList()
  for _ = 1, layers do self.blocks:append(Block(d, heads)) end
  self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, vocabulary, { bias = false })
end
function GPT:forward(ids, caches)
  local n, before = ids:size(1), caches and caches.length or 0
  local x = self.token(ids) + self.position(torch.arange(before, before + n))
  for i, block in pairs(self.blocks) do
    if caches then caches[i] = caches[i] or {} end
    x = block(x, caches and caches[i])
  end
  if caches then caches.length = before + n end
  return self.head(self.norm(x))
end

--- Appends n tokens to ids, drawn at a temperature (0: the likeliest).
function GPT:generate(ids, n, temperature, cached)
  return torch.no_grad(function()
    local caches, x = cached and { length = 0 } or nil, ids
    for _ = 1, n do
      local logits = self(x, caches)[":, -1"]
      local chosen = temperature > 0 and torch.multinomial((logits / temperature):softmax(-1), 1)
        or logits:argmax(-1, { keepdim = true })
      ids = torch.cat({ ids, chosen }, 1)
      x = cached and chosen or ids
    end
    return ids
  end)
end

-- "ab+cd=efg" with the sum's digits in reverse, as one adds by hand: tokens 0-9, 10 is +, 11 is =.
local function digits(x, n)
  local list = {}
  for i = 1, n do list[i] = x // math.tointeger(10 ^ (i - 1)) % 10 end
  return list
end
local function problems(count)
  local a, b = torch.randint(100, { count }), torch.randint(100, { count })
  local x, y, sum = digits(a, 2), digits(b, 2), digits(a + b, 3)
  local plus = torch.full({ count }, 10, { dtype = torch.int64 })
  return torch.stack({ x[2], x[1], plus, y[2], y[1], plus + 1, sum[1], sum[2], sum[3] }, 1)
end

local model = GPT(12, 9, 48, 4, 2)
local opt = optim.AdamW(model:parameters(), { lr = 3e-3, betas = { 0.9, 0.95 } })
local STEPS = 350
local schedule = optim.lr_scheduler.OneCycleLR(opt, 6e-3, STEPS)
for step = 1, STEPS do
  local ids = problems(128)
  local loss = F.cross_entropy(model(ids[":, :-1"])[":, 5:"]:flatten(0, 1), ids[":, 6:"]:flatten())
  opt:zero_grad()
  loss:backward()
  opt:step()
  schedule:step()
  if step % 70 == 0 then print(("step %d: loss %.4f"):format(step, loss:item())) end
end

local test = problems(200)
local answers = model:generate(test[":, :6"], 3, 0, true)
local right = (answers:eq(test)):all(1):sum():item()
local s = answers[0]:tolist()
print(("%d%d + %d%d = %d%d%d"):format(s[1], s[2], s[4], s[5], s[9], s[8], s[7]))
print(right .. " of 200 sums are right")
assert(torch.equal(answers, model:generate(test[":, :6"], 3, 0, false)), "the cache changes the answers")
assert(model:generate(test[":2, :6"], 3, 1.0, true).shape == { 2, 9 } and right >= 180, "the model did not learn")
