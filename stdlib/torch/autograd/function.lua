-- torch.autograd.Function: operations with a gradient written in Lua.
--
--   local Exp = torch.autograd.Function:extend("Exp")
--   function Exp.forward(ctx, x) local y = x:exp(); ctx:save_for_backward(y); return y end
--   function Exp.backward(ctx, g) local y = ctx:saved_tensors(); return g * y end
--   Exp.apply(x)
--
-- forward may also be written without ctx beside setup_context(ctx, inputs, output).  forward runs without recording; backward
-- is made of recorded ops when a graph of it is wanted, so gradients of gradients need nothing further.
local torch = require "torch"
local autograd = torch.autograd

-- ---- ctx: what forward leaves for backward ----

local Ctx = { __name = "FunctionCtx" }
Ctx.__index = Ctx

local function check_tensors(what, n, ...)
  for i = 1, n do
    local v = select(i, ...)
    if v ~= nil and v ~= torch.None and not torch.is_tensor(v) then
      error(("%s can only take tensors, but argument %d is a %s; keep other values as fields of ctx"):format(what, i, type(v)), 3)
    end
  end
end

local function list_with_none(n, ...)
  local list = { ... }
  for i = 1, n do if list[i] == nil then list[i] = torch.None end end
  return list
end

function Ctx:save_for_backward(...)
  local n = select("#", ...)
  check_tensors("save_for_backward", n, ...)
  rawset(self, "_saved", list_with_none(n, ...))
end

function Ctx:save_for_forward(...) check_tensors("save_for_forward", select("#", ...), ...) end

--- The tensors given to save_for_backward, as several values.
function Ctx:saved_tensors()
  local node = rawget(self, "_node")
  if node then return node:saved_tensors() end
  local saved = rawget(self, "_saved") or {}
  local out = {}
  for i = 1, #saved do if saved[i] ~= torch.None then out[i] = saved[i] end end
  return table.unpack(out, 1, #saved)
end

function Ctx:mark_dirty(...)
  check_tensors("mark_dirty", select("#", ...), ...)
  rawset(self, "_dirty", { ... })
end

function Ctx:mark_non_differentiable(...)
  check_tensors("mark_non_differentiable", select("#", ...), ...)
  rawset(self, "_nondiff", { ... })
end

function Ctx:set_materialize_grads(on)
  if type(on) ~= "boolean" then error("set_materialize_grads: expected a boolean, got " .. type(on), 2) end
  rawset(self, "_materialize", on)
end

-- ---- applying ----

local function needs_grad(n, ...)
  local needs = {}
  for i = 1, n do
    local v = select(i, ...)
    needs[i] = torch.is_tensor(v) and v.requires_grad and torch.is_grad_enabled() or false
  end
  return needs
end

local function tensors_of(n, ...)
  local list = {}
  for i = 1, n do
    local v = select(i, ...)
    list[i] = torch.is_tensor(v) and v or torch.None
  end
  return list
end

-- The results of forward: tensors stay tensors for the tape, everything else passes through.  A single list of tensors counts
-- as several results, as a tuple does in PyTorch.
local function results_of(name, results)
  if results.n == 1 and type(results[1]) == "table" and not getmetatable(results[1]) then
    local list = results[1]
    for i = 1, #list do
      if not torch.is_tensor(list[i]) then return tensors_of(results.n, table.unpack(results, 1, results.n)), results, false end
    end
    local copy = { n = #list, table.unpack(list) }
    return tensors_of(copy.n, table.unpack(copy, 1, copy.n)), copy, true
  end
  if results.n == 0 then error(name .. ".forward returned nothing; it must return its results", 4) end
  return tensors_of(results.n, table.unpack(results, 1, results.n)), results, false
end

local function run_forward(class, ctx, n, ...)
  if not class.setup_context then return table.pack(torch.no_grad(class.forward, ctx, ...)) end
  local results = table.pack(torch.no_grad(class.forward, ...))
  local output = results[1]
  if results.n > 1 then output = { table.unpack(results, 1, results.n) } end
  torch.no_grad(class.setup_context, ctx, list_with_none(n, ...), output)
  return results
end

local function backward_of(class, ctx)
  return function(node, needs, ...)
    ctx._node, ctx.needs_input_grad = node, needs
    local results = table.pack(pcall(class.backward, ctx, ...))
    ctx._node = nil
    if not results[1] then error(results[2], 0) end
    if results.n == 2 and type(results[2]) == "table" and not getmetatable(results[2]) then return table.unpack(results[2]) end
    return table.unpack(results, 2, results.n)
  end
end

local function apply(class, ...)
  local name = rawget(class, "__name")
  if not class.forward then error(name .. ": forward is not defined", 3) end
  local n = select("#", ...)
  local ctx = setmetatable({ needs_input_grad = needs_grad(n, ...) }, Ctx)
  local results = run_forward(class, ctx, n, ...)
  local outputs, values, as_list = results_of(name, results)
  local saved = rawget(ctx, "_saved") or {}
  local recording = false
  for _, need in ipairs(ctx.needs_input_grad) do recording = recording or need end
  if recording and not class.backward then
    class = setmetatable({ backward = function() error(name .. ": backward is not defined", 0) end }, { __index = class })
  end
  local tied = autograd._custom(name, tensors_of(n, ...), outputs, rawget(ctx, "_nondiff"), backward_of(class, ctx),
    rawget(ctx, "_materialize") ~= false, saved, rawget(ctx, "_dirty"))
  rawset(ctx, "_saved", nil)
  rawset(ctx, "_dirty", nil)
  rawset(ctx, "_nondiff", nil)
  for i = 1, values.n do if torch.is_tensor(tied[i]) then values[i] = tied[i] end end
  if as_list then values.n = nil; return values end
  return table.unpack(values, 1, values.n)
end

-- ---- classes ----

local function extend(base, name)
  if type(name) ~= "string" then error("Function:extend expects the name of the new function", 2) end
  local class = { __name = name, extend = extend }
  class.apply = function(...) return apply(class, ...) end
  return setmetatable(class, {
    __index = base,
    __name = "Function",
    __tostring = function() return "torch.autograd.Function " .. name end,
    __call = function()
      error(name .. " is not called itself: use " .. name .. ".apply(...)", 2)
    end,
  })
end

local Function = extend(nil, "Function")

-- ---- once_differentiable ----

local Twice = extend(Function, "Error")
function Twice.forward(_, ...)
  local out = {}
  for i = 1, select("#", ...) do
    local v = select(i, ...)
    out[i] = torch.is_tensor(v) and v:detach() or v
  end
  return table.unpack(out, 1, select("#", ...))
end
function Twice.backward() error("trying to differentiate twice a function that was marked with @once_differentiable", 0) end

--- Wraps a backward that cannot be differentiated itself: it runs without recording, and a second gradient is an error.
local function once_differentiable(backward)
  return function(ctx, ...)
    local results = table.pack(torch.no_grad(backward, ctx, ...))
    if not torch.is_grad_enabled() then return table.unpack(results, 1, results.n) end
    local any = false
    for i = 1, select("#", ...) do
      local v = select(i, ...)
      any = any or (torch.is_tensor(v) and v.requires_grad)
    end
    if not any then return table.unpack(results, 1, results.n) end
    for i = 1, results.n do if torch.is_tensor(results[i]) then results[i] = results[i]:detach():requires_grad_() end end
    return Twice.apply(table.unpack(results, 1, results.n))
  end
end

Function.once_differentiable = once_differentiable

return { Function = Function, FunctionCtx = Ctx, once_differentiable = once_differentiable }
