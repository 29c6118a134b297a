-- torch.library: ops of one's own.  A schema string and functions make an op that reads its arguments, reports errors,
-- and appears in help, completion and autograd as the built-in ones do:
--
--   local scale = torch.library.custom_op("my::scale(Tensor x, float k=1) -> Tensor", {
--     forward = function(x, k) return x * k end,
--     backward = function(ctx, g) return g * ctx.inputs[2] end,
--     doc = "x times k.", example = "torch.ops.my.scale(torch.ones(2), 3)  --> tensor([3., 3.])" })
--   scale(x, 2)            torch.ops.my.scale(x, {k = 2})
--
-- forward gets the arguments in the schema's order (defaults filled in) and runs without recording.  backward gets ctx
-- and the gradients of the results, and returns one gradient for each parameter (nil where there is none; a list for
-- Tensor[]).  ctx.inputs and ctx.outputs are the arguments and results; with setup_context = function(ctx, inputs,
-- output) only what it keeps by ctx:save_for_backward(...) is there.  What backward computes with ops is itself
-- differentiable.
local torch = require "torch"

local library = {}
local registry = {}                      -- "my::scale" -> definition

-- ---- schemas ----
local plain = { Tensor = true, Scalar = true, int = true, float = true, bool = true, str = true, dtype = true,
  device = true }
local listed = { Tensor = true, Scalar = true, int = true }

local function bad(schema, why) error(string.format("custom_op: %s in the schema %q", why, schema), 0) end

local function read_type(schema, text)
  local base, rest = text:match("^(%a+)(.*)$")
  local p = { type = base }
  if not plain[base] then bad(schema, "unknown type '" .. text .. "'") end
  if rest:find("^%?%[") then p.none_elements, rest = true, rest:sub(2) end
  local length = rest:match("^%[(%d*)%]")
  if length then
    if not listed[base] then bad(schema, "unknown type '" .. text .. "'") end
    p.type, p.length = base .. "[]", tonumber(length)
    rest = rest:gsub("^%[%d*%]", "")
  end
  if rest == "?" then p.optional = true elseif rest ~= "" then bad(schema, "unknown type '" .. text .. "'") end
  return p
end

--- The Lua value of a default's text.
local function default_value(schema, p)
  local text = p.default
  if text == "None" then
    p.optional = true
    return nil
  end
  if text == "True" or text == "False" then return text == "True" end
  local number = text == "inf" and math.huge or text == "-inf" and -math.huge or tonumber(text)
  if number then return p.type == "float" and number + 0.0 or number end
  local quoted = text:match("^'(.*)'$") or text:match('^"(.*)"$')
  if quoted then return quoted end
  local items = text:match("^%[(.*)%]$")
  if items then
    local list = {}
    for item in items:gmatch("[^,%s]+") do
      list[#list + 1] = tonumber(item) or bad(schema, "the default of '" .. p.name .. "' cannot be read")
    end
    return list
  end
  if p.type == "dtype" and torch[text] then return torch[text] end
  bad(schema, "the default of '" .. p.name .. "' cannot be read")
end

local function read_params(schema, text)
  local params, kwonly, seen = {}, false, {}
  for part in (text:gsub("%b[]", function(s) return (s:gsub(",", "\1")) end) .. ","):gmatch("%s*(.-)%s*,") do
    part = part:gsub("\1", ",")
    if part == "*" then kwonly = true
    elseif part ~= "" then
      local t, name, default = part:match("^(%S+)%s+([%a_][%w_]*)%s*=%s*(.-)%s*$")
      if not t then t, name = part:match("^(%S+)%s+([%a_][%w_]*)$") end
      if not t then bad(schema, "cannot read parameter '" .. part .. "'") end
      if seen[name] then bad(schema, "two parameters are called '" .. name .. "'") end
      local p = read_type(schema, t)
      p.name, p.kwonly, p.default = name, kwonly, default
      seen[name] = true
      if default then p.has_default, p.value = true, default_value(schema, p) end
      local before = params[#params]
      if not default and before and before.has_default and not kwonly then
        bad(schema, "'" .. name .. "' has no default but stands after one that has")
      end
      params[#params + 1] = p
    end
  end
  return params
end

local function read_returns(schema, text)
  if text == "()" then return {} end
  local returns = {}
  for part in ((text:match("^%((.*)%)$") or text) .. ","):gmatch("%s*(.-)%s*,") do
    local p = read_type(schema, part:match("^%S+") or "")
    p.name = part:match("^%S+%s+(%S+)$")
    returns[#returns + 1] = p
  end
  return returns
end

local function read_schema(schema)
  if type(schema) ~= "string" then
    error("custom_op: a schema string is expected, such as 'my::scale(Tensor x, float k=1) -> Tensor'", 3)
  end
  local space, name, args, returns = schema:match("^%s*([%a_][%w_]*)::([%a_][%w_]*)%s*%((.*)%)%s*%->%s*(.-)%s*$")
  if not space then bad(schema, "expected 'namespace::name(parameters) -> results', found none") end
  return { space = space, name = space .. "::" .. name, short = name, schema = schema,
    params = read_params(schema, args), returns = read_returns(schema, returns) }
end

-- ---- running ----
local Context = {}
Context.__index = Context
--- Keeps values for backward: tensors as the tape keeps them (their versions are checked), others as they are.
function Context:save_for_backward(...)
  self.tensors, self.plain, self.n = {}, {}, select("#", ...)
  for i = 1, self.n do
    local v = (select(i, ...))
    if torch.is_tensor(v) then self.tensors[i] = v else self.tensors[i], self.plain[i] = torch.None, v end
  end
end

--- The values of save_for_backward; only inside backward.
function Context:saved_tensors()
  if not self.node then error(self.name .. ": saved_tensors belongs into backward", 2) end
  local v = table.pack(self.node:saved_tensors())
  for i = 1, self.n do if self.plain[i] ~= nil then v[i] = self.plain[i] end end
  return table.unpack(v, 1, self.n)
end

local function type_name(v) return torch.is_tensor(v) and "Tensor" or v == nil and "nil" or type(v) end

local function check_results(def, results, args)
  if results.n ~= #def.returns then
    error(string.format("%s: forward returned %d values, its schema has %d", def.name, results.n, #def.returns), 0)
  end
  for i, want in ipairs(def.returns) do
    local v = results[i]
    if want.type == "Tensor" and not torch.is_tensor(v) and not (want.optional and v == nil) then
      error(string.format("%s: result %d must be a Tensor, got %s", def.name, i, type_name(v)), 0)
    end
    for k = 1, #def.params do
      if v ~= nil and rawequal(v, args[k]) and torch.is_tensor(v) then
        error(string.format("%s: result %d is its argument '%s'; return %s:clone()", def.name, i, def.params[k].name,
          def.params[k].name), 0)
      end
    end
  end
end

--- All tensors among the arguments in order, None for the others, and how many places each parameter has.
local function flatten(def, args)
  local flat, widths = {}, {}
  for i, p in ipairs(def.params) do
    if p.type == "Tensor[]" and args[i] then
      for _, x in ipairs(args[i]) do flat[#flat + 1] = x end
      widths[i] = #args[i]
    else
      flat[#flat + 1] = torch.is_tensor(args[i]) and args[i] or torch.None
      widths[i] = 1
    end
  end
  return flat, widths
end

--- Arguments as forward got them, from the flat list of saved tensors.
local function inflate(def, kept, widths, values)
  local args, at = {}, 0
  for i, p in ipairs(def.params) do
    if p.type == "Tensor[]" and kept[i] == nil and widths[i] > 0 then args[i] = { table.unpack(values, at + 1, at + widths[i]) }
    elseif kept[i] ~= nil then args[i] = kept[i]
    else args[i] = values[at + 1] end
    at = at + widths[i]
  end
  return args, at
end

--- The function that the node calls: gradients of the results in, one gradient for each place of `flat` out.
local function backward_of(def, ctx, widths)
  return function(node, needs, ...)
    ctx.node, ctx.needs_input_grad = node, needs
    if ctx.kept then
      local values = table.pack(ctx:saved_tensors())
      local inputs, at = inflate(def, ctx.kept, widths, values)
      ctx.inputs = inputs
      ctx.outputs = { table.unpack(values, at + 1, values.n) }
    end
    local got = table.pack(def.backward(ctx, ...))
    ctx.node, ctx.inputs, ctx.outputs = nil, nil, nil
    if got.n > #def.params then
      error(string.format("%s: backward returned %d gradients, the op has %d parameters", def.name, got.n,
        #def.params), 0)
    end
    local flat, n = {}, 0
    for i, width in ipairs(widths) do
      if def.params[i].type == "Tensor[]" then
        for k = 1, width do flat[n + k] = type(got[i]) == "table" and got[i][k] or nil end
      else flat[n + 1] = got[i] end
      n = n + width
    end
    return table.unpack(flat, 1, n)
  end
end

local function needs_grad(flat)
  if not torch.is_grad_enabled() then return false end
  for _, x in ipairs(flat) do if torch.is_tensor(x) and x.requires_grad then return true end end
  return false
end

--- What is no tensor among the arguments; a list of tensors is none of these.
local function plain_arguments(def, args)
  local kept = {}
  for i, p in ipairs(def.params) do
    if p.type ~= "Tensor" and p.type ~= "Tensor[]" then kept[i] = args[i] end
  end
  return kept
end

local function record(def, args, flat, widths, results)
  local ctx = setmetatable({ name = def.name }, Context)
  ctx:save_for_backward()
  local backward
  if not def.backward then
    backward = function()
      error(def.name .. " has no backward: give custom_op a 'backward' or call torch.library.register_autograd", 0)
    end
  elseif def.setup_context then
    def.setup_context(ctx, args, results.n == 1 and results[1] or results)
    backward = backward_of(def, ctx, widths)
  else
    ctx.kept = plain_arguments(def, args)
    local all = { table.unpack(flat) }
    for k = 1, results.n do all[#flat + k] = results[k] end
    ctx:save_for_backward(table.unpack(all, 1, #flat + results.n))
    backward = backward_of(def, ctx, widths)
  end
  local outputs, saved = {}, ctx.tensors
  for k = 1, results.n do outputs[k] = torch.is_tensor(results[k]) and results[k] or torch.None end
  ctx.tensors = nil
  local tied = torch.autograd._custom(def.name, flat, outputs, {}, backward, true, saved, {})
  for k = 1, results.n do if torch.is_tensor(tied[k]) then results[k] = tied[k] end end
end

local function run(def, ...)
  local args = table.pack(...)
  for i, p in ipairs(def.params) do
    if args[i] == nil and p.has_default then args[i] = p.value end
  end
  local forward = def.forward
  if def.meta then
    for i = 1, #def.params do
      if torch.is_tensor(args[i]) and args[i].is_meta then forward = def.meta end
    end
  end
  local results = table.pack(torch.no_grad(forward, table.unpack(args, 1, #def.params)))
  check_results(def, results, args)
  local flat, widths = flatten(def, args)
  if needs_grad(flat) then record(def, args, flat, widths, results) end
  return table.unpack(results, 1, results.n)
end

-- ---- the op's row, for help and completion ----
local function signature(def, name)
  local parts, brace = {}, false
  for _, p in ipairs(def.params) do
    local text = p.name
    if p.default then text = text .. "=" .. (p.default == "None" and "nil" or p.default)
    elseif p.kwonly then text = text .. "=" end
    if p.kwonly and not brace then text, brace = "{" .. text, true end
    parts[#parts + 1] = text
  end
  local results = {}
  for i, r in ipairs(def.returns) do results[i] = r.type .. (#def.returns > 1 and r.name and " " .. r.name or "") end
  return name .. "(" .. table.concat(parts, ", ") .. (brace and "}" or "") .. ") -> " .. table.concat(results, ", ")
end

local function add_row(def, options)
  local rows = require "moth.ops"
  local name = "ops." .. def.space .. "." .. def.short
  local row = { id = name, path = "torch." .. name, name = name, base = def.short, overload = "", schema = def.schema,
    doc = options.doc, example = options.example, see = options.see, signature = signature(def, name), fn = true,
    derivative = options.derivative or def.backward and "given by the op's backward" or nil, nodiff = not def.backward,
    params = def.params, returns = def.returns, aliases = {}, user = true }
  row.overloads = { row }
  rows[name] = row
  def.row = row
end

--- Makes an op of a schema and its functions; returns it, and puts it under torch.ops.
function library.custom_op(schema, options)
  local def = read_schema(schema)
  if type(options) == "function" then options = { forward = options } end
  if type(options) ~= "table" or type(options.forward) ~= "function" then
    error("custom_op: " .. def.name .. " needs a table with 'forward', a function", 2)
  end
  local known = { forward = 1, backward = 1, setup_context = 1, meta = 1, doc = 2, example = 2, see = 2,
    derivative = 2 }
  for key, value in pairs(options) do
    local want = known[key] == 1 and "function" or "string"
    if not known[key] then error("custom_op: unknown option '" .. tostring(key) .. "' of " .. def.name, 2) end
    if type(value) ~= want then error("custom_op: '" .. key .. "' of " .. def.name .. " must be a " .. want, 2) end
  end
  def.forward, def.backward, def.meta = options.forward, options.backward, options.meta
  def.setup_context = options.setup_context
  def.fn = torch.library._op({ name = def.name, params = def.params }, function(...) return run(def, ...) end)
  torch.ops[def.space] = torch.ops[def.space] or {}
  torch.ops[def.space][def.short] = def.fn
  registry[def.name], registry[def.fn] = def, def
  add_row(def, options)
  return def.fn
end

--- Gives an op (its name or the function) its backward, as PyTorch's register_autograd does.
function library.register_autograd(op, backward, options)
  local def = registry[op]
  if not def then error("register_autograd: no op " .. tostring(op) .. " was made by custom_op", 2) end
  if type(backward) ~= "function" then error("register_autograd: backward must be a function", 2) end
  def.backward, def.setup_context = backward, options and options.setup_context
  def.row.derivative, def.row.nodiff = "given by the op's backward", nil
end

--- Checks an op on float64 arguments: its results fit the schema, and its backward agrees with differences.  Returns
--- true, or raises what is wrong.
function library.opcheck(op, args, options)
  local def = registry[op]
  if not def then error("opcheck: no op " .. tostring(op) .. " was made by custom_op", 2) end
  options = options or {}
  local eps, tol = options.eps or 1e-6, options.atol or 1e-5
  local function total() return (def.fn(table.unpack(args, 1, #def.params))) end
  local out = total()
  local weight = torch.randn(out.shape, { dtype = out.dtype })
  local function at(flat, k, value)
    flat[k] = value
    return (total():detach() * weight):sum():item()
  end
  for i, p in ipairs(def.params) do
    local x = args[i]
    if torch.is_tensor(x) and x.requires_grad then
      local g = torch.autograd.grad({ total() }, { x }, { weight })[1]:reshape(-1)
      local flat = x:detach():view(-1)
      for k = 0, flat:numel() - 1 do
        local was = flat[k]:item()
        local numeric = (at(flat, k, was + eps) - at(flat, k, was - eps)) / (2 * eps)
        flat[k] = was
        local got = g[k]:item()
        if math.abs(numeric - got) > tol * math.max(1, math.abs(numeric)) then
          error(string.format("%s: the gradient of '%s' at element %d is %g by differences, backward gives %g", def.name,
            p.name, k, numeric, got), 2)
        end
      end
    end
  end
  return true
end

return library
