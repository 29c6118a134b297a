-- repl: the prompt on a terminal.  main() reads blocks until the end of input and runs them.
local style = require "repl.style"
local term = require "moth.term"
local units = require "repl.units"
local session = require "repl.session"

local repl = {}

local function history_path()
  local path = os.getenv("MOTH_HISTORY")
  if path then return path ~= "" and path or nil end
  local state, home = os.getenv("XDG_STATE_HOME"), os.getenv("HOME")
  if state and state ~= "" then return state .. "/moth/history" end
  return home and home .. "/.local/state/moth/history" or nil
end

--- Functions a person may call by name; they do not replace the user's.
local function define_globals()
  local function define(name, fn) if rawget(_G, name) == nil then rawset(_G, name, fn) end end
  define("help", function(value, ...)
    local help = require "repl.help"
    local text = type(value) == "string" and value or value == nil and select("#", ...) == 0 and ""
    print(help.fold(text and (help.of_text(text)) or help.of_value(value)))
  end)
  define("apropos", function(word)
    local help = require "repl.help"
    print(help.fold(help.apropos(word)))
  end)
  define("quit", setmetatable({}, { __tostring = function() return "quit() or Ctrl-D leaves" end,
    __call = function(_, code) os.exit(code == nil or code, true) end }))
  if rawget(_G, "exit") == nil then rawset(_G, "exit", rawget(_G, "quit")) end
end

local function banner()
  local level, threads = term.cpu()
  local shown = { avx512 = " (AVX-512)", avx2 = " (AVX2)" }
  local facts = string.format(" · float32 on %d thread%s%s", threads, threads == 1 and "" or "s", shown[level] or "")
  return "Moth " .. (rawget(_G, "_MOTH_VERSION") or "0.1") .. " · " .. _VERSION .. facts ..
    " · ?help  %tour  Ctrl-D quits"
end

--- What is not Lua: `?name`, `name?`, `%command`, `!shell`; true when it was one.
local function special(text)
  local name = text:match("^%s*%?%?%s*(.-)%s*$")
  if name then
    local found, value = session.evaluate(name)
    local help = require "repl.help"
    print(type(value) == "function" and found and help.source(value) or help.fold((help.of_text(name))))
    return true
  end
  name = text:match("^%s*%?%s*(.-)%s*$") or text:match("^%s*([%w_.:%[%]\"']+)%s*%?%s*$")
  if name then
    local help = require "repl.help"
    print(help.fold((help.of_text(name))))
    return true
  end
  local word = text:match("^%s*apropos%s+(.+)$") or text:match("^%s*apropos%s*$") and ""
  if word and not word:find("^%s*[%(=]") and not load(text, "=a", "t") then
    local help = require "repl.help"
    print(help.fold(help.apropos((word:gsub("[\"']", ""):match("^%s*(.-)%s*$")))))
    return true
  end
  local command, rest = text:match("^%s*%%(%w*)%s*(.*)$")
  if command then return true, require("repl.commands").run(command, rest) end
  local shell = text:match("^%s*!(.*)$")
  if shell then
    os.execute(shell)
    return true
  end
  return false
end

repl.special = special

--- Runs a block whatever it is; nothing escapes but os.exit.
function repl.run(text)
  if not text:find("%S") then return end
  local ok, err = term.xpcall(function()
    if not special(text) then session.run(text) end
  end, require("repl.errors").handler(nil))
  if not ok then
    if term.interrupted() then print(style.paint("error", "interrupted"))
    else print(require("repl.errors").format(err)) end
  end
end

--- A terminal that cannot move its cursor: lines as they come.
local function dumb_loop()
  local block = {}
  while true do
    term.settle()
    io.stdout:write(#block == 0 and "moth> " or ">> ")
    io.stdout:flush()
    local line, why = io.read("L")
    if not line and why then                      -- interrupted
      block = {}
      io.stdout:write("\n")
      term.settle()
    elseif not line then
      print()
      return 0
    else
      block[#block + 1] = line:gsub("\n$", "")
      local text = table.concat(block, "\n")
      if units.check(text) ~= "incomplete" then
        block = {}
        repl.run(text)
      end
    end
  end
end

local function protected_line(initial)
  term.settle()
  return term.readline("moth> ", "   >> ", initial)
end

function repl.main()
  define_globals()
  print(banner())
  if os.getenv("TERM") == "dumb" then return dumb_loop() end
  term.setup {
    history = history_path(), color = style.on, check = units.check,
    complete = function(...) return require("repl.complete").candidates(...) end,
    hint = function(...) return require("repl.complete").hint(...) end,
  }
  local initial
  while true do
    local ok, event, text = term.xpcall(protected_line, tostring, initial)
    initial = nil
    if not ok then print(event)
    elseif event == "line" then repl.run(text)
    elseif event == "edit" then initial = require("repl.commands").edit(text)
    elseif event == "eof" then return 0
    elseif event == "closed" then return 1 end
  end
end

return repl
