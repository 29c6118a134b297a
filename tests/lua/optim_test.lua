-- optim_test.lua: optimizers: recorded runs of PyTorch (tests/data/optim), groups, state, checkpoints, hooks, errors.
local t = require "check"
package.path = "tests/parity/?.lua;" .. package.path
local json, store, replay = require "json", require "store", require "replay"

local function recorded(folder, name)
  local st = store.open(folder .. "/" .. name .. ".safetensors")
  for line in io.lines(folder .. "/" .. name .. ".jsonl") do
    local rec = json.decode(line)
    t.test("recorded " .. rec.id, function()
      local ok, err = pcall(replay.optimizer, rec, st)
      if not ok then error(type(err) == "table" and (err.mismatch or err.missing) or err, 0) end
    end)
  end
  st:close()
end
recorded("tests/data/optim", "optimizers")

local function params(n, shape)
  local list = {}
  for i = 1, n do list[i] = torch.randn(shape or { 3, 4 }):requires_grad_() end
  return list
end
local function give_grads(list) for _, p in ipairs(list) do p.grad = torch.randn(p.shape) end end
local all = { "SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adagrad", "Adadelta", "RMSprop", "Rprop", "ASGD", "Adafactor",
  "Muon" }

t.test("every optimizer: save, load and continue equals an uninterrupted run", function()
  for _, name in ipairs(all) do
    for _, options in ipairs { {}, { momentum = 0.9 }, { amsgrad = true }, { weight_decay = 0.1 } } do
      local fits = true
      local key = next(options)
      if key then
        fits = false
        for _, p in ipairs(optim[name]._spec) do fits = fits or p[1] == key end
      end
      if fits then
        torch.manual_seed(3)
        local a = params(2)
        local b = { a[1]:detach():clone():requires_grad_(), a[2]:detach():clone():requires_grad_() }
        local one, two = optim[name](a, options), optim[name](b, options)
        local function both(x, y)
          give_grads(a)
          for i = 1, 2 do b[i].grad = a[i].grad:clone() end
          x:step()
          y:step()
        end
        for _ = 1, 3 do both(one, two) end
        local temp = os.tmpname()
        local path = temp .. ".pt"
        torch.save(two:state_dict(), path)
        local three = optim[name](b, options)
        three:load_state_dict(torch.load(path))
        os.remove(path)
        os.remove(temp)
        for _ = 1, 3 do both(one, three) end
        for i = 1, 2 do t.ok(torch.equal(a[i], b[i]), name .. " differs after loading") end
      end
    end
  end
end)

t.test("LBFGS: save, load and continue equals an uninterrupted run", function()
  for _, search in ipairs { torch.None, "strong_wolfe" } do
    local path = os.tmpname()
    os.remove(path)
    path = path .. ".pt"
    local function run(steps, from)
      torch.manual_seed(5)
      local net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
      local x, losses = torch.randn(16, 3), {}
      local y = x:sin():sum(1, { keepdim = true })
      local opt = optim.LBFGS(net:parameters(), { lr = 0.3, max_iter = 3, history_size = 4, line_search_fn = search })
      if from then
        local saved = torch.load(from)
        net:load_state_dict(saved.net)
        opt:load_state_dict(saved.opt)
      end
      for i = 1, steps do
        losses[i] = opt:step(function()
          opt:zero_grad()
          local loss = torch.nn.functional.mse_loss(net(x), y)
          loss:backward()
          return loss
        end):item()
      end
      return losses, net, opt
    end
    local whole = run(8)
    local _, net, opt = run(4)
    torch.save({ net = net:state_dict(), opt = opt:state_dict() }, path)
    local rest = run(4, path)
    os.remove(path)
    for i = 1, 4 do t.eq(rest[i], whole[4 + i], tostring(search) .. " step " .. i) end
    t.ok(whole[8] < whole[1], "the loss falls")
  end
end)

t.test("a checkpoint of PyTorch goes on as it did there", function()
  for name, run in pairs(torch.load("tests/data/optim/resume.pt")) do
    local p = { run.params[1]:clone():requires_grad_(), run.params[2]:clone():requires_grad_() }
    local opt = optim[name] { { params = p[1] }, { params = { p[2] } } }
    opt:load_state_dict(run.optimizer)
    t.eq(tostring(opt), run.text)
    for _, grads in ipairs(run.grads) do
      for i = 1, 2 do p[i].grad = grads[i]:clone() end
      opt:step()
    end
    for i = 1, 2 do t.ok(torch.allclose(p[i]:detach(), run.expect[i], { rtol = 1e-6, atol = 1e-7 }), name) end
  end
end)

t.test("groups: options of their own, live, names, added later", function()
  local p = params(3)
  local opt = optim.SGD({ { params = { p[1] }, lr = 1.0 }, { params = p[2] } }, { lr = 0.5 })
  t.eq(#opt.param_groups, 2)
  local before = { p[1]:detach():clone(), p[2]:detach():clone() }
  for i = 1, 2 do p[i].grad = torch.ones(3, 4) end
  opt:step()
  t.ok(torch.allclose(p[1]:detach(), before[1] - 1.0) and torch.allclose(p[2]:detach(), before[2] - 0.5))
  opt.param_groups[2].lr = 0.25
  opt:step()
  t.ok(torch.allclose(p[2]:detach(), before[2] - 0.75))
  opt:add_param_group { params = { p[3] }, lr = 2.0, momentum = 0.9 }
  p[3].grad = torch.ones(3, 4)
  opt:step()
  t.ok(torch.equal(opt.state[p[3]].momentum_buffer, torch.ones(3, 4)))
  t.eq(opt.state_dict(opt).param_groups[3].params, { 2 })
  local named = optim.Adam({ { "w", p[1] }, { "b", p[2] } })
  t.eq(named.param_groups[1].param_names, { "w", "b" })
  t.eq(named:state_dict().param_groups[1].param_names, { "w", "b" })
end)

t.test("ways to call", function()
  local p = params(2)
  t.eq(optim.SGD(p, 0.1, 0.9).param_groups[1].momentum, 0.9)
  t.eq(optim.SGD { p[1], p[2], lr = 0.3 }.param_groups[1].lr, 0.3)
  t.eq(#optim.SGD { p[1], p[2], lr = 0.3 }.param_groups[1].params, 2)
  local i = 0
  local function iterate() i = i + 1 if p[i] then return "p" .. i, p[i] end end
  t.eq(optim.SGD(iterate, { lr = 1.0 }).param_groups[1].param_names, { "p1", "p2" })
  t.ok(tostring(optim.SGD(p)):find("    lr: 0.001\n", 1, true))
  t.ok(tostring(optim.Adam(p)):find("^Adam %(\nParameter Group 0\n    amsgrad: False\n    betas: %(0.9, 0.999%)\n"))
end)

t.test("closures, zero_grad, hooks", function()
  local p = params(1)
  local opt = optim.Adam(p, { lr = torch.tensor(0.1) })
  local seen = {}
  local h = opt:register_step_pre_hook(function(o, args) seen[#seen + 1] = o == opt and #args end)
  opt:register_step_post_hook(function() seen[#seen + 1] = "post" end)
  local loss = torch.no_grad(function()
    return opt:step(function()
      opt:zero_grad()
      local l = (p[1] ^ 2):sum()
      l:backward()
      return l
    end)
  end)
  t.ok(loss.requires_grad)
  t.eq(seen, { 1, "post" })
  h.remove()
  opt:zero_grad { set_to_none = false }
  t.ok(torch.equal(p[1].grad, torch.zeros(3, 4)))
  opt:zero_grad()
  t.eq(p[1].grad, nil)
  opt:step()
  t.eq(seen, { 1, "post", "post" })
end)

t.test("a class of one's own", function()
  local Sign = optim.Optimizer:extend("Sign")
  function Sign:init(list, options) optim.Optimizer.init(self, list, { lr = options.lr, decay = 1 }) end
  function Sign:step()
    torch.no_grad(function()
      for _, group in ipairs(self.param_groups) do
        for _, x in ipairs(group.params) do
          local s = self.state[x]
          s.n = (s.n or 0) + 1
          x:sub_(x.grad:sign(), { alpha = group.lr })
        end
      end
    end)
  end
  local p = params(1)
  local before = p[1]:detach():clone()
  local opt = Sign(p, { lr = 0.5 })
  p[1].grad = torch.ones(3, 4)
  opt:step()
  t.ok(torch.allclose(p[1]:detach(), before - 0.5))
  t.eq(opt:state_dict().state[0], { n = 1 })
end)

t.test("unusual memory: views with gaps, transposed gradients, complex, scalars, empty", function()
  torch.manual_seed(1)
  local base = torch.randn(6, 8)
  local p = base["::2, 1::3"]:requires_grad_()
  local q = p:detach():clone():requires_grad_()
  p.grad = torch.randn(3, 3):t()
  q.grad = p.grad:contiguous()
  local a, b = optim.AdamW({ p }, { lr = 0.1 }), optim.AdamW({ q }, { lr = 0.1 })
  local corner = base[1][1]:item()
  for _ = 1, 3 do
    a:step()
    b:step()
  end
  t.ok(torch.equal(p, q))
  t.eq(base[1][1]:item(), corner)
  for _, name in ipairs { "SGD", "Adam", "Rprop" } do
    local s, e = torch.randn({}):requires_grad_(), torch.randn(0, 3):requires_grad_()
    give_grads { s, e }
    local opt = optim[name]({ s, e })
    opt:step()
    opt:step()
  end
end)

t.test("state is unharmed by an error", function()
  local p = params(2)
  local opt = optim.Adam(p)
  give_grads(p)
  opt:step()
  local saved = p[1]:detach():clone()
  opt.state[p[2]].exp_avg = torch.zeros(2)
  t.error_matches(function() opt:step() end, "Adam: 'exp_avg' is float32 of shape [2], but the parameter is float32 of shape [3, 4]")
  t.ok(torch.equal(p[1], saved))
  t.eq(opt.state[p[1]].step:item(), 1.0)
  opt.state[p[2]].exp_avg = torch.zeros(3, 4)
  opt:step()
  t.eq(opt.state[p[1]].step:item(), 2.0)
  local sgd = optim.SGD(p, { momentum = 0.9 })
  sgd.state[p[2]].momentum_buffer = torch.zeros(2)
  t.error_matches(function() sgd:step() end, "momentum_buffer")
  t.eq(sgd.state[p[1]].momentum_buffer, nil)
end)

t.test("errors", function()
  local p = params(1)
  local function bad(name, list, options, text) t.error_matches(function() optim[name](list, options) end, text) end
  bad("SGD", {}, {}, "optimizer got an empty parameter list")
  bad("SGD", p[1], {}, "got one Tensor")
  bad("SGD", p, { lrr = 1 }, "unknown keyword 'lrr' (did you mean 'lr'?)")
  bad("SGD", p, { lr = "x" }, "lr must be a number")
  bad("SGD", p, { lr = -1.0 }, "Invalid learning rate: -1.0")
  bad("SGD", p, { nesterov = true }, "Nesterov momentum requires a momentum and zero dampening")
  bad("Adam", p, { betas = { 0.9, 1.0 } }, "Invalid beta parameter at index 1: 1.0")
  bad("Adam", { p[1] * 2 }, {}, "can't optimize a non-leaf Tensor")
  bad("Adam", { 3 }, {}, "optimizer can only optimize Tensors")
  bad("Adam", p, { differentiable = true }, "differentiable = true is not supported")
  bad("Muon", { torch.randn(3):requires_grad_() }, {}, "Muon only supports 2D parameters")
  bad("SparseAdam", p, {}, "no sparse tensors")
  bad("LBFGS", p, { line_search_fn = "golden" }, "strong_wolfe")
  local opt = optim.Adam(p)
  t.error_matches(function() opt:add_param_group { params = p } end, "some parameters appear in more than one parameter group")
  t.error_matches(function() opt:load_state_dict(optim.SGD(params(2)):state_dict()) end, "doesn't match the size")
  opt.param_groups[1].lr = nil
  give_grads(p)
  t.error_matches(function() opt:step() end, "the parameter group has no 'lr'")
  opt = optim.Adam(p, { capturable = true })
  t.error_matches(function() opt:step() end, "capturable=True")
end)

t.test("every name has help, and its example runs", function()
  local docs = require "repl.docs"
  local function shown(...) return (tostring((...)):gsub("%s+", " ")) end
  local seen = 0
  for _, name in ipairs(docs.names()) do
    local entry = name:find("^optim%.") and docs.get(name)
    if entry then
      t.ok(entry.doc and entry.signature, name)
      seen = seen + 1
    end
    if entry and entry.example then
      local code, want = entry.example:match("^(.-)%s*%-%->%s*(.*)$")
      code = code or entry.example
      local got = shown(assert(load("return " .. code) or load(code), code)())
      if want then t.eq(got, want, name) end
    end
  end
  for _, name in ipairs { "optim.SGD", "optim.LBFGS", "optim.lr_scheduler.StepLR", "optim.swa_utils.SWALR" } do
    t.ok(docs.get(name), name)
  end
  t.ok(seen > 50, seen)
end)

t.test("memory stays flat over 10,000 steps", function()
  local p = params(4)
  local opts = { optim.AdamW(p), optim.SGD(p, { momentum = 0.9 }) }
  local function run(n)
    for _ = 1, n do
      for _, opt in ipairs(opts) do
        for _, x in ipairs(p) do x.grad = torch.ones(3, 4) end
        opt:step()
        opt:zero_grad()
      end
    end
    collectgarbage()
    collectgarbage()
    return torch._live()
  end
  run(100)
  local before = run(100)
  t.eq(run(9800), before)
end)

t.done()
