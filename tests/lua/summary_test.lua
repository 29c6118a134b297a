-- summary_test.lua: torch.summary: shapes, parameters and multiply-adds of known models.
local t = require "check"

t.test("a small network: every column", function()
  local net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 26 * 26, 10))
  net[3].bias.requires_grad = false
  net:train()
  net[1]:eval()
  local s = torch.summary(net, { 2, 1, 28, 28 })
  t.eq({ s.params, s.trainable }, { 80 + 54090, 80 + 54080 })
  t.eq(s.macs, 2 * 8 * 26 * 26 * 9 + 2 * 5408 * 10)
  t.eq(s.rows[2].output, { 2, 8, 26, 26 })
  t.eq(s.rows[5].macs, 2 * 54080)
  t.eq({ net.training, net[0].training, net[1].training }, { true, true, false })
  local text = tostring(s)
  for _, part in ipairs { "Sequential", "  0: Conv2d", "[2, 8, 26, 26]", "54,090", "97,344", "parameters 54,170 (54,160 trainable)", "MACs 205.50 k" } do
    t.ok(text:find(part, 1, true), "lacks " .. part .. " in\n" .. text)
  end
  t.ok(not tostring(torch.summary(net, { 2, 1, 28, 28 }, { depth = 0 })):find("Conv2d", 1, true))
end)
t.test("several inputs, dtypes, shared modules, what did not run", function()
  local Two = nn.Module:extend("Two")
  function Two:init()
    self.embed, self.shared, self.spare = nn.Embedding(10, 4), nn.Linear(4, 4), nn.Linear(2, 2)
    self.again = self.shared
  end
  function Two:forward(a, b) return self.shared(self.embed(a)) + self.again(self.embed(b)) end
  local s = torch.summary(Two(), { { 2, 3 }, { 2, 3 } }, { dtype = torch.long })
  t.eq(s.macs, 2 * 2 * 3 * 16)
  t.eq(s.params, 40 + 20 + 6)
  t.eq(#s.rows, 4)
  t.ok(tostring(s):find("spare: Linear +not run"))
  t.eq(torch.summary(nn.Linear(3, 2), torch.ones(5, 3)).macs, 30)
end)
t.test("convolutions in groups and transposed", function()
  t.eq(torch.summary(nn.Conv2d(4, 8, 3, { groups = 2, padding = 1 }), { 1, 4, 5, 5 }).macs, 8 * 25 * 2 * 9)
  t.eq(torch.summary(nn.ConvTranspose2d(4, 6, 2, { stride = 2 }), { 1, 4, 5, 5 }).macs, 4 * 25 * 6 * 4)
  t.eq(torch.summary(nn.Conv1d(2, 3, 5), { 1, 2, 9 }).macs, 3 * 5 * 2 * 5)
end)
t.test("what is wrong is said", function()
  t.error_matches(function() torch.summary(5, { 1 }) end, "must be a module")
  t.error_matches(function() torch.summary(nn.Linear(2, 2)) end, "the input's shape")
  t.error_matches(function() torch.summary(nn.Linear(2, 2), "x") end, "a shape such as")
  t.error_matches(function() torch.summary(nn.Linear(2, 2), { 1, 3 }) end, "does not run on these inputs")
end)
t.done()
