-- cartpole.lua: a policy learned by REINFORCE keeps a pole upright on a cart.
torch.manual_seed(2)

-- The physics of the classic control problem, for a batch of carts at once: x, speed, angle, angular speed.
local function step(s, push)
  local force = push * 20 - 10
  local x, dx, a, da = s:unbind(1)[1], s:unbind(1)[2], s:unbind(1)[3], s:unbind(1)[4]
  local sin, cos = a:sin(), a:cos()
  local t = (force + sin * da * da * 0.05) / 1.1
  local dda = (sin * 9.8 - cos * t) / ((cos * cos * (-0.1 / 1.1) + 4 / 3) * 0.5)
  local ddx = t - dda * cos * (0.05 / 1.1)
  local dt = 0.02
  local new = torch.stack({ x + dx * dt, dx + ddx * dt, a + da * dt, da + dda * dt }, 1)
  local up = new[":, 0"]:abs():lt(2.4) & new[":, 2"]:abs():lt(0.2095)
  return new, up
end

local carts, limit = 32, 200
local policy = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
local opt = optim.Adam(policy:parameters(), { lr = 1e-2 })

local function episode()
  local s = torch.rand(carts, 4) * 0.1 - 0.05
  local alive, logs, lives = torch.ones(carts), {}, {}
  for i = 1, limit do
    local logp = F.log_softmax(policy(s), 1)
    local action = torch.multinomial(logp:detach():exp(), 1)
    logs[i], lives[i] = logp:gather(1, action):squeeze(1), alive
    local up
    s, up = step(s, action:squeeze(1):float())
    alive = alive * up:float()
    if alive:sum():item() == 0 then break end
  end
  return torch.stack(logs), torch.stack(lives)
end

local best = 0
for round = 1, 60 do
  local logs, lives = episode()
  local length = lives:sum(0)
  local left = length - lives:cumsum(0) + lives                -- the reward still to come at each step
  local count = lives:sum()
  local mean = (left * lives):sum() / count
  local spread = (((left - mean) * lives):pow(2):sum() / count):sqrt() + 1e-6
  local loss = -(logs * ((left - mean) / spread) * lives):sum() / count
  opt:zero_grad()
  loss:backward()
  opt:step()
  best = math.max(best, length:mean():item())
  if round % 10 == 0 then print(("round %d: the pole stood for %.0f steps"):format(round, length:mean():item())) end
  if best > 180 then break end
end
print(("best: %.0f of %d steps"):format(best, limit))
assert(best > 120, "the policy did not learn")
