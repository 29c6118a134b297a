-- scheduler_test.lua: learning rate schedulers: recorded rates and momenta of PyTorch, state, errors.
local t = require "check"
local json = require "json"
local S, swa = optim.lr_scheduler, optim.swa_utils

local metrics = { 3, 2, 2.5, 2.4, 2.2, 1.9, 1.95, 1.96, 1.97, 1.98, 1.99, 2, 2.1, 2.2 }

local function plain(v)
  if type(v) ~= "table" then return v end
  local copy = {}
  for k, x in pairs(v) do copy[k] = plain(x) end
  return copy
end

local function setup(rec)
  local p = { torch.zeros(1):requires_grad_(), torch.zeros(1):requires_grad_() }
  local opt = optim[rec.optimizer]({ { params = { p[1] } }, { params = { p[2] }, lr = 0.05 } },
    rec.optimizer == "SGD" and { lr = 0.3, momentum = 0.9 } or { lr = 0.3 })
  local kw = plain(rec.kwargs)
  local s
  if rec.name == "SWALR" then s = swa.SWALR(opt, kw)
  elseif rec.name == "Sequential" then
    s = S.SequentialLR(opt, { S.LinearLR(opt, 0.2, 1.0, 4), S.ExponentialLR(opt, 0.9), S.CosineAnnealingLR(opt, 6) }, kw)
  elseif rec.name == "Chained" then
    s = S.ChainedScheduler { S.ConstantLR(opt, 0.1, 3), S.ExponentialLR(opt, 0.9) }
  else s = S[rec.name](opt, kw) end
  return opt, s
end

local function step(rec, s, k) if rec.name == "ReduceLROnPlateau" then s:step(metrics[k]) else s:step() end end
local function momentum(group) return group.momentum or group.betas[1] end

for line in io.lines("tests/data/optim/schedulers.jsonl") do
  local rec = json.decode((line:gsub("%-?Infinity", "null")))
  t.test(rec.name .. " with " .. rec.optimizer, function()
    local opt, s = setup(rec)
    for k = 1, #rec.rows do
      for i, group in ipairs(opt.param_groups) do
        t.near(group.lr, rec.rows[k][i][1], 1e-13, "lr at " .. k - 1)
        t.near(momentum(group), rec.rows[k][i][2], 1e-13, "momentum at " .. k - 1)
      end
      if k == 7 then                                    -- a resumed pair goes on
        local opt2, s2 = setup(rec)
        opt2:load_state_dict(opt:state_dict())
        local name = os.tmpname()
        local path = name .. ".pt"
        torch.save(s:state_dict(), path)
        s2:load_state_dict(torch.load(path))
        os.remove(path)
        os.remove(name)
        opt, s = opt2, s2
      end
      opt:step()
      step(rec, s, k)
    end
    local sd = s:state_dict()
    for k, v in pairs(rec.state) do
      if v ~= json.null and k ~= "verbose" then
        if type(v) == "number" then t.near(sd[k], v, 1e-13, k)
        elseif type(v) == "table" then
          for i, x in ipairs(v) do if type(x) == "number" then t.near(sd[k][i], x, 1e-13, k) end end
        else t.eq(sd[k], v, k) end
      end
    end
  end)
end

local function sgd(options)
  local opt = optim.SGD({ torch.zeros(1):requires_grad_() }, options or { lr = 1.0 })
  opt:step()
  return opt
end

t.test("functions of the epoch", function()
  local opt = sgd()
  local s = S.LambdaLR(opt, function(e) return 0.5 ^ e end)
  opt:step()
  s:step()
  s:step()
  t.eq(s:get_last_lr(), { 0.25 })
  local m = S.MultiplicativeLR(sgd(), { function() return 0.5 end })
  m.optimizer:step()
  m:step()
  t.eq(m:get_last_lr(), { 0.5 })
  t.eq(s:state_dict().lr_lambdas, { torch.None })
end)

t.test("a tensor as learning rate is filled", function()
  local lr = torch.tensor(1.0)
  local opt = sgd { lr = lr }
  local s = S.ExponentialLR(opt, 0.5)
  opt:step()
  s:step()
  t.eq(lr:item(), 0.5)
  t.ok(opt.param_groups[1].lr == lr)
end)

t.test("a scheduler of one's own, epochs given", function()
  local Half = S.LRScheduler:extend("Half")
  function Half:get_lr() return { self.base_lrs[1] * 0.5 ^ self.last_epoch } end
  local s = Half(sgd())
  s.optimizer:step()
  s:step()
  t.eq(s:get_last_lr(), { 0.5 })
  local c = S.CosineAnnealingWarmRestarts(sgd(), 2, 2)
  c:step(2.5)
  t.eq({ c.T_cur, c.T_i, c.last_epoch }, { 0.5, 4, 2 })
  local e = S.StepLR(sgd(), 2, 0.1)
  e:step(5)
  t.near(e:get_last_lr()[1], 0.01)
end)

t.test("errors", function()
  local function bad(f, text) t.error_matches(f, text) end
  bad(function() S.StepLR(3, 2) end, "argument 'optimizer' is a number, not an Optimizer")
  bad(function() S.StepLR(sgd()) end, "argument 'step_size' is missing")
  bad(function() S.StepLR(sgd(), { stepsize = 2 }) end, "did you mean 'step_size'?")
  bad(function() S.StepLR(sgd(), 2, { last_epoch = 3 }) end, "'initial_lr' is not specified")
  bad(function() S.ConstantLR(sgd(), 2.0) end, "between 0 and 1")
  bad(function() S.OneCycleLR(sgd(), 0.1) end, "You must define either total_steps OR (epochs AND steps_per_epoch)")
  bad(function() S.CyclicLR(optim.Adagrad({ torch.zeros(1):requires_grad_() }), 0.1, 0.2) end, "optimizer must support momentum")
  bad(function() S.SequentialLR(sgd(), { S.ExponentialLR(sgd(), 0.5) }, {}) end, "same optimizer")
  bad(function() S.ReduceLROnPlateau(sgd(), { mode = "up" }) end, "mode up is unknown!")
  local one = S.OneCycleLR(sgd { lr = 0.1, momentum = 0.9 }, 0.1, 2)
  one.optimizer:step()
  one:step()
  one:step()
  bad(function() one:step() end, "Tried to step 3 times. The specified number of total steps is 2")
end)

t.test("averages", function()
  local ema = swa.get_ema_multi_avg_fn(0.75)
  local a, b = { torch.zeros(3) }, { torch.ones(3) }
  ema(a, b, 1)
  t.ok(torch.allclose(a[1], torch.full({ 3 }, 0.25)))
  t.ok(torch.allclose(swa.get_swa_avg_fn()(torch.zeros(3), torch.ones(3), torch.tensor(3)), torch.full({ 3 }, 0.25)))
  t.error_matches(function() swa.get_ema_avg_fn(1.5) end, "Invalid decay value 1.5")
end)

t.test("AveragedModel, update_bn", function()
  torch.manual_seed(0)
  local net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
  local mean, ema = swa.AveragedModel(net), swa.AveragedModel(net, { multi_avg_fn = swa.get_ema_multi_avg_fn(0.9) })
  for k = 1, 3 do
    torch.no_grad(function() net[0].weight:fill_(k) end)
    mean:update_parameters(net)
    ema:update_parameters(net)
  end
  t.near(mean.module[0].weight[0][0]:item(), 2)
  t.near(ema.module[0].weight[0][0]:item(), (1 * 0.9 + 2 * 0.1) * 0.9 + 3 * 0.1)
  t.eq(mean.n_averaged:item(), 3)
  t.eq(#mean:state_dict(), #net:state_dict() + 1)
  if not F.batch_norm then return end
  local data = { torch.randn(8, 2), torch.randn(8, 2) }
  swa.update_bn(data, mean)
  local want = torch.stack({ mean.module[0](data[1]):mean(0), mean.module[0](data[2]):mean(0) }):mean(0)
  t.ok(torch.allclose(mean.module[1].running_mean, want:detach()))
  t.near(mean.module[1].momentum, 0.1)
end)

t.done()
