-- checks.lua: what must hold of a converted file, found by reading the result anew: it parses, every mindspore name
-- it uses
-- exists in the version, no name is undefined, nothing of torch is left that was not listed.
local parser = require "convert.python.parser"
local scope = require "convert.python.scope"
local data = require "convert.data"

local checks = {}

local BUILTINS = {}
for name in ([[ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError
  BrokenPipeError BufferError BytesWarning
  ChildProcessError ConnectionAbortedError ConnectionError ConnectionRefusedError ConnectionResetError
  DeprecationWarning EOFError Ellipsis
  EncodingWarning EnvironmentError Exception ExceptionGroup False FileExistsError FileNotFoundError
  FloatingPointError FutureWarning GeneratorExit
  IOError ImportError ImportWarning IndentationError IndexError InterruptedError IsADirectoryError KeyError
  KeyboardInterrupt LookupError
  MemoryError ModuleNotFoundError NameError None NotADirectoryError NotImplemented NotImplementedError OSError
  OverflowError
  PendingDeprecationWarning PermissionError ProcessLookupError PythonFinalizationError RecursionError
  ReferenceError ResourceWarning RuntimeError RuntimeWarning
  StopAsyncIteration StopIteration SyntaxError SyntaxWarning SystemError SystemExit TabError TimeoutError True
  TypeError UnboundLocalError
  UnicodeDecodeError UnicodeEncodeError UnicodeError UnicodeTranslateError UnicodeWarning UserWarning ValueError
  Warning ZeroDivisionError
  __build_class__ __debug__ __doc__ __import__ __loader__ __name__ __package__ __spec__ __file__ __class__
  __path__ __annotations__ __builtins__
  __all__ __dict__ __module__ __qualname__ _ abs aiter all anext any
  ascii bin bool breakpoint bytearray bytes callable chr classmethod compile complex copyright credits delattr
  dict dir divmod enumerate eval exec
  exit filter float format frozenset getattr globals hasattr hash help hex id input int isinstance issubclass
  iter len license list locals map
  max memoryview min next object oct open ord pow print property quit range repr reversed round set setattr
  slice sorted staticmethod str sum
  super tuple type vars zip WindowsError reveal_type unicode long basestring xrange raw_input]]):gmatch("%S+") do
  BUILTINS[name] = true
end
checks.builtins = BUILTINS

local function line_of(text, pos)
  local _, n = text:sub(1, pos - 1):gsub("\n", "")
  return n + 1
end

-- Names undefined already in the source are the source's own business.
local function undefined_set(facts)
  local set = {}
  for _, name in ipairs(facts.undefined) do set[name.id] = true end
  return set
end

-- The longest known prefix rule: a path fails at its first part that a module of the table lacks.
local function bad_part(names, path)
  if names[path] then return nil end
  local at = 1
  local prefix = ""
  for part in path:gmatch("[^.]+") do
    prefix = at == 1 and part or prefix .. "." .. part
    if at > 1 and not names[prefix] then return prefix end
    if at > 1 and part:find("^%u") then return nil end
    local sig = names[prefix]
    if at > 1 and sig and sig:sub(1, 1) == "(" then return nil end
    at = at + 1
  end
  return nil
end

--- Findings of a result: {parses, undefined = {}, bad_names = {}, torch = {}}; each entry {line, name}.
function checks.run(result, f, version)
  local found = { parses = true, undefined = {}, bad_names = {}, torch = {} }
  local tree, err = parser.parse(result)
  if not tree then
    found.parses, found.error = false, err
    return found
  end
  local facts = scope.analyse(tree)
  local before = f and undefined_set(f.facts) or {}
  for _, name in ipairs(facts.undefined) do
    if not BUILTINS[name.id] and not before[name.id] and #facts.star_imports == 0 then
      found.undefined[#found.undefined + 1] = { line = line_of(result, name.s), name = name.id }
    end
  end
  local names = data.names(version or "2.10")
  local listed = {}
  for _, l in ipairs(f and f.left or {}) do listed[l.name] = true end
  local seen = {}
  for _, use in ipairs(facts.uses) do
    local b = use.binding
    local path = b and b.path
    if path and (path:find("^mindspore") or path:find("^torch")) then
      local node = use
      while node.up and node.up.k == "Attribute" and node.up.value == node do node = node.up end
      local full = scope.meaning(node)
      if path:find("^torch") then
        local text = result:sub(node.s, node.e)
        found.torch[#found.torch + 1] = { line = line_of(result, use.s), name = text, listed = listed[text] or false }
      elseif names then
        local bad = bad_part(names, full)
        if bad and not seen[bad] then
          seen[bad] = true
          found.bad_names[#found.bad_names + 1] = { line = line_of(result, use.s), name = bad }
        end
      end
    end
  end
  for _, st in ipairs(facts.imports) do
    for _, a in ipairs(st.names) do
      local path = st.k == "ImportFrom" and (a.name == "*" and st.path or st.path .. "." .. a.name) or a.name
      if names and path:find("^mindspore") and not names[path] and not names[path:match("^(.*)%.") or ""] then
        found.bad_names[#found.bad_names + 1] = { line = line_of(result, st.s), name = path }
      elseif names and path:find("^mindspore") and not names[path] and path:find("^mindspore%.[%w.]+%.") then
        found.bad_names[#found.bad_names + 1] = { line = line_of(result, st.s), name = path }
      end
    end
  end
  return found
end

return checks
