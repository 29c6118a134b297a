-- convert_parser_test: the Python front end: CPython's tree (recorded), no byte lost, errors placed, odd files
-- survived.
package.path = "stdlib/?.lua;stdlib/?/init.lua;tests/lua/?.lua;" .. package.path
local t = require "check"
local parser, lexer = require "convert.python.parser", require "convert.python.lexer"
local dump, scope = require "convert.python.dump", require "convert.python.scope"
local edit = require "convert.python.edit"

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("a")
  f:close()
  return text
end

local function parses(text)
  local tree, err = parser.parse(text)
  if not tree then error(("%d:%d %s"):format(err.line, err.col, err.message), 2) end
  return tree
end

t.test("the tree is CPython's", function()
  local ours, theirs = dump(parses(read("tests/convert/grammar.py"))), read("tests/convert/grammar.dump")
  local n = 0
  local b = theirs:gmatch("[^\n]+")
  for line in ours:gmatch("[^\n]+") do
    n = n + 1
    t.eq(line, b(), "line " .. n)
  end
  t.eq(b(), nil, "missing lines")
end)

-- Between tokens lie blanks, comments, line ends and continuations only.
local function lossless(text)
  local kinds, starts, ends = lexer.lex(text)
  local pos, depth = 1, 0
  for i, kind in ipairs(kinds) do
    if kind == "FSTART" then depth = depth + 1 end
    if depth == 0 and ends[i] >= starts[i] then
      local gap = text:sub(pos, starts[i] - 1)
      gap = gap:gsub("#[^\r\n]*", ""):gsub("\\\r?\n", ""):gsub("[ \t\f\r\n]", ""):gsub("\239\187\191", "")
      t.eq(gap, "", "text between tokens before byte " .. starts[i])
    end
    if ends[i] >= starts[i] then pos = math.max(pos, ends[i] + 1) end
    if kind == "FEND" then depth = depth - 1 end
  end
end

t.test("nothing lies outside tokens", function() lossless(read("tests/convert/grammar.py")) end)

t.test("line ends, tabs, form feeds, marks", function()
  for _, text in ipairs { "a = 1\r\nif a:\r\n    b = '''x\r\ny'''\r\n", "a = 1\rif a:\r  b\r", "if a:\n\tb\n\tc\n",
    "\f\na = 1\n\fb = 2\n",
    "\239\187\191a = 1\n", "a = 1", "", "\n\n# only a comment", "if a: pass # x", "a = \\\r\n 1\r\n",
      "x = (1,\r\n  2)\r\n" } do
    local tree = parses(text)
    lossless(text)
    t.ok(tree.k == "Module")
    t.eq(edit.new(text):render(), text)
  end
end)

t.test("encodings", function()
  parses("# -*- coding: latin-1 -*-\nx = '\233'\n")
  parses("# coding: gbk\nx = '\129\92' + \"\129\92\"\n")
  t.eq(lexer.encoding("#!/usr/bin/env python\n# vim: set fileencoding=cp1252 :\n"), "cp1252")
  local tree, err = parser.parse("x = 1\0")
  t.ok(not tree)
  t.ok(err.message:find("null", 1, true))
end)

t.test("errors have line and column", function()
  for text, at in pairs { ["a = (1,\n"] = "1:5", ["a = 'x\nb"] = "1:5", ["def f(:\n pass\n"] = "1:6",
    ["if a:\nb\n"] = "2:1", ["a = 1\n  b = 2\n"] = "2:1",
    ["if a:\n    b\n  c\n"] = "3:3", ["x = 1 +\n"] = "1:8", ["a = )\n"] = "1:5", ["f'{a'"] = "1:5",
      ["x = $\n"] = "1:5", ["class A\n"] = "1:8",
    ["if a:\n\tb\n        c\n"] = "3:9" } do
    local tree, err = parser.parse(text)
    t.ok(not tree, "parsed: " .. text)
    t.eq(err.line .. ":" .. err.col, at, text)
  end
end)

t.test("great and deep", function()
  parses("x = [" .. ("1, "):rep(200000) .. "]\n")
  parses("x = '" .. ("y"):rep(10000000) .. "'\n")
  parses("x = " .. ("("):rep(500) .. "1" .. (")"):rep(500) .. "\n")
  local tree, err = parser.parse("x = " .. ("["):rep(200000) .. ("]"):rep(200000) .. "\n")
  t.ok(tree or err.message == "too deeply nested", "deep nesting is refused, not fatal")
  local lines = {}
  for i = 1, 900 do lines[i] = (i == 1 and "if" or "elif") .. " a: b" end
  parses(table.concat(lines, "\n") .. "\n")
  parses("x = a" .. (" + a"):rep(20000) .. "\n")
end)

t.test("names mean what scopes say", function()
  local text = [[
import torch
import torch.nn as tnn
from torch import nn as layers, tensor
def f(nn, x=torch.float32):
    import numpy as torch
    return nn.Linear, torch.zeros
class A(layers.Module):
    tensor = 1
    def g(self):
        return tensor
y = [torch for torch in range(3)]
]]
  local tree = parses(text)
  local facts = scope.analyse(tree)
  local seen = {}
  for _, use in ipairs(facts.uses) do
    local node = use.up.k == "Attribute" and use.up or use
    seen[#seen + 1] = text:sub(node.s, node.e) .. "=" .. tostring(scope.meaning(node))
  end
  local all = table.concat(seen, " ")
  for _, want in ipairs { "torch.float32=torch.float32", "nn.Linear=nil", "torch.zeros=numpy.zeros",
    "layers.Module=torch.nn.Module", "tensor=torch.tensor",
    "torch=nil" } do
    t.ok((" " .. all .. " "):find(" " .. want .. " ", 1, true), want .. " in " .. all)
  end
  t.eq(#facts.undefined, 1)
end)

t.test("edits nest, move and never cross", function()
  local e = edit.new("f(a, g(b), c)")
  e:replace(3, 3, "A")
  e:replace(8, 8, "B")
  e:replace(6, 9, { "h(", { 8, 8 }, ", ", { 8, 8 }, ")" })
  e:insert(1, "x = ")
  t.eq(e:render(), "x = f(A, h(B, B), c)")
  e = edit.new("abcdef")
  t.ok(e:replace(2, 4, "X"))
  t.ok(not e:replace(2, 4, "Y"), "the same range twice")
  e:replace(4, 5, "Z")
  local text, dropped = e:render()
  t.eq(text, "aXef")
  t.eq(#dropped, 1)
end)

t.done()
