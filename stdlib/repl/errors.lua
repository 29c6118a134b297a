-- errors.lua: what went wrong, in terms of the user's lines: message, source line with a caret, "did you mean", the
-- tensors involved, and the calls in between.
--
-- The message handler runs while the failed call is still on the stack, so names can be looked up; it never raises.
local style = require "repl.style"
local suggest = require "repl.suggest"
local units = require "repl.units"

local errors = {}

local sources = {}          -- chunk name -> text typed at the prompt

function errors.remember(chunk, text) sources[chunk] = text end

-- ---- source lines ----
local function nth_line(text, n)
  local i = 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    i = i + 1
    if i == n then return line end
  end
end

local function file_line(path, n)
  local f = io.open(path)
  if not f then return end
  local i, found = 0, nil
  for line in f:lines() do
    i = i + 1
    if i == n then found = line break end
    if i > 200000 then break end
  end
  f:close()
  return found
end

local function source_line(source, n)
  if sources[source] then return nth_line(sources[source], n) end
  if source:sub(1, 1) == "@" and source:sub(2, 7) ~= "<moth>" then return file_line(source:sub(2), n) end
end

-- ---- looking up names in the failed frame ----
--- Value of a variable at a stack level, counted from the callee (each caller adds one): found?, value.
local function variable(level, name)
  local found, value = false, nil
  for i = 1, 250 do
    local n, v = debug.getlocal(level, i)
    if not n then break end
    if n == name then found, value = true, v end
  end
  if found then return true, value end
  local info = debug.getinfo(level, "f")
  for i = 1, 255 do
    local n, v = debug.getupvalue(info.func, i)
    if not n then break end
    if n == name then return true, v end
  end
  local v = rawget(_G, name)
  return v ~= nil, v
end

--- Value of "a.b.c" without running any of the user's code.
local function chain(level, text)
  local ok, value
  for name in text:gmatch("[%a_][%w_]*") do
    if value == nil then ok, value = variable(level + 1, name)
    else value = require("repl.names").raw_field(value, name) end
    if value == nil then return nil end
  end
  return ok and value or nil
end

--- What stands before `name` on the line: container text and where the name begins.
local function find_use(line, name, separator)
  local at = 1
  while true do
    local a, b = line:find(name, at, true)
    if not a then return end
    local whole = not line:sub(a - 1, a - 1):find("[%w_]") and not line:sub(b + 1, b + 1):find("[%w_]")
    local before = line:sub(1, a - 1)
    if whole and (not separator or before:find("%" .. separator .. "%s*$")) then
      return before:match("([%a_][%w_%.]*)%s*[%.:]%s*$"), a
    end
    at = b + 1
  end
end

-- ---- suggestions ----
local function known_globals()
  local list = {}
  for k in next, _G do if type(k) == "string" then list[#list + 1] = k end end
  for name in units.locals() do list[#list + 1] = name end
  return list
end

--- Adds report.name (where the caret goes) and report.meant for Lua's own "nil value" errors.
local function explain_nil(report, level)
  local what, name = report.message:match("%((%a+) '([^']+)'%)")
  if not what or not report.line then return end
  local separator = what == "method" and ":" or what == "field" and "." or nil
  local container, at = find_use(report.line, name, separator)
  report.name, report.at = name, at
  if not report.message:find("a nil value", 1, true) then return end
  if what == "global" then report.meant = suggest.nearest(name, known_globals())
  elseif container then
    local owner = chain(level + 1, container)
    if owner ~= nil then report.meant = suggest.nearest(name, require("repl.names").members(owner)) end
  end
end

--- The first quoted word of a message that stands on the line.
local function explain_quoted(report)
  for word in report.message:gmatch("'([%a_][%w_]*)'") do
    local _, at = find_use(report.line, word)
    if at then
      report.name, report.at = word, at
      if report.message:find("Tensor has no", 1, true) then
        report.meant = suggest.nearest(word, require("repl.names").tensor_members())
      end
      return
    end
  end
end

--- "x is float32 [3, 4]" for tensors named on the line.
local function tensors_on(report, level)
  local facts, seen = {}, {}
  local describe = require("repl.echo").tensor_facts
  for style_number, name in units.tokens(report.line) do
    if style_number == 5 and not seen[name] and #facts < 4 then
      seen[name] = true
      local ok, value = variable(level + 1, name)
      local text = ok and describe(value)
      if text then facts[#facts + 1] = name .. " is " .. text end
    end
  end
  if #facts > 0 then report.facts = table.concat(facts, "; ") end
end

-- ---- the handler ----
local function is_users(info)
  return info.source:sub(1, 7) ~= "@<moth>" and info.what ~= "C" and info.currentline > 0
end

local function collect_frames(report, stop)
  local first
  for level = 3, 200 do
    local info = debug.getinfo(level, "Slnf")
    if not info then break end
    if is_users(info) then
      first = first or level
      local name = info.name and (info.namewhat == "method" and ":" or "") .. info.name
      if #report.frames < 20 then
        report.frames[#report.frames + 1] = { source = info.source, line = info.currentline, name = name,
          main = info.func == stop }
      end
    end
    if info.func == stop then break end
  end
  return first
end

--- A message handler for a chunk function; new: the locals it declares, kept although it failed.
function errors.handler(chunk, new)
  return function(err)
    local report = { err = err, frames = {} }
    require("moth.term").xpcall(function()
      local level = collect_frames(report, chunk)
      for l = 1, 200 do
        local info = debug.getinfo(l, "f")
        if not info then break end
        if info.func == chunk then
          for i = 1, 200 do
            local name, value = debug.getlocal(l, i)
            if not name then break end
            for _, declared in ipairs(new or {}) do
              if declared[1] == name and declared[2] ~= "close" then units.rescue(name, value) end
            end
          end
          break
        end
      end
      local top = report.frames[1]
      report.message = type(err) == "string" and err or nil
      if report.message and top then
        report.message = report.message:gsub("^%[?[^\n]-%]?:%d+: ", "", 1)
        report.line = source_line(top.source, top.line)
      end
      if report.message and report.line then
        explain_nil(report, level)
        if not report.at then explain_quoted(report) end
        if not report.at then tensors_on(report, level) end
        local hints = require "repl.hints"
        local values, known = {}, {}
        for _, name in units.tokens(report.line) do
          if name:find("^[%a_]") and not known[name] then known[name], values[name] = variable(level, name) end
        end
        report.hint, report.rewritten = hints.of(report, { value = function(name) return values[name] end,
          is_tensor = require("repl.names").is_tensor })
        if report.message:find("is missing", 1, true) or report.message:find("got nil", 1, true)
          or report.message:find("compare", 1, true) then
          local missing = hints.missing(report.line, function(name) return known[name] and values[name] ~= nil end,
            function(name) return suggest.nearest(name, known_globals()) end)
          if missing then report.facts = report.facts and report.facts .. "; " .. missing or missing end
        end
      end
    end, tostring)
    return report
  end
end

-- ---- rendering ----
local function excerpt(line, at, name)
  local lead = #line:match("^%s*")
  local out = "  " .. style.lua(style.safe(line:sub(lead + 1)))
  if at and at > lead then
    local pad = require("moth.term").width(line:sub(lead + 1, at - 1))
    out = out .. "\n  " .. (" "):rep(pad) .. style.paint("caret", "^" .. ("~"):rep(#name - 1))
  end
  return out
end

local function place(frame)
  local source = frame.source
  if source:sub(1, 1) == "@" or source:sub(1, 1) == "=" then source = source:sub(2) else source = "string" end
  return source .. ":" .. frame.line
end

local function message_of(report)
  if report.message then return report.message end
  local ok, text = pcall(tostring, report.err)
  if type(report.err) == "string" then return report.err end
  if type(report.err) == "table" and not (debug.getmetatable(report.err) or {}).__tostring then
    return "a table was raised: " .. require("repl.echo").format(report.err):gsub("\27%[[%d;]*m", "")
  end
  if type(report.err) == "nil" then return "nil" end
  return ok and text or "(error object is a " .. type(report.err) .. " value)"
end

--- The lines to print for a report of the handler.
function errors.format(report)
  if type(report) ~= "table" or not report.frames then return style.paint("error", "error: ") .. tostring(report) end
  local message = style.safe(message_of(report))
  message = message:gsub("%(upvalue '([^']+)'%)", function(n)
    return units.get(n) and "(local '" .. n .. "')" or nil
  end)
  if report.meant and not message:find("did you mean", 1, true) then
    message = message .. " (did you mean '" .. report.meant .. "'?)"
  end
  local out = { style.paint("error", "error: ") .. message }
  local top = report.frames[1]
  if top and #report.frames > 1 or top and not top.main then
    out[#out + 1] = style.paint("hint", "  at " .. place(top) .. (top.name and " in " .. top.name or ""))
  end
  if report.line then out[#out + 1] = excerpt(report.line, report.at, report.name) end
  if report.facts then out[#out + 1] = style.paint("hint", "  " .. report.facts) end
  if report.hint then out[#out + 1] = style.paint("hint", "  " .. style.safe(report.hint)) end
  if report.rewritten then
    out[#out + 1] = style.paint("hint", "  write  ") .. style.lua(style.safe(report.rewritten))
  end
  for i = 2, math.min(#report.frames, 8) do
    local frame = report.frames[i]
    local line = source_line(frame.source, frame.line)
    out[#out + 1] = style.paint("hint", "  called from " .. place(frame)) ..
      (line and "  " .. style.lua(style.safe(line:match("^%s*(.-)%s*$"))) or "")
  end
  if #report.frames > 8 then out[#out + 1] = style.paint("hint", "  ... and further calls") end
  return table.concat(out, "\n")
end

--- Is `name` a variable whose value has the method? Runs none of the user's code.
local function is_object(name, method)
  local found, value = units.get(name)
  if not found then value = rawget(_G, name) end
  if type(value) ~= "userdata" then return false end
  for _, member in ipairs(require("repl.names").members(value)) do
    if member == method then return true end
  end
  return false
end

--- What a line of another language is in Lua: the whole text when it is one line, else the line of the error or the first.
local function in_lua(text, source)
  local foreign = require "repl.foreign"
  for _, line in ipairs { text:match("^%s*([^\n]*)"), source } do
    local ok, said, rewritten = pcall(foreign.explain, line, is_object)
    if ok and said then return said, rewritten end
  end
end

--- The lines to print for a parser's message about text.
function errors.format_syntax(text, message)
  local line = tonumber(message:match(":(%d+):"))
  local a, b = units.locate(text, message)
  local out = { style.paint("error", "error: ") .. style.safe(message:gsub("^[^:]*:%d+: ", "")) }
  local source = line and nth_line(text, line)
  if source then
    local column
    if a then
      local before = text:sub(1, a - 1):match("[^\n]*$")
      column = #before + 1
    end
    out[#out + 1] = excerpt(source, column, a and text:sub(a, b):match("[^\n]*") or "x")
  end
  local said, rewritten = in_lua(text, source)
  if said then out[#out + 1] = style.paint("hint", "  " .. style.safe(said)) end
  if rewritten then out[#out + 1] = style.paint("hint", "  write  ") .. style.lua(style.safe(rewritten)) end
  return table.concat(out, "\n")
end

return errors
