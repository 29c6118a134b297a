-- imports.lua: the import statements after the rules have run.
-- Invariant: an import of torch stays exactly when something alive still means torch through it (it is then listed
-- as left);
-- what the new code needs is imported once, where the first torch import stood; a name nobody uses any more is dropped.
local data = require "convert.data"

local imports = {}

local TORCH = {}
for name in ("torch torchvision torchaudio torchtext functorch"):gmatch("%S+") do TORCH[name] = true end
imports.torch_roots = TORCH

function imports.is_torch(path) return TORCH[path:match("^[^.]+")] or false end

-- One import line, in parentheses over several lines when longer than 119 columns.
local function from_line(module, names, indent)
  table.sort(names)
  local line = "from " .. module .. " import " .. table.concat(names, ", ")
  if #indent + #line <= 119 then return line end
  return "from " .. module .. " import (\n" .. indent .. "    " .. table.concat(names, ",\n" .. indent .. "    ")
    .. ",\n" .. indent .. ")"
end

local function as_text(name, asname)
  return asname and asname ~= name and name .. " as " .. asname or name
end

-- How the uses of an alias' binding fared.
local function fate(b)
  local alive, kept, open = 0, 0, 0
  for _, use in ipairs(b.uses) do
    if not use.dead and not use.gone then
      alive = alive + 1
      if use.kept then kept = kept + 1 else open = open + 1 end
    end
  end
  return alive, kept, open
end
imports.fate = fate

local function chain_text(f, node)
  while node.up and node.up.k == "Attribute" and node.up.value == node do node = node.up end
  return f:text(node)
end

-- Lists the places where a name still means torch.
local function list_left(f, b)
  for _, use in ipairs(b.uses) do
    if not use.dead and not use.gone and not use.kept and not use.listed then
      use.listed = true
      f.left[#f.left + 1] = { line = f:line(use.s), pos = use.s, name = chain_text(f, use), meaning = b.path }
    end
  end
end

local function split_path(path)
  local module, name = path:match("^(.*)%.([^.]+)$")
  return module, name
end

imports.list_left = list_left

-- The import statement that gives `path` under a local name.
local function import_text(path, local_name)
  local module, name = split_path(path)
  if not module then return "import " .. as_text(path, local_name ~= path and local_name or nil) end
  return "from " .. module .. " import " .. as_text(name, local_name)
end

local function at_top(f, st) return st.up == f.tree end

-- torch imports: drop, convert or keep each alias.
local function torch_statement(f, st)
  local parts, kept_names, changed = {}, {}, false
  local module = st.k == "ImportFrom" and st.path or nil
  for _, a in ipairs(st.names) do
    local b = a.binding
    local path = module and module .. "." .. a.name or a.name
    if not b or not imports.is_torch(path) then kept_names[#kept_names + 1] = as_text(a.name, a.asname or nil)
    else
      local _, kept, open = fate(b)
      if open > 0 and kept > 0 then
        -- the name now means mindspore's module: what is left of torch is written out
        list_left(f, b)
        for _, use in ipairs(b.uses) do
          if not use.dead and not use.gone and not use.kept then f:replace(use, b.path) end
        end
        f:need(b.path:match("^[^.]+"))
        f.keeps_torch = true
        open, changed = 0, true
      end
      if open > 0 then
        kept_names[#kept_names + 1] = as_text(a.name, a.asname or nil)
        list_left(f, b)
      end
      if open == 0 then changed = true end
      if kept > 0 and b.kept then
        local local_name = a.asname or (module and a.name) or a.name:match("^[^.]+")
        if at_top(f, st) and open == 0 then
          local mod, name = split_path(b.kept)
          if mod then f:need(mod, name, local_name ~= name and local_name or nil)
          else f:need(b.kept, nil, local_name) end
        elseif not b.written then
          b.written = true
          parts[#parts + 1] = import_text(b.kept, local_name)
          changed = true
        end
      elseif kept == 0 and open == 0 and #b.uses == 0 and f.keep_unused then
        kept_names[#kept_names + 1] = as_text(a.name, a.asname or nil)
      end
    end
  end
  if not changed then return end
  f.first_torch = f.first_torch or st
  local indent = f:indent(st)
  if #kept_names > 0 then
    parts[#parts + 1] = module and from_line(module, kept_names, indent) or "import " .. table.concat(kept_names, ", ")
  end
  if #parts == 0 then
    if st == f.first_torch and at_top(f, st) then f.header_at = st
    else f:delete(st) end
    return
  end
  f.edits:replace(st.s, st.e, table.concat(parts, "\n" .. indent))
end

-- The module a relative import means, "transformers.utils" for "...utils" in transformers.models.x.modeling_x.
local function absolute(f, st)
  if st.level == 0 then return st.module end
  local package = f.opts.package
  if package then
    local parts = {}
    for p in package:gmatch("[^.]+") do parts[#parts + 1] = p end
    local n = #parts - (st.level - 1)
    if n >= 1 then
      return table.concat(parts, ".", 1, n) .. (st.module and "." .. st.module or "")
    end
  end
  return nil
end
imports.absolute = absolute

-- Profile mindone: imports inside transformers go where the ports have them, else to transformers itself.
local function port_statement(f, st, ports)
  local base = absolute(f, st)
  if not base or not base:find("^transformers") then return false end
  local target = base:gsub("%.pytorch_utils$", ".mindspore_utils")
  local groups, order, changed = {}, {}, target ~= base
  local function put(module, text)
    if not groups[module] then
      groups[module] = {}
      order[#order + 1] = module
    end
    table.insert(groups[module], text)
  end
  local dots = ("."):rep(st.level)
  local here = st.level > 0 and dots .. (st.module or ""):gsub("pytorch_utils$", "mindspore_utils") or nil
  for _, a in ipairs(st.names) do
    local text = as_text(a.name, a.asname or nil)
    local alive = a.binding and fate(a.binding) or 1
    local there = ports[target]
    if a.binding and #a.binding.uses > 0 and alive == 0 then changed = true
    elseif st.level == 0 then put(base, text)
    elseif a.name == "*" or there and (there[a.name] or ports[target .. "." .. a.name]) then put(here, text)
    else
      put(base, text)
      changed = true
    end
  end
  if not changed then return true end
  if #order == 0 then
    f:delete(st)
    return true
  end
  local indent, lines = f:indent(st), {}
  for _, module in ipairs(order) do lines[#lines + 1] = from_line(module, groups[module], indent) end
  f.edits:replace(st.s, st.e, table.concat(lines, "\n" .. indent))
  f.applied["imports.port"] = f.applied["imports.port"] or {}
  table.insert(f.applied["imports.port"], st.s)
  return true
end

-- Drops the aliases of a statement whose uses all died in the conversion.
local function drop_unused(f, st)
  local kept, dropped = {}, 0
  for _, a in ipairs(st.names) do
    local b = a.binding
    if b and #b.uses > 0 and fate(b) == 0 and not b.wanted and st.path ~= "__future__" then dropped = dropped + 1
    else kept[#kept + 1] = as_text(a.name, a.asname or nil) end
  end
  if dropped == 0 then return end
  if #kept == 0 then
    f:delete(st)
    return
  end
  if st.k == "Import" then f.edits:replace(st.s, st.e, "import " .. table.concat(kept, ", "))
  else f.edits:replace(st.names[1].s, st.names[#st.names].e, table.concat(kept, ", ")) end
end

-- Where the header of needed imports goes when no torch import stood at top level.
local function header_place(f)
  local body = f.tree.body
  local i = 1
  if body[1] and body[1].k == "Expr" and body[1].value.k == "Constant" then i = 2 end
  while body[i] and body[i].k == "ImportFrom" and body[i].module == "__future__" do i = i + 1 end
  local place = body[i] or nil
  -- before the first plain import when there is one near
  for j = i, #body do
    if body[j].k == "Import" or body[j].k == "ImportFrom" then place = body[j] break end
    if body[j].k == "ClassDef" or body[j].k == "FunctionDef" then break end
  end
  return place
end

local function header_lines(f)
  local modules, order, lines = {}, {}, {}
  for _, n in ipairs(f.needs_list) do
    if not n.name then lines[#lines + 1] = "import " .. as_text(n.module, n.asname)
    else
      if not modules[n.module] then
        modules[n.module] = {}
        order[#order + 1] = n.module
      end
      table.insert(modules[n.module], as_text(n.name, n.asname))
    end
  end
  table.sort(lines)
  table.sort(order, function(a, b)
    local ar, br = a:find("^%.") and 1 or 0, b:find("^%.") and 1 or 0
    if ar ~= br then return ar < br end
    return a < b
  end)
  for _, module in ipairs(order) do lines[#lines + 1] = from_line(module, modules[module], "") end
  return lines
end

-- If an `if` lost all it guarded, it goes too; an emptied `else` goes alone.
local function cascade(f)
  local again = true
  while again do
    again = false
    for i = 1, #f.deleted do
      local up = f.deleted[i].up
      if up and up.k == "If" and not up.dead and not up.unwrapped then
        local all = true
        for _, st in ipairs(up.body) do all = all and st.deleted end
        for _, st in ipairs(up.orelse) do all = all and st.deleted end
        if all and not up.elif and not f:contains(up.test, "NamedExpr") then
          f:delete(up)
          again = true
        end
      end
    end
  end
end
imports.cascade = cascade

--- Rewrites the imports of a file after the rules.
function imports.rewrite(f)
  cascade(f)
  for _, st in ipairs(f.facts.imports) do
    if not st.dead then
      local touches = false
      for _, a in ipairs(st.names) do
        local path = st.k == "ImportFrom" and st.path .. "." .. a.name or a.name
        if imports.is_torch(path) then touches = true end
      end
      if touches then torch_statement(f, st) end
    end
  end
  cascade(f)
  local ports = f.opts.profile == "mindone" and (f.uses_torch or f.uses_mindspore) and data.package("mindone")
  for _, st in ipairs(f.facts.imports) do
    if not st.dead and st ~= f.header_at then
      local torch = st.k == "ImportFrom" and imports.is_torch(st.path)
      if not torch and not (st.k == "ImportFrom" and ports and port_statement(f, st, ports)) then drop_unused(f, st) end
    end
  end
  cascade(f)
  local lines = header_lines(f)
  local at = f.header_at
  if at then
    if #lines == 0 then f:delete(at)
    else f.edits:replace(at.s, at.e, table.concat(lines, "\n")) end
  elseif #lines > 0 then
    local place = f.first_torch
    while place and place.up ~= f.tree do place = place.up end
    place = place or header_place(f)
    local text = table.concat(lines, "\n") .. "\n"
    if place then f.edits:insert(f:line_start(place.outer_s or place.s), text)
    else f.edits:insert(#f.src + 1, text) end
  end
end

return imports
