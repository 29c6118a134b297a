-- moth.known: what `moth check` knows of torch: which names exist, what calls give, which keywords they take.
--
-- Invariant: a nil answer means "not known", and the checker then says nothing; only what the op table or a class's own
-- signature states for every form of a call is reported.
local names = require "repl.names"

local known = {}

-- Tables whose fields are all there is: a name that they lack is a mistake.  Classes are not among them.
local spaces = {}
for name in ([[
  torch nn F optim torch.nn torch.optim torch.linalg torch.fft torch.special torch.autograd torch.nn.functional
  torch.nn.init torch.nn.utils torch.func torch.optim.lr_scheduler nn.functional nn.init nn.utils optim.lr_scheduler
  string table math io os coroutine utf8 debug]]):gmatch("%S+") do spaces[name] = true end
function known.is_space(path) return spaces[path] == true end

--- The field of a library: torch's names load when they are first asked for.
function known.field(path, owner, name)
  local value = rawget(owner, name)
  if value ~= nil or not spaces[path] then return value end
  local ok, found = pcall(function() return owner[name] end)
  if ok then return found end
end

--- The names a library has, for "did you mean".
function known.fields(owner) return names.members(owner) end

--- Every form of the op at a path such as "torch.sum", "F.relu", "torch.nn.functional.relu"; nil for none.
local function forms_at(path)
  local short = path:gsub("^torch%.", ""):gsub("^F%.", "nn.functional.")
  local op = names.ops()[short]
  return op and (op.overloads or { op })
end

local function method_forms(name)
  local op = names.ops()[name] or names.ops()[name:match("^(.*[^_])_$") or ""]
  if not op then return nil end
  local rows = {}
  for _, row in ipairs(op.overloads or { op }) do
    if row.method then rows[#rows + 1] = row end
  end
  return #rows > 0 and rows or nil
end

--- "tensor" when every form of a call returns one tensor.
local function result(forms)
  if not forms then return nil end
  for _, row in ipairs(forms) do
    if #row.returns ~= 1 or row.returns[1].type ~= "Tensor" then return nil end
  end
  return "tensor"
end

local makers = {}
for word in ("tensor as_tensor from_numpy rand randn randint randperm"):gmatch("%S+") do
  makers["torch." .. word] = true
end
function known.result_of(path) return makers[path] and "tensor" or result(forms_at(path)) end

-- Methods that are no rows of the table but give the tensor itself or one made of it.
local same = {}
for word in ([[to type cpu float double half bfloat16 int long short bool char byte cfloat cdouble requires_grad_
  detach_ zero_ fill_ uniform_ normal_ clone contiguous detach]]):gmatch("%S+") do same[word] = true end
function known.method_result(name) return same[name] and "tensor" or result(method_forms(name)) end

local members
--- Has a tensor a method or attribute of that name?
function known.is_member(name)
  if not members then
    members = {}
    for _, m in ipairs(names.tensor_members()) do members[m] = true end
  end
  return members[name] or name:sub(1, 1) == "_" or members[name:match("^(.*[^_])_$") or ""] ~= nil
end
function known.members() return names.tensor_members() end

local attributes = {}
for word in ([[shape dtype device ndim T mT H mH real imag data grad grad_fn is_leaf requires_grad layout itemsize
  nbytes is_meta names output_nr retains_grad is_sparse is_quantized is_cuda]]):gmatch("%S+") do
  attributes[word] = true
end
function known.is_method(name) return not attributes[name] and known.is_member(name) end

local function keywords_in(forms)
  local set = { out = true }
  for _, row in ipairs(forms) do
    for _, p in ipairs(row.params) do set[p.name] = true end
  end
  set.self = nil
  return set
end

--- The keywords that a function or class takes, as a set; nil when its signature does not tell.
function known.keywords(path)
  local forms = forms_at(path)
  if forms then
    local set = keywords_in(forms)
    set.input, set.self = true, true
    for word in ("dtype device layout requires_grad pin_memory generator"):gmatch("%S+") do
      if not forms[1].method then set[word] = true end
    end
    return set
  end
  if path:find("^nn%.%u") or path:find("^torch%.nn%.%u") then
    local entry = require("repl.docs").get((path:gsub("^torch%.", "")))
    if not entry or not entry.signature or entry.signature:find("...", 1, true) then return nil end
    local set = {}
    for _, p in ipairs(entry.params) do set[p.name] = true end
    return next(set) and set
  end
end

function known.method_keywords(name)
  local forms = method_forms(name)
  return forms and keywords_in(forms)
end

return known
