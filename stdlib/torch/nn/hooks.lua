-- torch.nn.hooks: functions run around a module's forward, its gradients, and its state_dict.
--
-- A module's hooks are its own; those of every module (nn.modules.module) lie in `everywhere`, and run before them.
--
-- Invariant: core.set_hooks holds { kind = list of { fn, with_kwargs, always } } in the order of running; lists are replaced,
-- never changed, so a hook may remove itself or others while they run.
local core = require "torch.nn.core"
local torch = require "torch"

local hooks = {}
local kinds = { forward_pre_hook = "forward_pre", forward_hook = "forward", full_backward_hook = "backward",
  full_backward_pre_hook = "backward_pre", state_dict_pre_hook = "state_dict_pre", state_dict_post_hook = "state_dict",
  load_state_dict_pre_hook = "load_state_dict_pre", load_state_dict_post_hook = "load_state_dict_post" }
local around = { forward_pre = true, forward = true, backward = true, backward_pre = true }

local everywhere = {}
local EVERY = {}                                    -- stands for a module: all of them

local function store(m, all)
  if m == EVERY then
    everywhere = all
    for _, list in pairs(all) do if #list > 0 then return core.hook_everywhere(true) end end
    return core.hook_everywhere(false)
  end
  local any, run = false, false
  for kind, list in pairs(all) do
    if #list > 0 then any, run = true, run or around[kind] end
  end
  core.set_hooks(m, any and all or nil, run)
end

local function change(m, kind, fn)
  local all = {}
  for k, list in pairs(m == EVERY and everywhere or core.hooks(m) or {}) do all[k] = list end
  all[kind] = fn(all[kind] or {})
  store(m, all)
end

local Handle = { __name = "RemovableHandle" }
Handle.__index = Handle
function Handle:remove()
  local m, entry = self.module, self.entry
  if not m then return end
  self.module = nil
  change(m, self.kind, function(old)
    local new = {}
    for _, e in ipairs(old) do if e ~= entry then new[#new + 1] = e end end
    return new
  end)
end
Handle.__close = Handle.remove

local function check(fn, what)
  local callable = type(fn) == "function" or (getmetatable(fn) or {}).__call
  if not callable then error(what .. ": hook must be a function, got " .. type(fn), 4) end
end

local function add(m, kind, entry, prepend)
  change(m, kind, function(old)
    local new = table.move(old, 1, #old, prepend and 2 or 1, {})
    new[prepend and 1 or #new + 1] = entry
    return new
  end)
  return setmetatable({ module = m, entry = entry, kind = kind }, Handle)
end

--- m:register_NAME(fn, {prepend =, with_kwargs =, always_call =}) -> handle with :remove().
function hooks.register(m, name, fn, ...)
  if not core.is_module(m) then error("register_" .. name .. ": called on something that is no module", 3) end
  check(fn, "register_" .. name)
  local prepend, with_kwargs, always = core.spread("register_" .. name, { "prepend", "with_kwargs", "always_call" }, ...)
  return add(m, kinds[name], { fn = fn, with_kwargs = with_kwargs, always = always }, prepend)
end

--- The same for every module: nn.modules.module.register_module_NAME.
function hooks.register_everywhere(name, fn, ...)
  check(fn, "register_module_" .. name)
  local with_kwargs, always = core.spread("register_module_" .. name, { "with_kwargs", "always_call" }, ...)
  return add(EVERY, kinds[name], { fn = fn, with_kwargs = with_kwargs, always = always })
end

-- ---- what modules are given: parameters, buffers, children ----
local given = { parameter = {}, buffer = {}, module = {} }
local function registration(m, kind, name, value)
  for _, h in ipairs(given[kind]) do
    local r = h.fn(m, name, value)
    if r ~= nil then value = r end
  end
  return value
end
local Given = { __name = "RemovableHandle" }
Given.__index = Given
function Given:remove()
  local new, any = {}, false
  for _, e in ipairs(given[self.kind]) do if e ~= self then new[#new + 1] = e end end
  given[self.kind] = new
  for _, list in pairs(given) do any = any or #list > 0 end
  core.set_registration(any and registration or nil)
end
Given.__close = Given.remove

--- fn(module, name, value) is called whenever a module is given a value of the kind; what it returns is taken instead.
function hooks.register_registration(kind, fn)
  check(fn, "register_module_" .. kind .. "_registration_hook")
  local entry = setmetatable({ fn = fn, kind = kind }, Given)
  given[kind] = table.move(given[kind], 1, #given[kind], 1, {})
  table.insert(given[kind], entry)
  core.set_registration(registration)
  return entry
end

function hooks.copy(from, m)
  local all = {}
  for k, list in pairs(from) do all[k] = list end
  store(m, all)
end

local function is_plain(v) return type(v) == "table" and getmetatable(v) == nil end
local function split_keywords(args)
  local last = args[args.n]
  if is_plain(last) and type(next(last)) == "string" then
    args[args.n] = nil
    args.n = args.n - 1
    return args, last
  end
  return args, {}
end
local function as_list(v)                          -- what a hook returned -> a list of values with n
  if is_plain(v) then return { n = #v, table.unpack(v) } end
  return { n = 1, v }
end

local function run_pre(m, list, args)
  for _, h in ipairs(list) do
    local positional, kw = args, nil
    if h.with_kwargs then positional, kw = split_keywords(args) end
    local r, rkw = h.fn(m, positional, kw)
    if r ~= nil then
      positional = as_list(r)
      kw = rkw or kw
    end
    if kw and next(kw) ~= nil then
      positional.n = positional.n + 1
      positional[positional.n] = kw
    end
    args = positional
  end
  return args
end

local function run_post(m, list, args, out)
  for _, h in ipairs(list) do
    local result = out[1]
    if out.n > 1 then result = table.move(out, 1, out.n, 1, {}) end
    local r
    if h.with_kwargs then
      local positional, kw = split_keywords(table.move(args, 1, args.n, 1, { n = args.n }))
      r = h.fn(m, positional, kw, result)
    else r = h.fn(m, args, result) end
    if r ~= nil then out = out.n > 1 and as_list(r) or { n = 1, r } end
  end
  return out
end

-- ---- gradients: identities around the module whose tensors are watched ----
local function watched(values, fn)
  local count, at = 0, {}
  for i = 1, values.n do
    local v = values[i]
    if torch.is_tensor(v) and v.requires_grad then
      count = count + 1
      at[i] = count
    end
  end
  if count == 0 then return values, 0 end
  local out = { n = values.n }
  for i = 1, values.n do
    out[i] = values[i]
    if at[i] then
      out[i] = values[i]:view_as(values[i])
      out[i]:register_hook(function(g) return fn(i, g, count) end)
    end
  end
  return out, count
end

-- One forward call's gradients: grad_output is gathered first, then grad_input; the hooks see both.
local function gradients(m, pre, post)
  local state = { gin = {}, gout = {}, nin = 0, got_in = 0, got_out = 0, inputs = 0 }
  local function fire()
    local gin, gout = {}, {}
    for i = 1, state.inputs do gin[i] = state.gin[i] or torch.None end
    for i = 1, state.outputs do gout[i] = state.gout[i] or torch.None end
    for _, h in ipairs(post) do
      local r = h.fn(m, gin, gout)
      if r ~= nil and state.nin > 0 then gin = as_list(r) end
    end
    return gin
  end
  function state.on_output(i, g, count)
    for _, h in ipairs(pre) do
      local r = h.fn(m, { g })
      if r ~= nil then g = as_list(r)[1] end
    end
    state.gout[i] = g
    state.got_out = state.got_out + 1
    if state.nin == 0 and state.got_out == count and #post > 0 then fire() end
    return g
  end
  function state.on_input(i, g, count)
    state.gin[i] = g
    state.got_in = state.got_in + 1
    if state.got_in < count then return g end
    local gin = fire()
    return gin[i] ~= torch.None and gin[i] or g
  end
  return state
end

local function both(kind, own)
  local first, second = everywhere[kind] or {}, own[kind] or {}
  if #first == 0 then return second end
  return table.move(second, 1, #second, #first + 1, table.move(first, 1, #first, 1, {}))
end

core.set_hook_call(function(m, forward, ...)
  local own = core.hooks(m) or {}
  local after = both("forward", own)
  local args = table.pack(...)
  args = run_pre(m, both("forward_pre", own), args)
  local pre, post = both("backward_pre", own), both("backward", own)
  local state
  if (#pre > 0 or #post > 0) and torch.is_grad_enabled() then
    state = gradients(m, pre, post)
    state.inputs = args.n
    if #post > 0 then args, state.nin = watched(args, state.on_input) end
  end
  local out
  local always = false
  for _, h in ipairs(after) do always = always or h.always end
  if always then
    local result = table.pack(pcall(forward, m, table.unpack(args, 1, args.n)))
    if not result[1] then
      for _, h in ipairs(after) do if h.always then pcall(h.fn, m, args, nil) end end
      error(result[2], 0)
    end
    out = { n = result.n - 1, table.unpack(result, 2, result.n) }
  else out = table.pack(forward(m, table.unpack(args, 1, args.n))) end
  out = run_post(m, after, args, out)
  if state then
    state.outputs = out.n
    out = watched(out, state.on_output)
  end
  return table.unpack(out, 1, out.n)
end)

return hooks
