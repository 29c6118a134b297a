-- session.lua: runs what was typed: units one by one, results kept in _, _1, _2 ... and Out, errors explained.
local units = require "repl.units"
local errors = require "repl.errors"
local term = require "moth.term"

local session = { inputs = {}, count = 0, started = os.time() }
local outputs = {}                       -- number -> value; the oldest go
local KEEP = 50

local sources = {}
function session.source(chunk) return sources[chunk] end

local function write(text)
  print(text)
end

--- Stores a result as _ and _n.
local function keep(value)
  session.count = session.count + 1
  local n = session.count
  outputs[n] = value
  outputs[n - KEEP] = nil
  rawset(_G, "_", value)
  rawset(_G, "_" .. n, value)
  rawset(_G, "_" .. (n - KEEP), nil)
end

rawset(_G, "Out", setmetatable({}, { __index = outputs, __pairs = function() return next, outputs end,
  __tostring = function()
    local lines = {}
    for i = math.max(1, session.count - KEEP + 1), session.count do
      local text = require("repl.echo").format(outputs[i]):gsub("\27%[[%d;]*m", ""):match("[^\n]*")
      lines[#lines + 1] = string.format("_%d = %s", i, text)
    end
    return table.concat(lines, "\n")
  end }))

local function quiet(text)
  local last
  for _, token in units.tokens(text) do last = token end
  return last == ";"
end

--- Value of a variable of the session.
local function lookup(name)
  local found, value = units.get(name)
  if found then return value end
  return rawget(_G, name)
end

--- "lin.wieght" alone says nil: the name it lacks.
local function hint_field(text)
  local owner, name = text:match("^%s*([%a_][%w_]*)%.([%a_][%w_]*)%s*$")
  local value = owner and lookup(owner)
  if value == nil then return end
  local members = require("repl.names").members(value)
  for _, member in ipairs(members) do if member == name then return end end      -- it has it, and it is nil
  local near = require("repl.suggest").nearest(name, members)
  if near then
    write(require("repl.style").paint("hint", owner .. " has no '" .. name .. "' (did you mean '" .. near .. "'?)"))
  end
end

--- "torhc" alone says nil; say why.
local function hint_undefined(text)
  hint_field(text)
  local name = text:match("^%s*([%a_][%w_]*)%s*$")
  if not name or name:find("^_") or units.get(name) then return end
  local known = {}
  for k in next, _G do known[#known + 1] = k end
  for k in units.locals() do known[#known + 1] = k end
  local near = require("repl.suggest").nearest(name, known)
  if near then write(require("repl.style").paint("hint", name .. " has no value (did you mean '" .. near .. "'?)")) end
end

local function echo_results(unit, results)
  if results.n == 0 then return end
  local torch = rawget(_G, "torch")                -- torch.manual_seed(0) is a command
  if results.n == 1 and type(torch) == "table" and rawequal(results[1], rawget(torch, "default_generator"))
    and unit.text:find("seed", 1, true) then return end
  if session.sink then session.sink.results(results, quiet(unit.text))
  elseif not quiet(unit.text) then
    local format = require("repl.echo").format
    for i = 1, results.n do
      local value = results[i]
      write(format(value))
    end
    if results.n == 1 and results[1] == nil then hint_undefined(unit.text) end
  end
  for i = 1, results.n do if results[i] ~= nil then keep(results[i]) end end
end

local PYTHON = { None = "nil (or torch.None)", True = "true", False = "false" }
local LIBRARIES = { torch = true, nn = true, F = true, optim = true }

local function note(message) write(require("repl.style").paint("33", "note: ") .. message) end

--- Names that silently are nil: Python's constants, and misspelt ones of the libraries (`torch.flaot32` as a dtype).
local function warn_nil(text)
  local before, owner, dot
  local list, n = {}, 0
  for style, token, from in units.tokens(text) do
    if PYTHON[token] and before ~= "." and before ~= ":" and lookup(token) == nil and (style == 5 or style == 7)
      and not text:find("^%s*=[^=]", from + #token) then
      note(("%s has no value in Lua; it is %s"):format(token, PYTHON[token]))
    end
    if dot and style == 5 and LIBRARIES[owner] and not text:find("^%s*[=%(:%.]", from + #token) then
      n = n + 1
      list[n] = { owner, token }
    end
    dot = token == "." and owner ~= nil
    if token ~= "." then owner = before ~= "." and before ~= ":" and token or nil end
    before = token
  end
  for _, use in ipairs(list) do
    local library = lookup(use[1])
    if type(library) == "table" and not text:find("^%s*" .. use[1] .. "%." .. use[2] .. "%s*;?%s*$") then
      local fine, value = pcall(function() return library[use[2]] end)
      if fine and value == nil then
        local near = require("repl.suggest").nearest(use[2], require("repl.names").members(library))
        note(("%s has no '%s'%s; nil means 'not given'"):format(use[1], use[2],
          near and " (did you mean '" .. near .. "'?)" or ""))
      end
    end
  end
end

--- Warns of `x == 0` with a tensor, which is never what was meant.
local function warn_traps(text)
  if text:find("%u") or text:find("[%w_]%.[%a_]") then pcall(warn_nil, text) end
  if not text:find("==", 1, true) and not text:find("%f[%w]if%f[%W]") and not text:find("~=", 1, true) then return end
  local ok, check = pcall(require, "moth.check")
  if not ok or not check.line_traps then return end
  local names = require "repl.names"
  local fine, list = pcall(check.line_traps, text, function(name)
    local found, value = units.get(name)
    if not found then value = rawget(_G, name) end
    return names.is_tensor(value)
  end)
  for _, message in ipairs(fine and list or {}) do note(message) end
end

--- Runs the chunk function; true and its results, or false and the report.
function session.protected(fn, new)
  return term.xpcall(fn, errors.handler(fn, new))
end

--- Forgets what a key press left behind; says so when the error was that.
local function failed(report)
  local was_interrupt = term.interrupted()
  term.settle()
  if session.sink then session.sink.failed(report, was_interrupt) return false end
  if was_interrupt then
    local what = type(report) == "table" and report.message or ""
    write(require("repl.style").paint("error", " interrupted") ..
      (what:find("interrupted!", 1, true) and "" or ": " .. what:gsub(": interrupted$", "")))
  else write(errors.format(report)) end
  return false
end

local function failed_syntax(text, message)
  local shown = errors.format_syntax(text, message)
  if session.sink then session.sink.failed(shown, false) else write(shown) end
  return false
end

--- Runs a block: true when all of it ran.  With session.sink set (a notebook), results(list, quiet) and
--- failed(report or text, interrupted) take what would be printed.
function session.run(text)
  local list, message = units.split(text)
  if not list then
    if message == "incomplete" then
      local _, m = load(text, "=input", "t")
      message = m
    end
    return failed_syntax(text, message)
  end
  session.inputs[#session.inputs + 1] = text
  local chunk = "=[" .. #session.inputs .. "]"
  sources[chunk] = text
  errors.remember(chunk, text)
  warn_traps(text)
  for _, unit in ipairs(list) do
    local fn, new = units.compile(unit, chunk)
    if not fn then
      return failed_syntax(text, new)
    end
    local results = table.pack(session.protected(fn, new))
    if not results[1] then return failed(results[2]) end
    local shown = table.pack(term.xpcall(echo_results, tostring, unit, table.pack(table.unpack(results, 2, results.n))))
    if not shown[1] then return failed(shown[2]) end
  end
  return true
end

--- Value of an expression's text, evaluated with the session's locals: found?, value.
function session.evaluate(text)
  local list = units.split(text)
  if not list or #list ~= 1 or list[1].kind ~= "expr" then return false end
  local fn = units.compile(list[1], "=help")
  if not fn then return false end
  local ok, value = pcall(fn)
  return ok and value ~= nil, value
end

return session
