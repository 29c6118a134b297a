-- complete.lua: what could follow at the cursor, and the signature of the call around it.  Values are looked up without
-- running any of the user's code; tables, metatables, the op table and the words of the block itself answer.
local docs = require "repl.docs"
local names = require "repl.names"
local units = require "repl.units"

local complete = {}

local NAME, PUNCT, STRING, CALL, COMMENT = 5, 6, 3, 7, 4
local keywords = { "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
  "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while" }

-- ---- the text before the cursor ----
--- The tokens before the cursor as a list of { style, text, from }.
local function tokens_before(text)
  local list = {}
  for style, token, from in units.tokens(text) do list[#list + 1] = { style, token, from } end
  return list
end

--- The expression that ends at token i: its first token and its parts, e.g. { "x", ".", "a", ":", "b" }.
local function expression_at(list, i)
  local parts = {}
  while i >= 1 do
    local t = list[i]
    if t[1] == NAME or t[1] == CALL then
      table.insert(parts, 1, t[2])
      local before = list[i - 1]
      if before and before[1] == PUNCT and (before[2] == "." or before[2] == ":") and
          not (list[i - 2] and list[i - 2][2] == "." and before[2] == ".") then
        table.insert(parts, 1, before[2])
        i = i - 2
      else return parts, i end
    elseif t[2] == ")" or t[2] == "]" or t[2] == "}" then
      local depth, j = 0, i
      while j >= 1 do
        local text = list[j][1] == PUNCT and list[j][2]
        if text == ")" or text == "]" or text == "}" then depth = depth + 1 end
        if text == "(" or text == "[" or text == "{" then depth = depth - 1 end
        if depth == 0 then break end
        j = j - 1
      end
      table.insert(parts, 1, list[j] and list[j][2] == "(" and "()" or "[]")
      i = j - 1
      if i < 1 or not (list[i][1] == NAME or list[i][1] == CALL) then return parts, i + 1 end
    elseif t[1] == STRING then
      table.insert(parts, 1, "''")
      return parts, i
    else return parts, i + 1 end
  end
  return parts, 1
end

local function global_or_local(name)
  local found, value = units.get(name)
  if found then return value end
  return rawget(_G, name)
end

--- Value of the parts of an expression; "Tensor" as second result when only its kind is known (a call's result).
local function value_of(parts)
  local first = parts[1]
  if not first then return nil end
  local value, kind
  if first == "''" then value = ""
  elseif first == "()" then
    value = nil                            -- ("text"):m
    kind = "?"
  else value = global_or_local(first) end
  for i = 2, #parts do
    local p = parts[i]
    if p == "()" then
      local entry = type(value) == "function" and (docs.find_value(value) or docs.get(parts[i - 1]))
      kind = entry and (entry.signature or ""):find("%->%s*Tensor") and "Tensor" or "?"
      if kind == "?" and type(value) == "table" and names.raw_field(value, "forward") then kind = "Module" end
      value = nil
    elseif p == "[]" then
      if names.is_tensor(value) then kind = "Tensor" end
      value = nil
    elseif p ~= "." and p ~= ":" then
      if kind == "Tensor" then
        local entry = docs.get("Tensor." .. p) or docs.get(p)
        kind = entry and (entry.signature or ""):find("%->%s*Tensor") and "Tensor" or "?"
      elseif value ~= nil then
        local owner = value
        value = names.raw_field(value, p)
        if value == nil and names.is_tensor(owner) then kind = "Tensor" end
      end
    end
  end
  return value, kind
end

-- ---- candidates ----
local function matching(list, prefix)
  local out, seen = {}, {}
  for _, name in ipairs(list) do
    if name:sub(1, #prefix) == prefix and not seen[name] and (prefix ~= "" or name:sub(1, 1) ~= "_") then
      seen[name] = true
      out[#out + 1] = name
    end
  end
  table.sort(out)
  return out
end

local function all_names(list, upto)
  local out = {}
  for i = 1, upto do
    if list[i][1] == NAME or list[i][1] == CALL then out[#out + 1] = list[i][2] end
  end
  for k in next, _G do if type(k) == "string" then out[#out + 1] = k end end
  for name in units.locals() do out[#out + 1] = name end
  for _, k in ipairs(keywords) do out[#out + 1] = k end
  return out
end

--- Files under a path that is being typed; folders end in "/".
local function paths(prefix)
  local dir, base = prefix:match("^(.*/)([^/]*)$")
  dir, base = dir or "", base or prefix
  local where = dir:gsub("^~/", (os.getenv("HOME") or "~") .. "/")
  local ok, sys = pcall(require, "sys")
  local out = {}
  if ok and type(sys.list) == "function" then
    local done, list = pcall(sys.list, where == "" and "." or where)
    if not done or type(list) ~= "table" then return out end
    for _, entry in ipairs(list) do
      local name = type(entry) == "table" and entry.name or entry
      if name:sub(1, #base) == base and (base ~= "" or name:sub(1, 1) ~= ".") then
        local is_dir = type(entry) == "table" and entry.type == "directory"
        if type(entry) ~= "table" and sys.stat then
          local fine, st = pcall(sys.stat, where .. name)
          is_dir = fine and type(st) == "table" and (st.type == "directory" or st.type == "dir" or st.is_dir == true)
        end
        out[#out + 1] = dir .. name .. (is_dir and "/" or "")
      end
    end
  end
  table.sort(out)
  return out
end

local function modules(prefix)
  local list = {}
  for _, file in ipairs(require("moth.embed").list()) do
    local name = file:match("^(.*)%.lua$")
    if name then list[#list + 1] = name:gsub("/init$", ""):gsub("/", ".") end
  end
  for name in pairs(package.loaded) do list[#list + 1] = name end
  for name in pairs(package.preload) do list[#list + 1] = name end
  local out = matching(list, prefix)
  for _, file in ipairs(paths((prefix:gsub("%.", "/")))) do
    local name = file:match("^(.*)%.lua$") or file:match("^(.*)/$")
    if name and name:gsub("/", "."):sub(1, #prefix) == prefix then out[#out + 1] = (name:gsub("/", ".")) end
  end
  return matching(out, prefix)
end

-- ---- the call around the cursor ----
--- The innermost open bracket before the cursor: its token index, and how many commas follow at its level.
local function open_bracket(list, upto)
  local depth, commas = 0, 0
  for i = upto, 1, -1 do
    local t = list[i]
    if t[1] == PUNCT then
      if t[2] == ")" or t[2] == "}" or t[2] == "]" then depth = depth + 1
      elseif t[2] == "(" or t[2] == "{" or t[2] == "[" then
        if depth == 0 then return i, commas end
        depth = depth - 1
      elseif t[2] == "," and depth == 0 then commas = commas + 1 end
    end
  end
end

--- A documentation entry for any function value.
local function entry_for(value, parts, kind)
  if type(value) == "function" then
    local entry = docs.find_value(value)
    if entry then return entry end
    local info = debug.getinfo(value, "Su")
    if info.what == "C" then return docs.get(parts[#parts]) end
    local params = {}
    for i = 1, info.nparams do params[i] = { name = debug.getlocal(value, i) } end
    if info.isvararg then params[#params + 1] = { name = "..." } end
    return { name = parts[#parts], params = params, lua = true }
  end
  local last = parts[#parts]
  if last and (kind == "Tensor" or parts[#parts - 1] == ":") then
    return docs.get("Tensor." .. last) or docs.get(last)
  end
  if #parts > 1 then return docs.get(table.concat(parts)) end
end

--- The call whose arguments the cursor is in: entry, number of the argument (from 0), is it a method call, inside {}?
local function enclosing_call(list, upto)
  local at, commas = open_bracket(list, upto)
  local in_table, table_at = false, nil
  while at do
    local t, before = list[at], list[at - 1]
    local callee = before and (before[1] == NAME or before[1] == CALL)
    if (t[2] == "(" or t[2] == "{") and callee then
      local parts = expression_at(list, at - 1)
      local value, kind = value_of(parts)
      if value == nil and kind ~= "Tensor" and #parts > 2 then
        local owner, owner_kind = value_of({ table.unpack(parts, 1, #parts - 2) })
        if names.is_tensor(owner) or owner_kind == "Tensor" then kind = "Tensor" end
      end
      local entry = entry_for(value, parts, kind)
      if t[2] == "{" then in_table, table_at = true, at end
      return entry, commas, parts[#parts - 1] == ":", in_table, table_at, parts
    end
    if t[2] == "{" then in_table, table_at = true, at else return nil end
    local outer, outer_commas = open_bracket(list, at - 1)
    at, commas = outer, outer_commas
  end
end

--- dtype values offered for `dtype = torch.f`.
local dtypes = { "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
  "complex64", "complex128", "float", "double", "half", "int", "long", "short" }

local choices = { reduction = { "none", "mean", "sum" }, nonlinearity = { "tanh", "relu" },
  padding_mode = { "zeros", "reflect", "replicate", "circular" }, approximate = { "none", "tanh" },
  indexing = { "ij", "xy" }, rounding_mode = { "trunc", "floor" }, device = { "cpu", "meta" },
  mode = { "nearest", "linear", "bilinear", "bicubic", "trilinear", "area" } }

--- The keyword whose value is being written: `dtype = torch.f|` gives "dtype".
local function keyword_before(list, i)
  while i >= 2 do
    local t = list[i]
    if t[2] == "=" and (list[i - 1][1] == NAME or list[i - 1][1] == CALL) then return list[i - 1][2] end
    if not (t[1] == NAME or t[1] == CALL or t[2] == ".") then return nil end
    i = i - 1
  end
end

--- The forms of an entry that take `count` positional arguments; the entry itself where none does.
local function forms_of(entry, count, method)
  local fitting = {}
  for _, row in ipairs(entry.op and entry.op.overloads or {}) do
    local positional = 0
    for i, p in ipairs(row.params) do
      if not p.kwonly and not (i == 1 and method and p.name == "self") then positional = positional + 1 end
    end
    if positional >= count then fitting[#fitting + 1] = row end
  end
  return #fitting > 0 and fitting or { entry }
end

local function param_named(entry, name)
  for _, form in ipairs(entry and forms_of(entry, 0) or {}) do
    for _, p in ipairs(form.params or {}) do if p.name == name then return p end end
  end
end

-- ---- the two questions of the editor ----
--- Inside a string: paths, module names, or the values a keyword takes.
local function complete_string(list, text)
  local t = list[#list]
  local open = t[2]:match("^[\"']") or t[2]:match("^%[=*%[")
  local content = t[2]:sub(#open + 1)
  local from = t[3] + #open
  local before = list[#list - 1]
  if before and before[2] == "(" then before = list[#list - 2] end
  if before and before[2] == "require" then return from, modules(content) end
  local keyword = keyword_before(list, #list - 1)
  local entry = enclosing_call(list, #list - 1)
  local p = keyword and param_named(entry, keyword)
  local values = p and p.choices or keyword and choices[keyword]
  if values then return from, matching(values, content) end
  return from, paths(content), nil, text
end

local function complete_member(list, i, prefix, method)
  local parts = expression_at(list, i)
  local value, kind = value_of(parts)
  local members
  if parts[1] == "()" and #parts == 1 then members = names.members("")
  elseif value ~= nil then members = names.members(value)
  elseif kind == "Tensor" then members = names.tensor_members()
  else return {} end
  local keyword = keyword_before(list, i)
  if keyword == "dtype" and parts[1] == "torch" and #parts == 1 then members = dtypes end
  local out = matching(members, prefix)
  if #out == 0 and prefix ~= "" then        -- capitals do not matter when nothing else fits
    for _, name in ipairs(members) do
      if name:lower():sub(1, #prefix) == prefix:lower() then out[#out + 1] = name end
    end
  end
  if method and value ~= nil then
    local only = {}
    for _, name in ipairs(out) do
      local v = names.raw_field(value, name)
      if v == nil or type(v) == "function" then only[#only + 1] = name end
    end
    return only
  end
  return out
end

local function keywords_of_call(list, upto, prefix)
  local entry, commas, method, in_table, table_at = enclosing_call(list, upto)
  if not entry or not in_table then return {} end
  local before = list[upto]
  if not (before[2] == "{" or before[2] == ",") then return {} end
  local given, out = {}, {}
  for i = table_at, upto do
    if list[i + 1] and list[i + 1][2] == "=" then given[list[i][2]] = true end
  end
  local called_by_table = list[table_at - 1] and (list[table_at - 1][1] == NAME or list[table_at - 1][1] == CALL)
  for _, form in ipairs(forms_of(entry, called_by_table and 0 or commas, method)) do
    local self = method and form.params and form.params[1] and form.params[1].name == "self" and 1 or 0
    for k, p in ipairs(form.params or {}) do
      local taken = given[p.name] or p.name == "self" or not called_by_table and k - self <= commas
      if not taken and p.name:find("^[%a_][%w_]*$") and p.name:sub(1, #prefix) == prefix then
        out[#out + 1] = p.name .. " = "
        given[p.name] = true
      end
    end
  end
  return out
end

--- Candidates at the cursor: where they begin, a list, notes by candidate.
function complete.candidates(text, cursor)
  local before = text:sub(1, cursor - 1)
  local command = before:match("^%%(%w*)$")
  if command then return 2, matching(require("repl.commands").names(), command) end
  local help_name = before:match("^%?+%s*([%w_.:]*)$")
  local list = tokens_before(help_name and (" "):rep(#before - #help_name) .. help_name or before)
  local styles = require("moth.term").styles(before)
  local last = list[#list]
  if styles:sub(-1) == tostring(COMMENT) then return cursor, {} end
  if last and last[1] == STRING and last[3] + #last[2] == cursor and
      not (#last[2] > 1 and last[2]:find("^([\"']).*%1$") and not last[2]:find("\\.$")) then
    return complete_string(list, before)
  end
  local prefix = before:match("[%a_][%w_]*$") or ""
  local i = prefix ~= "" and #list - 1 or #list
  local from = cursor - #prefix
  local dot = list[i]
  if dot and dot[1] == PUNCT and (dot[2] == "." or dot[2] == ":") and
      not (dot[2] == "." and list[i - 1] and list[i - 1][2] == ".") then
    local out = complete_member(list, i - 1, prefix, dot[2] == ":")
    return from, out, complete.notes(list, i - 1, out)
  end
  local words = keywords_of_call(list, i, prefix)
  if #words > 0 then
    if prefix ~= "" then table.move(matching(all_names(list, i), prefix), 1, 1000, #words + 1, words) end
    return from, words
  end
  if prefix == "" and not help_name then return cursor, {} end
  return from, matching(all_names(list, i), prefix)
end

--- A line about each candidate, for the one that is chosen.
function complete.notes(list, i, out)
  if #out > 300 then return nil end
  local value = value_of((expression_at(list, i)))
  local notes = {}
  for _, name in ipairs(out) do
    local v = value ~= nil and names.raw_field(value, name)
    local entry = type(v) == "function" and docs.find_value(v) or names.is_tensor(value) and docs.get(name)
    if entry and entry.signature then
      notes[name] = entry.signature .. (entry.doc and "  " .. entry.doc:match("[^\n]*") or "")
    end
  end
  return notes
end

--- The signature of the call around the cursor, the current parameter between \1 and \2; nil outside calls.
function complete.hint(text, cursor)
  local list = tokens_before(text:sub(1, cursor - 1))
  if #list == 0 then return nil end
  local entry, commas, method, in_table = enclosing_call(list, #list)
  if not entry or not entry.params then return nil end
  local forms = entry.op and #(entry.op.overloads or {}) or 1
  local form = forms_of(entry, in_table and commas or commas + 1, method)[1]
  local params, shown, keyword = form.params, {}, {}
  local first = method and params[1]
  local skip_self = first and (first.name == "self" or (entry.name or ""):find("^string%.")) and 1 or 0
  for i = 1 + skip_self, #params do
    local p = params[i]
    local label = p.name .. (p.type and ": " .. p.type or "") ..
      (p.default ~= nil and "=" .. tostring(p.default):gsub("^None$", "nil") or "")
    if p.kwonly then keyword[#keyword + 1] = label
    elseif not in_table and i - skip_self - 1 == commas then shown[#shown + 1] = "\1" .. label .. "\2"
    else shown[#shown + 1] = label end
  end
  if #keyword > 0 then shown[#shown + 1] = "{" .. table.concat(keyword, ", ") .. "}" end
  local result = (form.signature or ""):match("%->.*$")
  local name = (entry.name or "?"):match("[%w_]+$")
  local more = forms > 1 and string.format("   (one of %d forms)", forms) or ""
  return name .. "(" .. table.concat(shown, ", ") .. ")" .. (result and " " .. result or "") .. more
end

return complete
