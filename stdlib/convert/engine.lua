-- engine.lua: rules on a file.
-- Invariant: rules run in one walk from the outside in; a deleted or replaced subtree is not visited; each rule is
-- asked at
-- the nodes its match names and nowhere else, and says true (applied) or false and why not.
local context = require "convert.context"
local dsl = require "convert.dsl"
local scope = require "convert.python.scope"
local fields = require "convert.python.fields"
local data = require "convert.data"
local imports = require "convert.imports"
local layout = require "convert.layout"
local fold = require "convert.fold"

local engine = {}

local FAMILIES = { "imports", "classes", "device", "calls", "tensor", "init", "autograd", "train", "transformers",
  "api" }

--- All rules: the built-in families in order, then those of the folders in opts.rules (same id overrides).
function engine.rules(extra)
  local key = table.concat(extra or {}, "\0")
  engine.loaded = engine.loaded or {}
  if engine.loaded[key] then return engine.loaded[key] end
  local registry = dsl.registry
  if #registry == 0 then
    for _, family in ipairs(FAMILIES) do
      local first = #registry
      require("convert.rules." .. family)
      for i = first + 1, #registry do registry[i].family = family end
    end
    registry.builtin = #registry
  end
  local list, by_id = {}, {}
  for i = 1, registry.builtin do
    list[i] = registry[i]
    by_id[registry[i].id] = i
  end
  for _, path in ipairs(extra or {}) do
    local env = setmetatable({}, { __index = dsl })
    local chunk, err = loadfile(path, "t", env)
    if not chunk then error("rule file " .. err, 0) end
    local first = #registry
    local ok, message = pcall(chunk)
    if not ok then error("rule file " .. path .. ": " .. tostring(message), 0) end
    for i = first + 1, #registry do
      local r = registry[i]
      registry[i] = nil
      r.family, r.user = path, true
      if by_id[r.id] then list[by_id[r.id]] = r
      else
        table.insert(list, 1, r)
        for id, n in pairs(by_id) do by_id[id] = n + 1 end
        by_id[r.id] = 1
      end
    end
  end
  engine.loaded[key] = list
  return list
end

-- Whether a rule takes part under these options.
local function active(rule, opts)
  if rule.profile and rule.profile ~= opts.profile then return false end
  if rule.style and rule.style ~= (opts.style or "default") then return false end
  if rule.state == "optional" and not rule.style and not (opts.enable and opts.enable[rule.id]) then return false end
  if opts.disable and opts.disable[rule.id] then return false end
  return true
end

-- The rules by what they look at.
local function index(rules, opts)
  local ix = { call = {}, reference = {}, method = {}, attribute = {}, decorator = {}, derived = {}, node = {},
    imported = {}, file = {} }
  for _, r in ipairs(rules) do
    if active(r, opts) then
      local kind = r.match.kind
      if kind == "file" then table.insert(ix.file, r)
      else
        for _, key in ipairs(r.match.keys) do
          local list = ix[kind][key]
          if not list then
            list = {}
            ix[kind][key] = list
          end
          list[#list + 1] = r
        end
      end
    end
  end
  return ix
end

local function try(f, r, node)
  local ok, why
  if r.where then
    ok, why = r.where(f, node)
    if not ok then
      if f.trace then f.trace(r, node, false, why or "its condition does not hold") end
      return false
    end
  end
  ok, why = r.edit(f, node, r)
  if ok then
    local list = f.applied[r.id]
    if not list then
      list = {}
      f.applied[r.id] = list
    end
    list[#list + 1] = node.s
  end
  if f.trace then f.trace(r, node, ok and true or false, ok and (why or "applies") or (why or "nothing to do")) end
  return ok
end

local function run(f, list, node)
  if not list then return end
  for i = 1, #list do
    if node.dead then return end
    if try(f, list[i], node) and list[i].last then return end
  end
end

local function walk(f, ix)
  local meaning = scope.meaning
  local by_node, calls, refs, methods, attributes = ix.node, ix.call, ix.reference, ix.method, ix.attribute
  local any_call, any_ref = calls["*"], refs["*"]
  local visit

  local function visit_children(node)
    local names = fields[node.k]
    for i = 1, #names do
      local v = node[names[i]]
      if v then
        if v.k then visit(v)
        else
          for j = 1, #v do
            local x = v[j]
            if x then visit(x) end
          end
        end
      end
    end
  end

  function visit(node)
    if node.dead then return end
    local k = node.k
    local list = by_node[k]
    if list then
      run(f, list, node)
      if node.dead then return end
    end
    if k == "Call" then
      local func = node.func
      local m = meaning(func)
      if m then
        run(f, calls[m], node)
        if any_call and not node.dead then run(f, any_call, node) end
      elseif func.k == "Attribute" then run(f, methods[func.attr], node) end
      if node.dead then return end
    elseif k == "Attribute" or k == "Name" then
      if not node.renamed then
        local m = meaning(node)
        if m then
          run(f, refs[m], node)
          if any_ref and not node.dead and not node.renamed then run(f, any_ref, node) end
        elseif k == "Attribute" then run(f, attributes[node.attr], node) end
      end
      if k == "Name" or node.dead then return end
    elseif k == "ClassDef" and next(ix.derived) then
      for _, base in ipairs(node.bases) do
        local m = meaning(base)
        if m then run(f, ix.derived[m], node) end
      end
    end
    if k == "FunctionDef" or k == "ClassDef" or k == "AsyncFunctionDef" then
      for _, d in ipairs(node.decorators) do
        if not d.dead then
          local m = meaning(d.k == "Call" and d.func or d)
          if m then
            run(f, ix.decorator[m], d)
            if not d.dead then run(f, ix.decorator["*"], d) end
          end
        end
      end
    end
    visit_children(node)
  end

  for _, st in ipairs(f.tree.body) do visit(st) end
end

local MODULES = {
  ["torch"] = "mindspore", ["torch.nn"] = "mindspore.nn", ["torch.nn.functional"] = "mindspore.mint.nn.functional",
  ["torch.optim"] = "mindspore.mint.optim", ["torch.linalg"] = "mindspore.mint.linalg",
    ["torch.special"] = "mindspore.mint.special",
  ["torch.distributed"] = "mindspore.mint.distributed", ["torch.Tensor"] = "mindspore.Tensor",
}

--- Converts a text. Returns the new text and the context (facts for reports), or nil and the syntax error.
function engine.convert(text, opts)
  opts = opts or {}
  opts.profile = opts.profile or "generic"
  local rules = engine.rules(opts.rules)
  local key = opts.index
  if not key or key.rules ~= rules then
    key = { rules = rules, ix = index(rules, opts) }
    opts.index = key
  end
  local f, err = context.new(text, opts)
  if not f then return nil, err end
  f.module_map, f.api, f.versions = MODULES, data.api(), opts.ms_version
  f.api_of = engine.api_of
  for _, st in ipairs(f.facts.imports) do
    for _, a in ipairs(st.names) do
      local path = st.path and st.path .. "." .. a.name or a.name
      if imports.is_torch(path) then f.uses_torch = true end
      if path:find("^mindspore") then f.uses_mindspore = true end
    end
  end
  walk(f, key.ix)
  for _, r in ipairs(key.ix.file) do try(f, r, f.tree) end
  fold.apply(f)
  imports.rewrite(f)
  f:write_trims()
  f:write_deletions()
  f:write_dedents()
  layout.join(f)
  local result, dropped = f.edits:render()
  f.dropped = dropped
  return result, f
end

--- The mindspore path of a torch path by the tables (no argument changes), or nil.
function engine.api_of(f, path)
  return f.names_map and f.names_map[path] or f.api[path] or MODULES[path]
end

return engine
