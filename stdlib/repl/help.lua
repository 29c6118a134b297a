-- help.lua: `?name`, help(value), apropos "text", and `moth help NAME`.
local docs = require "repl.docs"
local names = require "repl.names"
local style = require "repl.style"
local suggest = require "repl.suggest"

local help = {}

local topics = [[
Moth is Lua 5.4 with PyTorch's API: torch, nn, F and optim are there;
require "json", "safetensors", "plot", "tokenizers", ... brings more.

  ?name      help on a function, method or value           ?softmax   ?string.find   x?
  ??name     its source, when it is written in Lua
  apropos "soft"     what mentions a word
  TAB        completes names, methods, keywords, paths     ^R  searches the history
  Enter      runs the block when it is complete            Alt-Enter  a new line
  value;     hides the echo                                _  the last value, _1 _2 ...
  !cmd       runs a shell command
  %help      lists the prompt's commands: %time %timeit %prof %mem %who %save ...
  ^C         interrupts anything; the session stays        ^D quits
]]

--- Text folded at blanks to the width of the terminal, further lines indented as their first and two more.
function help.fold(text)
  local term = require "moth.term"
  local width = require("repl.echo").width() - 1
  local function cells(s) return term.width((s:gsub("\27%[[%d;]*m", ""))) end
  return (text:gsub("[^\n]+", function(line)
    if cells(line) <= width or width < 30 then return line end
    local lead = line:match("^%s*")
    local out, at = { lead }, #lead
    local inner = lead .. (line:match("^  %l[%l ]+   +()") and (" "):rep(12) or "  ")
    for blank, word in line:gmatch("(%s*)(%S+)") do
      local w = cells(word)
      if at + #blank + w > width and at > #inner then
        out[#out + 1] = "\n" .. inner .. word
        at = #inner + w
      else
        out[#out + 1] = (at == #lead and "" or blank) .. word
        at = at + (at == #lead and 0 or #blank) + w
      end
    end
    return table.concat(out)
  end))
end

local function emit(out, label, text)
  if text and text ~= "" then
    local lines = text:gsub("\n", "\n" .. (" "):rep(14))
    out[#out + 1] = "  " .. style.paint("hint", label .. (" "):rep(12 - #label)) .. lines
  end
end

--- The ways to write an op: function, method, in place.
local function ways(op)
  local out = {}
  if op.fn then out[#out + 1] = (op.path or "torch." .. op.name):gsub("^torch%.nn%.functional%.", "F.") end
  if op.method then out[#out + 1] = "x:" .. op.base end
  if op.inplace then out[#out + 1] = "x:" .. op.base .. "_" end
  for _, alias in ipairs(op.aliases or {}) do
    if not alias:find("^_") then out[#out + 1] = alias end
  end
  return #out > 1 and table.concat(out, ", ") or nil
end

--- The text for an entry of docs.
function help.format(entry)
  local out = { style.paint("name", entry.signature or entry.name) }
  for i = 2, math.min(entry.overloads or 0, 6) do
    out[#out + 1] = style.paint("name", entry.op.overloads[i].signature)
  end
  if entry.doc then out[#out + 1] = "  " .. entry.doc:gsub("\n", "\n  ") end
  if entry.op then emit(out, "written", ways(entry.op)) end
  emit(out, "derivative", entry.derivative)
  emit(out, "example", entry.example and style.lua(entry.example))
  if entry.see and #entry.see > 0 then emit(out, "see also", table.concat(entry.see, ", ")) end
  return table.concat(out, "\n")
end

local function of_function(f, name)
  local entry = docs.find_value(f)
  if entry then return help.format(entry) end
  local info = debug.getinfo(f, "S")
  local out = { (name and name .. ": " or "") .. require("repl.echo").format(f) }
  if info.what ~= "C" then
    local comment = help.comment_above(info)
    if comment then out[#out + 1] = comment end
  end
  return table.concat(out, "\n")
end

local function lines_of(info)
  local source = info.source
  local text
  if source:sub(1, 7) == "@<moth>" then text = require("moth.embed").read(source:sub(9))
  elseif source:sub(1, 1) == "@" then
    local f = io.open(source:sub(2))
    if f then
      text = f:read("a")
      f:close()
    end
  else text = require("repl.session").source(source) or (source:sub(1, 1) ~= "=" and source) end
  if not text then return nil end
  local lines = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = line end
  return lines
end

--- The comment lines right above a Lua function.
function help.comment_above(info)
  local lines = lines_of(info)
  if not lines then return nil end
  local from = info.linedefined - 1
  while lines[from] and lines[from]:find("^%s*%-%-") do from = from - 1 end
  local out = {}
  for i = from + 1, info.linedefined - 1 do out[#out + 1] = "  " .. lines[i]:gsub("^%s*%-+%s?", "") end
  return #out > 0 and table.concat(out, "\n") or nil
end

function help.source(f)
  if type(f) ~= "function" then return "not a function" end
  local info = debug.getinfo(f, "S")
  local lines = info.what ~= "C" and lines_of(info)
  if not lines then return info.what == "C" and "written in C" or "its source is not at hand" end
  local out = {}
  for i = info.linedefined, info.lastlinedefined do out[#out + 1] = lines[i] end
  return style.lua(table.concat(out, "\n"))
end

--- Help on any value.
function help.of_value(value, name)
  if type(value) == "function" then return of_function(value, name) end
  local out = { (name and style.paint("name", name) .. " is " or "") .. "a " .. type(value) }
  local facts = require("repl.echo").tensor_facts(value)
  if facts then out[1] = (name and style.paint("name", name) .. " is " or "") .. "a tensor: " .. facts end
  local members = {}
  for _, member in ipairs(names.members(value)) do
    if member:sub(1, 1) ~= "_" then members[#members + 1] = member end
  end
  if #members > 0 then
    local shown = table.concat(members, " ", 1, math.min(#members, 60))
    out[#out + 1] = "  has  " .. shown .. (#members > 60 and (" ... %d more"):format(#members - 60) or "")
  elseif type(value) ~= "table" then out[1] = out[1] .. ": " .. require("repl.echo").format(value) end
  return table.concat(out, "\n")
end

--- Help on a name or an expression's text; second result false when nothing was found.
function help.of_text(text)
  text = text:match("^%s*(.-)[%s.:(]*$")
  if text == "" or text == "help" then return topics, true end
  local entry = docs.get(text)
  local session = package.loaded["repl.session"]
  local value, found
  if session then found, value = session.evaluate(text) end
  local class = type(value) == "table" and rawget(value, "__instance") ~= nil
  if entry and (class or not (found and type(value) ~= "function")) then return help.format(entry), true end
  if found and value ~= nil then return help.of_value(value, text), true end
  if entry then return help.format(entry), true end
  local near = suggest.nearest(text:match("[%w_]+$") or text, help.short_names())
  return ("nothing is documented under '%s'%s; apropos \"%s\" looks inside the texts"):format(text,
    near and (" (did you mean '" .. near .. "'?)") or "", text), false
end

function help.short_names()
  local list, seen = {}, {}
  for _, name in ipairs(docs.names()) do
    local short = name:match("[%w_]+$")
    if short and not seen[short] then
      seen[short] = true
      list[#list + 1] = short
    end
  end
  return list
end

--- Entries whose name or text holds the word, best first, as lines.
function help.apropos(word)
  word = tostring(word or ""):lower()
  if #word < 2 then return 'apropos "word": names and texts that hold a word of two letters or more' end
  local by_name, by_text = {}, {}
  for _, name in ipairs(docs.names()) do
    local entry = docs.get(name)
    local line = entry and "  " .. style.paint("name", name) .. "  " .. (entry.doc or ""):match("[^\n]*")
    if entry and name:lower():find(word, 1, true) then by_name[#by_name + 1] = line
    elseif entry and (entry.doc or ""):lower():find(word, 1, true) then by_text[#by_text + 1] = line end
  end
  table.move(by_text, 1, #by_text, #by_name + 1, by_name)
  return #by_name > 0 and table.concat(by_name, "\n") or ("nothing mentions '%s'"):format(word)
end

--- `moth help [NAME...]`
function help.main(args)
  style.on = style.on and require("moth.term").isatty(1)
  local ok = true
  if #args == 0 then print(topics) end
  for _, name in ipairs(args) do
    local text, found = help.of_text(name)
    print(text)
    ok = ok and found
  end
  return ok and 0 or 1
end

return help
