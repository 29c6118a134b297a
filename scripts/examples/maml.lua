-- maml.lua: learning to learn: a start from which one gradient step fits any line through the origin.
--
-- The outer gradient goes through the inner step, so it contains second derivatives (create_graph).
torch.manual_seed(0)
local inner_rate, tasks = 0.1, 8

local function loss_of(w, b, slope, x) return ((w * x + b - slope * x) ^ 2):mean() end

--- One step of gradient descent as a differentiable function of the start.
local function adapt(w, b, slope, x)
  local g = torch.autograd.grad(loss_of(w, b, slope, x), { w, b }, { create_graph = true })
  return w - inner_rate * g[1], b - inner_rate * g[2]
end

local w = torch.tensor(3.0):requires_grad_()
local b = torch.tensor(-2.0):requires_grad_()
local function meta_loss()
  local total = 0
  for k = 1, tasks do
    local slope = 2 * (k - 1) / (tasks - 1) - 1
    local w1, b1 = adapt(w, b, slope, torch.rand(10) * 4 - 2)
    total = total + loss_of(w1, b1, slope, torch.rand(10) * 4 - 2)
  end
  return total / tasks
end

local opt = optim.Adam({ w, b }, { lr = 0.05 })
local first
for step = 1, 200 do
  opt:zero_grad()
  local loss = meta_loss()
  loss:backward()
  opt:step()
  first = first or loss:item()
  if step % 50 == 0 then print(("step %d: loss after one inner step %.4f"):format(step, loss:item())) end
end

-- By symmetry the best start is the line in the middle.
print(("start: slope %.3f, offset %.3f"):format(w:item(), b:item()))
assert(math.abs(w:item()) < 0.2 and math.abs(b:item()) < 0.2 and first > 1)
