-- torch.nn.utils.stateless: a module called with other parameters and buffers.
local torch = require "torch"
local core = require "torch.nn.core"

local M = {}

-- name -> owner, key, tensor of every parameter and buffer.
local function places(module)
  local out = {}
  for path, m in module:named_modules { remove_duplicate = false } do
    for _, kind in ipairs { "parameter", "buffer" } do
      for _, e in ipairs(core.entries(m, kind)) do
        if torch.is_tensor(e[2]) then out[(path == "" and "" or path .. ".") .. e[1]] = { m, e[1], e[2] } end
      end
    end
  end
  return out
end

local function lists(given)
  local out = {}
  if #given > 0 then
    for i = #given, 1, -1 do for k, v in pairs(given[i]) do out[k] = v end end
    return out
  end
  for k, v in pairs(given) do out[k] = v end
  return out
end

--- functional_call(module, parameters_and_buffers, args, kwargs = None, tie_weights = true, strict = false): module(args...) with
-- the given tensors (a table by name, or a list of such tables) in place of its own.  args: one tensor, or a list.
function M.functional_call(module, given, args, kwargs, more)
  if not core.is_module(module) then error("functional_call: expected a module, got " .. type(module), 2) end
  if type(given) ~= "table" then
    error("functional_call: Expected parameter_and_buffer_dicts to be a table of tensors by name, got " .. type(given), 2)
  end
  more = more or {}
  local tie, strict = more.tie_weights ~= false, more.strict
  given = lists(given)
  local at, sites, same = places(module), {}, {}
  for name, p in pairs(at) do
    same[p[3]] = same[p[3]] or {}
    table.insert(same[p[3]], name)
  end
  for name, t in pairs(given) do
    local p = at[name]
    if p then
      if not torch.is_tensor(t) then error("functional_call: '" .. name .. "' must be a Tensor, got " .. type(t), 2) end
      sites[name] = t
      for _, other in ipairs(tie and same[p[3]] or {}) do
        if given[other] == nil then sites[other] = t
        elseif given[other] ~= t and other ~= name then
          error(("functional_call got multiple values for keys {'%s', '%s'}, which are tied. Consider using tie_weights=False")
            :format(name, other), 2)
        end
      end
    elseif strict then error("Unexpected key(s): " .. name .. ".", 2) end
  end
  if strict then
    for name in pairs(at) do if sites[name] == nil then error("Missing key(s): " .. name .. ".", 2) end end
  end
  local list = torch.is_tensor(args) and { n = 1, args } or type(args) == "table" and getmetatable(args) == nil
    and table.pack(table.unpack(args)) or args == nil and { n = 0 } or { n = 1, args }
  if kwargs ~= nil and kwargs ~= torch.None then
    list.n = list.n + 1
    list[list.n] = kwargs
  end
  local function restore()
    for name in pairs(sites) do core.fields(at[name][1])[at[name][2]] = at[name][3] end
  end
  for name, t in pairs(sites) do core.fields(at[name][1])[at[name][2]] = t end
  local _ <close> = setmetatable({}, { __close = restore })
  return (function(...) return ... end)(module(table.unpack(list, 1, list.n)))
end

-- ---- help ----
M.__docs = {
  functional_call = { signature = "nn.utils.stateless.functional_call(module, parameters_and_buffers, args, kwargs = None) -> results",
    doc = "module(args...) with the given tensors, a table by name, in place of its own.",
    example = [=[nn.utils.stateless.functional_call(nn.Linear(2, 1), {weight = torch.ones(1, 2), bias = torch.zeros(1)}, torch.ones(2)) --> tensor([2.])]=], see = "nn.Module.state_dict" },
}

return M
