-- units.lua: from a block of text to chunks that run: what is complete, where statements end, locals that live on.
--
-- Completeness is decided by Lua's own parser.  A top-level `local` stays in the session: a chunk is compiled inside a
-- function whose upvalues are joined with the variables of earlier lines, so closures share them as in one file.
local term = require "moth.term"

local units = {}
local session = {}          -- name -> { fn, index, const }: the variable is upvalue `index` of `fn`

-- style digits of moth.term
local KEYWORD, NAME, PUNCT, CALL = 1, 5, 6, 7
local ZERO = ("0"):byte()

--- Iterates tokens that matter: style, text, position.
local function tokens(text)
  local styles, at = term.styles(text), 1
  return function()
    while at <= #text do
      local style, from = styles:byte(at) - ZERO, at
      at = at + 1
      if style ~= PUNCT then
        while styles:byte(at) == style + ZERO do at = at + 1 end
      end
      if style ~= 0 and style ~= 4 then return style, text:sub(from, at - 1), from end
    end
  end
end
units.tokens = tokens

local opens = { ["do"] = 1, ["then"] = 1, ["repeat"] = 1, ["function"] = 1, ["("] = 1, ["{"] = 1, ["["] = 1,
  ["end"] = -1, ["until"] = -1, ["elseif"] = -1, [")"] = -1, ["}"] = -1, ["]"] = -1 }

--- How much a token opens or closes; names and strings count nothing.
local function nesting(style, token)
  return (style == KEYWORD or style == PUNCT) and opens[token] or 0
end

-- ---- parsing ----
local function at_end(message) return message:sub(-5) == "<eof>" end

--- "expr" or "stat" when text is a whole chunk, else nil, the message, and whether more text could complete it.
local function parse(text)
  local ok, as_expr = load("return " .. text, "=input", "t")
  if ok then return "expr" end
  local fn, as_stat = load(text, "=input", "t")
  if fn then return "stat" end
  local deeper = at_end(as_expr) and not text:find("^%s*return%f[%W]")
  return nil, as_stat, at_end(as_stat) or deeper
end

--- Byte positions of line ends where no block or bracket is open.
local function level_lines(text)
  local stops, depth, last = {}, 0, 0
  local newlines = {}
  for p in text:gmatch("()\n") do newlines[#newlines + 1] = p end
  local k = 1
  for style, token, from in tokens(text) do
    while newlines[k] and newlines[k] < from do
      if depth == 0 and last > 0 then stops[#stops + 1] = newlines[k] end
      k = k + 1
    end
    depth = depth + nesting(style, token)
    last = from + #token - 1
    if depth == 0 and token == ";" and style == PUNCT then stops[#stops + 1] = last end
    while newlines[k] and newlines[k] <= last do k = k + 1 end     -- inside a long string
  end
  stops[#stops + 1] = #text
  return stops
end

--- Cuts text that is no single chunk (`x = 1` above `x`) into ones that are, at the earliest places.
local function cut(text)
  local list, from, message, more = {}, 1, nil, nil
  for _, stop in ipairs(level_lines(text)) do
    local piece = text:sub(from, stop)
    local kind
    kind, message, more = parse(piece)
    if kind then
      local _, above = text:sub(1, from - 1):gsub("\n", "")
      list[#list + 1] = { kind = kind, text = piece, line = above }
      from = stop + 1
    end
  end
  if from > #text or not message then return list end
  if more then return nil, "incomplete" end
  local _, above = text:sub(1, from - 1):gsub("\n", "")
  return nil, message:gsub("^input:(%d+)", function(n) return "input:" .. (tonumber(n) + above) end)
end

--- The units of a block, or nil and "incomplete" or the parser's message.
function units.split(text)
  if text:find("^%s*=") and not text:find("^%s*==") then text = text:gsub("^(%s*)=", "%1 ", 1) end
  local kind, message, more = parse(text)
  if kind then return { { kind = kind, text = text, line = 0 } } end
  local list, why = cut(text)
  if list then return list end
  if more or why == "incomplete" then return nil, "incomplete" end
  return nil, #why < #message and why or message
end

--- Where a parser's message points: first and last position of the token it is near.
function units.locate(text, message)
  local line, near = message:match(":(%d+):.- near '(.*)'$")
  if not line then return end
  local from = 1
  for _ = 2, tonumber(line) do
    local nl = text:find("\n", from, true)
    if not nl then return end
    from = nl + 1
  end
  local a, b = text:find(near, from, true)
  while a do                               -- the one up to which the text could still have gone on
    local fn, why = load(text:sub(1, b), "=input", "t")
    local as_expr = not fn and select(2, load("return " .. text:sub(1, b), "=input", "t"))
    if not fn and not at_end(why) and not (as_expr and at_end(as_expr)) then return a, b end
    local next_a, next_b = text:find(near, b + 1, true)
    if not next_a or text:sub(b + 1, next_a):find("\n", 1, true) then return a, b end
    a, b = next_a, next_b
  end
end

local last_text, last_a, last_b
--- The editor's question: "incomplete", "complete", or the place of the error.
function units.check(text)
  if text == last_text then return last_a, last_b end
  local a, b = "complete", nil
  if text:find("%S") and not text:find("^%s*[%%!?]") and not text:find("%?%s*$") then
    local list, why = units.split(text)
    if not list and why == "incomplete" then       -- Enter does not wait for the end of Python's blocks
      a = require("repl.foreign").is_block(text) and "complete" or "incomplete"
    elseif not list then
      a, b = units.locate(text, why)
      if not a then a = "complete" end
    end
  end
  last_text, last_a, last_b = text, a, b
  return a, b
end

-- ---- locals ----
--- Names that text uses, and the locals its top level declares: lists of { name, attribute }; does it end by return?
local function scan(text)
  local used, new, depth, returns = {}, {}, 0, false
  local state, name
  for style, token in tokens(text) do
    if style == NAME or style == CALL then used[token] = true end
    if depth == 0 and style == KEYWORD then
      if token == "return" then returns = true end
      if token == "local" then state = "names"
      elseif token == "function" and state == "names" then state = "function"
      else state = nil end
    elseif state == "function" and (style == NAME or style == CALL) then
      new[#new + 1], state = { token }, nil
    elseif state == "names" and (style == NAME or style == CALL) then
      name = { token }
      new[#new + 1] = name
      state = "after"
    elseif state == "after" then
      if token == "," then state = "names"
      elseif token == "<" then state = "attribute"
      elseif token ~= ">" then state = (style == KEYWORD or style == NAME or style == CALL) and nil end
    elseif state == "attribute" then
      name[2], state = token, "after"
    end
    if token == "=" and depth == 0 then state = nil end
    depth = depth + nesting(style, token)
  end
  return used, new, returns
end

local function keep_variable(fn, name, value, attribute)
  for i = 1, 255 do
    local up = debug.getupvalue(fn, i)
    if not up then break end
    if up == name then
      session[name] = { fn = fn, index = i, const = attribute == "const" }
      return
    end
  end
  local v = value           -- a compile-time constant has no variable of its own
  session[name] = { fn = function() return v end, index = 1, const = attribute == "const" }
end

--- Keeps local `name` with a value taken from a stopped chunk.
function units.rescue(name, value) keep_variable(print, name, value) end

local KEEP = "__moth_keep"

--- Text up to its last token, without the semicolon that ends it.
local function bare(text)
  local last, at
  for _, token, from in tokens(text) do last, at = token, from end
  if not at then return text end
  return last == ";" and text:sub(1, at - 1) or text:sub(1, at + #last - 1)
end

local function same(...) return ... end

--- A function that runs the unit, or nil and the parser's message.  Second result: the locals it will declare.
function units.compile(unit, chunk)
  local text = unit.text
  local used, new, returns = scan(text)
  local names = { KEEP }
  local nils = {}
  for name in pairs(used) do
    local v = session[name]
    if v and #names < 150 then
      names[#names + 1] = name .. (v.const and " <const>" or "")
      nils[#names] = "..."
    end
  end
  nils[1] = "..."
  local tail = ""
  local kept = {}
  if unit.kind == "stat" and not returns then
    local list = {}
    for i = #new, 1, -1 do
      if new[i][2] ~= "close" and not kept[new[i][1]] and #list < 150 then
        kept[new[i][1]] = new[i][2] or true
        list[#list + 1] = new[i][1]
      end
    end
    if #list > 0 then tail = KEEP .. "(function() return " .. table.concat(list, ",") .. " end)" end
    kept.list = list
  end
  local before, after = "", "\n" .. tail .. "\nend"
  if unit.kind == "expr" then            -- through a call, so that the user's is no tail call and stays on the stack
    before, after = "return " .. KEEP .. "(", ")\nend"    -- the bracket on the last line: errors are on that line
    text = bare(text)
  end
  local source = "local " .. table.concat(names, ",") .. " = " .. table.concat(nils, ",") .. " return function(...) " ..
    ("\n"):rep(unit.line) .. before .. text .. after
  local outer, message = load(source, chunk, "t")
  if not outer then return nil, message end
  local inner = outer()
  local function keep(fn)
    local values = table.pack(fn())
    for i, name in ipairs(kept.list) do keep_variable(fn, name, values[i], kept[name]) end
  end
  for i = 1, 255 do
    local name = debug.getupvalue(inner, i)
    if not name then break end
    if name == KEEP then debug.setupvalue(inner, i, unit.kind == "expr" and same or keep)
    elseif name ~= "_ENV" and session[name] then debug.upvaluejoin(inner, i, session[name].fn, session[name].index) end
  end
  return inner, new
end

--- Value of a session local: true and the value, or false.
function units.get(name)
  local v = session[name]
  if not v then return false end
  local _, value = debug.getupvalue(v.fn, v.index)
  return true, value
end

--- Iterates session locals: name, value.
function units.locals()
  return function(_, name)
    local v
    name, v = next(session, name)
    if name then
      local _, value = debug.getupvalue(v.fn, v.index)
      return name, value
    end
  end
end

function units.forget(name) session[name] = nil end

return units
