-- lexer.lua: Python source (3.8 to 3.14) to tokens.
-- Invariant: tokens are byte ranges of the text in rising order; what lies between two tokens is blanks, comments,
-- line ends and continuations only. Nothing is copied out of the text but names, so printing a file is printing its
-- bytes.
--
-- lex(text) returns kinds, starts, ends, values: kinds[i] is the operator or keyword itself, or one of
-- NAME NUMBER STRING NEWLINE INDENT DEDENT EOF, and for f-strings FSTART F{ F! F: F} FEND.
-- values[i] is the text of a NAME, the prefix of a STRING (lower case), the conversion of F!.
local byte, find, match, sub = string.byte, string.find, string.match, string.sub

-- PEP 3131: names are compared in Unicode's form NFKC (plain Lua, without the tokenizers' tables, takes them as they are).
local has_core, core = pcall(require, "tokenizers.core")
local nfkc = has_core and type(core) == "table" and core.nfkc or function(word) return word end
local function normal(word) return find(word, "[\128-\255]") and utf8.len(word) and nfkc(word) or word end

local KEYWORDS = {}
for word in ([[False None True and as assert async await break class continue def del elif else except finally for from
  global if import in is lambda nonlocal not or pass raise return try while with yield]]):gmatch("%a+") do
  KEYWORDS[word] = word
end

local OPERATORS = {}
for op in ([[** // >> << <= >= == != -> += -= *= /= %= &= |= ^= @= := **= //= >>= <<= <>]]):gmatch("%S+") do
  OPERATORS[op] = op
end

local PREFIXES = {}
for p in ("r u b br rb f fr rf t tr rt"):gmatch("%a+") do PREFIXES[p] = p end

-- What a first byte begins.
local BLANK, WORD, DIGIT, QUOTE, OPEN, CLOSE, OTHER, NL, HASH, DOT, BACK, BANG = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
local class, text_of, opchar = {}, {}, {}
for c = 0, 255 do
  local ch = string.char(c)
  text_of[c] = ch
  if find(ch, "[%a_\128-\255]") then class[c] = WORD
  elseif find(ch, "%d") then class[c] = DIGIT
  elseif find(ch, "['\"]") then class[c] = QUOTE
  elseif find(ch, "[%(%[{]") then class[c] = OPEN
  elseif find(ch, "[%)%]}]") then class[c] = CLOSE
  elseif find(ch, "[-+*/%%&|^<>=@:,;~]") then class[c] = OTHER end
  opchar[c] = find(ch, "[-+*/%%&|^<>=@:!]") and true
end
class[32], class[9], class[12], class[10], class[35] = BLANK, BLANK, BLANK, NL, HASH
class[46], class[92], class[33] = DOT, BACK, BANG

local MULTIBYTE = { shift_jis = 1, sjis = 1, cp932 = 1, big5 = 1, gbk = 1, gb2312 = 1, gb18030 = 1, cp936 = 1,
  euc_jp = 1, euc_kr = 1,
  cp949 = 1, big5hkscs = 1, shiftjis = 1 }

local lexer = {}

--- The encoding a PEP 263 line names (first two lines), lower case, or nil.
function lexer.encoding(text)
  local first, second = match(text, "^([^\n]*)\n?([^\n]*)")
  local name = match(first, "^[%s\239\187\191]*#.-coding[:=]%s*([-%w_.]+)")
  if not name and find(first, "^%s*#") or find(first, "^%s*$") then
    name = name or match(second, "^%s*#.-coding[:=]%s*([-%w_.]+)")
  end
  return name and name:lower():gsub("-", "_") or nil
end

-- A copy of the same length in which line ends are LF and second bytes of multi-byte encodings cannot look like syntax.
local function plain_copy(text)
  local enc = find(sub(text, 1, 400), "coding[:=]") and lexer.encoding(text)
  if enc and MULTIBYTE[enc] then text = text:gsub("[\129-\254][\64-\254]", "xx") end
  if find(text, "\r", 1, true) then
    text = text:gsub("\\\r\n", " \\\n"):gsub("\r\n", " \n"):gsub("\r", "\n")
  end
  return text, enc
end

--- 1-based line and column of a byte position.
function lexer.position(text, pos)
  local line, last = 1, 0
  for at in text:gmatch("()[\r\n]") do
    if at >= pos then break end
    if not (byte(text, at) == 10 and byte(text, at - 1) == 13) then line = line + 1 end
    last = at
  end
  return line, pos - last
end

local function fail(pos, message) error({ pos = pos, message = message }, 0) end

local function indent_width(blanks)
  local col, alt = 0, 0
  for i = 1, #blanks do
    local c = byte(blanks, i)
    if c == 9 then col, alt = (col // 8 + 1) * 8, alt + 1
    elseif c == 12 then col, alt = 0, 0
    else col, alt = col + 1, alt + 1 end
  end
  return col, alt
end

-- One function, because its ~15 local variables are the state of the scan and every token passes through it.
function lexer.lex(original)
  if find(original, "\0", 1, true) then fail(find(original, "\0", 1, true), "source code cannot contain null bytes") end
  local src, enc = plain_copy(original)
  if enc == "utf_7" or enc == "utf_16" or enc == "utf_32" then fail(1, "encoding " .. enc .. " is not supported") end
  local kinds, starts, ends, values, n = {}, {}, {}, {}, 0
  local next_back = find(src, "\\", 1, true) or math.huge
  local lex_code

  local function backslash_from(pos)
    if next_back < pos then next_back = find(src, "\\", pos, true) or math.huge end
    return next_back
  end

  -- The last byte of a plain string whose first byte after the opening quote is pos.
  local function string_end(pos, q, triple, start)
    if triple then
      local close = q == 34 and '"""' or "'''"
      while true do
        local at = find(src, close, pos, true)
        if not at then fail(start, "unterminated triple-quoted string literal") end
        local b = backslash_from(pos)
        if b > at then return at + 2 end
        pos = b + 2
      end
    end
    local stop = q == 34 and '["\\\n]' or "['\\\n]"
    while true do
      local at = find(src, stop, pos)
      local c = at and byte(src, at)
      if c == q then return at end
      if c ~= 92 then fail(start, "unterminated string literal") end
      pos = at + 2
    end
  end

  -- The literal part and the fields of an f-string (or of a format specification), up to its end; returns that
  -- position.
  local function lex_fstring(pos, q, triple, raw, start, spec)
    local stop = spec and (triple and '[{}\\"\']' or '[{}\\"\'\n]') or (q == 34 and '[{}"\\\n]' or "[{}'\\\n]")
    while true do
      local at = find(src, stop, pos)
      if not at then fail(start, "unterminated f-string literal") end
      local c, c2 = byte(src, at, at + 1)
      if c == 123 then
        if c2 == 123 and not spec then pos = at + 2
        else
          n = n + 1
          kinds[n], starts[n], ends[n] = "F{", at, at
          pos = lex_code(at + 1, q, triple, raw, start)
        end
      elseif c == 125 then
        if spec then return at end
        if c2 ~= 125 then fail(at, "f-string: single '}' is not allowed") end
        pos = at + 2
      elseif c == 92 then
        if raw and (c2 == 123 or c2 == 125) then pos = at + 1
        elseif c2 == 78 and not raw and byte(src, at + 2) == 123 then
          local close = find(src, "}", at, true)
          if not close then fail(at, "malformed \\N character escape") end
          pos = close + 1
        elseif c2 == 123 or c2 == 125 then pos = at + 1
        else pos = at + 2 end
      elseif c == 10 then
        if not triple then fail(start, "unterminated f-string literal") end
        pos = at + 1
      elseif c ~= q then pos = at + 1
      elseif triple and not (c2 == q and byte(src, at + 2) == q) then pos = at + 1
      else
        if spec then fail(start, "f-string: expecting '}'") end
        return triple and at + 2 or at
      end
    end
  end

  local function lex_string(pos, prefix)
    local open = pos + #prefix
    local q, q2, q3 = byte(src, open, open + 2)
    local triple = q2 == q and q3 == q
    local body = open + (triple and 3 or 1)
    n = n + 1
    starts[n], values[n] = pos, prefix
    if find(prefix, "[ft]") then
      kinds[n], ends[n] = "FSTART", body - 1
      local me = n
      local last = lex_fstring(body, q, triple, find(prefix, "r", 1, true), pos)
      n = n + 1
      kinds[n], starts[n], ends[n], values[n] = "FEND", last, last, me
      return last + 1
    end
    kinds[n] = "STRING"
    local last = string_end(body, q, triple, pos)
    ends[n] = last
    return last + 1
  end

  local function lex_number(pos)
    local _, e
    if find(src, "^0[xX]_?%x", pos) then _, e = find(src, "^0[xX][%x_]+", pos)
    elseif find(src, "^0[bB]_?[01]", pos) then _, e = find(src, "^0[bB][01_]+", pos)
    elseif find(src, "^0[oO]_?[0-7]", pos) then _, e = find(src, "^0[oO][0-7_]+", pos)
    else
      _, e = find(src, "^[%d_]*%.?[%d_]*", pos)
      local _, exp = find(src, "^[eE][-+]?%d[%d_]*", e + 1)
      e = exp or e
      if find(src, "^[jJ]", e + 1) then e = e + 1 end
    end
    if find(src, "^[%a_]", e + 1) then
      local word = match(src, "^%a+", e + 1)
      if not (word and (KEYWORDS[word] or find(word, "^[eE]?lse"))) then fail(pos, "invalid decimal literal") end
    end
    n = n + 1
    kinds[n], starts[n], ends[n] = "NUMBER", pos, e
    return e + 1
  end

  -- Tokens from pos on. With q the text is a field of an f-string whose quote is q: it ends after its "}".
  function lex_code(pos, q, triple, raw, fstart)
    local depth, line_start = q and 1 or 0, not q
    local stack, alts, opens = { 0 }, { 0 }, {}
    local base = depth
    while true do
      if line_start then
        -- blank lines and comment lines leave no token
        local blanks, at = match(src, "^([ \t\f]*)()", pos)
        local c = byte(src, at)
        if c == 10 then pos = at + 1 goto continue
        elseif c == 35 then
          pos = find(src, "\n", at, true)
          if not pos then pos = #src + 1 else pos = pos + 1 end
          goto continue
        end
        line_start = false
        if not c then pos = at goto continue end
        local col, alt = at - pos, at - pos
        if find(blanks, "[\t\f]") then col, alt = indent_width(blanks) end
        local top = stack[#stack]
        if col > top then
          if alt <= alts[#alts] then fail(at, "inconsistent use of tabs and spaces in indentation") end
          stack[#stack + 1], alts[#alts + 1] = col, alt
          n = n + 1
          kinds[n], starts[n], ends[n] = "INDENT", pos, at - 1
        else
          while col < top do
            stack[#stack], alts[#alts] = nil, nil
            top = stack[#stack]
            if col > top then fail(at, "unindent does not match any outer indentation level") end
            n = n + 1
            kinds[n], starts[n], ends[n] = "DEDENT", at, at - 1
          end
          if alt ~= alts[#alts] then fail(at, "inconsistent use of tabs and spaces in indentation") end
        end
        pos = at
      end
      do
        local c = byte(src, pos)
        local cls = class[c]
        if cls == BLANK then
          pos = pos + 1
          c = byte(src, pos)
          cls = class[c]
          if cls == BLANK then
            pos = find(src, "[^ \t\f]", pos) or #src + 1
            c = byte(src, pos)
            cls = class[c]
          end
        end
        if cls == WORD then
          local word = match(src, "^[%w_\128-\255]+", pos)
          local after = pos + #word
          local word_kind = KEYWORDS[word]
          if word_kind then
            n = n + 1
            kinds[n], starts[n], ends[n] = word_kind, pos, after - 1
            pos = after
          else
            local nc = byte(src, after)
            if (nc == 34 or nc == 39) and PREFIXES[word:lower()] then pos = lex_string(pos, word:lower())
            else
              n = n + 1
              kinds[n], starts[n], ends[n], values[n] = "NAME", pos, after - 1, normal(word)
              pos = after
            end
          end
        elseif cls == OTHER then
          if q and depth == base and c == 58 then
            n = n + 1
            kinds[n], starts[n], ends[n] = "F:", pos, pos
            pos = lex_fstring(pos + 1, q, triple, raw, fstart, true)
            n = n + 1
            kinds[n], starts[n], ends[n] = "F}", pos, pos
            return pos + 1
          end
          local op, e = text_of[c], pos
          if opchar[byte(src, pos + 1)] and opchar[c] then
            local three = OPERATORS[sub(src, pos, pos + 2)]
            if three then op, e = three, pos + #three - 1
            else
              local two = OPERATORS[sub(src, pos, pos + 1)]
              if two then op, e = two, pos + 1 end
            end
          end
          n = n + 1
          kinds[n], starts[n], ends[n] = op, pos, e
          pos = e + 1
        elseif cls == OPEN then
          depth = depth + 1
          opens[depth] = pos
          n = n + 1
          kinds[n], starts[n], ends[n] = text_of[c], pos, pos
          pos = pos + 1
        elseif cls == CLOSE then
          n = n + 1
          if q and depth == base then
            if c ~= 125 then fail(pos, "f-string: unmatched '" .. text_of[c] .. "'") end
            kinds[n], starts[n], ends[n] = "F}", pos, pos
            return pos + 1
          end
          local o = opens[depth] and byte(src, opens[depth])
          if depth == 0 or c - o > 2 or c < o then fail(pos, "unmatched '" .. text_of[c] .. "'") end
          depth = depth - 1
          kinds[n], starts[n], ends[n] = text_of[c], pos, pos
          pos = pos + 1
        elseif cls == DOT then
          if find(src, "^%.%d", pos) then pos = lex_number(pos)
          else
            local e = find(src, "^%.%.%.", pos) and pos + 2 or pos
            n = n + 1
            kinds[n], starts[n], ends[n] = e > pos and "..." or ".", pos, e
            pos = e + 1
          end
        elseif cls == NL then
          if depth == 0 then
            n = n + 1
            kinds[n], starts[n], ends[n] = "NEWLINE", pos, pos
            line_start = true
          end
          pos = pos + 1
        elseif cls == QUOTE then pos = lex_string(pos, "")
        elseif cls == DIGIT then pos = lex_number(pos)
        elseif cls == HASH then pos = find(src, "\n", pos, true) or #src + 1
        elseif cls == BACK then
          if byte(src, pos + 1) ~= 10 then fail(pos, "unexpected character after line continuation character") end
          pos = pos + 2
        elseif cls == BANG then
          if byte(src, pos + 1) == 61 then
            n = n + 1
            kinds[n], starts[n], ends[n] = "!=", pos, pos + 1
            pos = pos + 2
          elseif q and depth == base then
            local conv, e = match(src, "^([%a_]+)()", pos + 1)
            if not conv then fail(pos, "f-string: invalid conversion character") end
            n = n + 1
            kinds[n], starts[n], ends[n], values[n] = "F!", pos, e - 1, conv
            pos = e
          else fail(pos, "invalid syntax") end
        elseif not c then
          if q then fail(fstart, "f-string: expecting '}'") end
          if depth > 0 then fail(opens[depth], "'" .. sub(src, opens[depth], opens[depth]) .. "' was never closed") end
          if n > 0 and kinds[n] ~= "NEWLINE" and kinds[n] ~= "DEDENT" then
            n = n + 1
            kinds[n], starts[n], ends[n] = "NEWLINE", pos, pos - 1
          end
          for _ = 2, #stack do
            n = n + 1
            kinds[n], starts[n], ends[n] = "DEDENT", pos, pos - 1
          end
          n = n + 1
          kinds[n], starts[n], ends[n] = "EOF", pos, pos - 1
          return pos
        else
          fail(pos, string.format("invalid non-printable or unexpected character 0x%02X", c))
        end
      end
      ::continue::
    end
  end

  lex_code(find(src, "^\239\187\191") and 4 or 1)
  return kinds, starts, ends, values
end

return lexer
