-- torch.autograd.explain(x): why is x's gradient nil, or why does x not require gradients?
local torch = require "torch"
local autograd = torch.autograd

local function cut_text(kind, op, where)
  if not kind then return nil end
  local at = where and " at " .. where or ""
  local name = (op or ""):gsub("^torch%.", "")
  if kind == "no_grad" then
    return ("it was computed by %s while gradients were off (no_grad%s)"):format(name, where and ", switched off at " .. where or "")
  end
  if name == "detach" then return "it was detached" .. at end
  return ("it is the result of %s%s, which has no gradient"):format(name, at)
end

local function not_required(x)
  if not (x:is_floating_point() or x:is_complex()) then
    return ("its dtype is %s; only floating point and complex tensors have gradients"):format((tostring(x.dtype):gsub("^torch%.", "")))
  end
  return cut_text(autograd._why(x)) or "nothing it was made from requires gradients; call x:requires_grad_() on it, or on what it is made from"
end

--- Where ways end in the graph of loss: first an input with x's data, else any whose history was cut.
local function ends_in(loss, x)
  local node = loss and autograd._edge(loss)
  if not node then return nil, false end
  local list, seen = { node }, { [node] = true }
  local k, target = 1, autograd._edge(x)
  local found, sure, guess = false, nil, nil
  while k <= #list and k <= 100000 do
    local n = list[k]
    if n == target then found = true end
    local same, kind, op, where = n:_cut(x)
    if kind then
      local name = n:name():gsub("Backward%d*$", "")
      local text = cut_text(kind, op, where)
      if same then sure = sure or ("%s uses x's data, but %s"):format(name, text)
      else guess = guess or ("%s uses a tensor of which this is known: %s"):format(name, text) end
    end
    for _, edge in ipairs(n.next_functions) do
      if edge[1] ~= torch.None and not seen[edge[1]] then
        seen[edge[1]] = true
        list[#list + 1] = edge[1]
      end
    end
    k = k + 1
  end
  return sure or guess, found
end

--- The answer as a string; loss (optional) is the tensor whose backward was expected to reach x.
local function reason(x, loss)
  if x.grad then return "x has a gradient: x.grad is there" end
  if not x.requires_grad then return "x does not require gradients: " .. not_required(x) end
  if loss and not loss.requires_grad then return "the loss does not require gradients: " .. not_required(loss) end
  local ran, reached, cleared = autograd._reached(x)
  local note, found = ends_in(loss, x)
  if not x.is_leaf then
    return ("x is not a leaf (it was made by %s): gradients are kept for leaves only; call x:retain_grad() before backward")
      :format((x.grad_fn:name():gsub("Backward%d*$", "")))
  end
  if loss and not found then
    return "the loss does not depend on x through any recorded operation" .. (note and ": " .. note or "")
  end
  if cleared then return "the gradient was taken away (zero_grad or x.grad = nil) after the last backward" end
  if not ran then return "no backward has run yet" end
  if reached then return "the last backward reached x, but no gradient came (an operation on the way returned none)" end
  return "the last backward did not reach x: its root does not depend on x through recorded operations"
    .. (note and ": " .. note or "; explain(x, loss) looks for the place where the way ends")
end

local function explain(x, loss)
  if not torch.is_tensor(x) then error("explain: expected a Tensor, got " .. type(x), 2) end
  if loss ~= nil and not torch.is_tensor(loss) then error("explain: the second argument must be the loss (a Tensor), got " .. type(loss), 2) end
  return reason(x, loss)
end

return { explain = explain }
