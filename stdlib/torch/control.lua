-- torch.control: PyTorch's marks for its compiler.  Nothing is compiled here: functions run as they are.
local torch = require "torch"
local parse = require "torch.kwargs"

local control = {}

--- torch.compile(f): f itself; without f, a function that gives back what it is given.
function control.compile(...)
  local a = parse("compile", { "model", fullgraph = false, dynamic = false, backend = "eager", mode = false,
    options = false, disable = false }, 1, ...)
  if a.model == nil then return function(f) return f end end
  return a.model
end

local function holds(name, v)
  if torch.is_tensor(v) then
    if v:numel() ~= 1 then error(("%s: expected one element as condition, got shape %s"):format(name, v.shape), 3) end
    v = v:item()
  end
  if type(v) ~= "boolean" and type(v) ~= "number" then
    error(("%s: expected a boolean, a number or a tensor as condition, got %s"):format(name, type(v)), 3)
  end
  return v and v ~= 0
end

local function called(name, f, which)
  if type(f) == "function" then return f end
  local mt = getmetatable(f)
  if not (mt and mt.__call) then error(("%s: %s must be a function, got %s"):format(name, which, type(f)), 3) end
  return f
end

--- cond(pred, true_fn, false_fn, {operands...}): one of the two functions on the operands.
function control.cond(...)
  local a = parse("cond", { "pred", "true_fn", "false_fn", "operands" }, 1, ...)
  local yes, no = called("cond", a.true_fn, "true_fn"), called("cond", a.false_fn, "false_fn")
  return (holds("cond", a.pred) and yes or no)(table.unpack(a.operands or {}))
end

--- while_loop(cond_fn, body_fn, {carried...}): body_fn gives the next values while cond_fn holds; a list of the last.
function control.while_loop(cond_fn, body_fn, carried)
  called("while_loop", cond_fn, "cond_fn")
  called("while_loop", body_fn, "body_fn")
  if type(carried) ~= "table" then error("while_loop: carried_inputs must be a list, got " .. type(carried), 2) end
  local now = { table.unpack(carried) }
  while holds("while_loop", cond_fn(table.unpack(now))) do
    local got = table.pack(body_fn(table.unpack(now)))
    if got.n == 1 and type(got[1]) == "table" and not getmetatable(got[1]) then got = got[1] end
    if #got ~= #now then
      error(("while_loop: body_fn must give as many values as it takes (%d), got %d"):format(#now, #got), 2)
    end
    now = { table.unpack(got, 1, #now) }
  end
  return now
end

return control
