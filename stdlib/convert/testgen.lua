-- testgen.lua: `moth convert tests`: per model file a pytest file that compares the converted model with its source.
-- Invariant: only models are tested that no other class of their file builds; the tests run with parity.py and
-- ms_cpu.py, which
-- are written beside them.
local fs = require "convert.fs"
local parser = require "convert.python.parser"
local scope = require "convert.python.scope"
local project = require "convert.project"
local helpers = require "convert.helpers"

local testgen = {}

local has_embed, embed = pcall(require, "moth.embed")

local function resource(name)
  local text = has_embed and embed.read("convert/testing/" .. name)
  if text then return text end
  for path in (package.path .. ";"):gmatch("([^;]*)%?%.lua;") do
    text = fs.read(path .. "convert/testing/" .. name)
    if text then return text end
  end
  error("convert/testing/" .. name .. " is missing", 0)
end

local function inside_class(node, class)
  local x = node.up
  while x do
    if x == class then return true end
    x = x.up
  end
  return false
end

local function has_forward(class)
  for _, st in ipairs(class.body) do
    if st.k == "FunctionDef" and (st.name == "forward" or st.name == "construct") then return true end
  end
  return false
end

--- Names of the model classes of a text: modules with a forward that no other class of the file builds or inherits
-- from.
function testgen.models(text, opts)
  local tree = parser.parse(text)
  if not tree then return {} end
  local facts = scope.analyse(tree)
  local f = { opts = opts or {}, text = function(_, n) return text:sub(n.s, n.e) end }
  local out = {}
  for _, class in ipairs(facts.classes) do
    if class.up == tree and helpers.is_module(f, class) and has_forward(class) then
      local used = false
      for _, use in ipairs(class.binding.uses) do
        if not inside_class(use, class) and helpers.enclosing(use, "ClassDef") then used = true end
      end
      if not used then out[#out + 1] = class.name end
    end
  end
  return out
end

local TEMPLATE = [[
"""Parity of %s with its source. Written by `moth convert tests`: CASES may be edited, a second run keeps this file.

Run it with pytest in an environment that has torch and mindspore; MOTH_SRC and MOTH_DST name other trees.
"""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import parity  # noqa: E402

SRC = os.environ.get("MOTH_SRC", %q)
DST = os.environ.get("MOTH_DST", %q)
PATH = %q
# class, arguments of the constructor, inputs by name: functions of (rng, batch, length)
CASES = [
%s]
SHAPES = [(2, 8), (1, 5), (3, 11)]
DTYPES = ["float32", "float16"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cls,kwargs,inputs", CASES)
def test_parity(cls, kwargs, inputs, shape, dtype):
    try:
        parity.run(SRC, DST, PATH, cls, kwargs, inputs, shape, dtype, gradients=dtype == "float32")
    except AssertionError:
        raise
    except (RuntimeError, TypeError, ValueError, NotImplementedError) as err:
        # a kernel this machine's MindSpore has not, in a dtype beside float32, is no fault of the conversion
        if dtype != "float32":
            pytest.skip(str(err).split("\n")[0][:200])
        raise
]]

--- Writes the tests of a tree into out; returns the list of {path, file, models}.
function testgen.write(o)
  local files = fs.tree(o.src_root)
  local proj = project.new(o.src_root, files)
  local src, dst = fs.realpath(o.src_root) or o.src_root, fs.realpath(o.dst_root) or o.dst_root
  local written = {}
  for _, path in ipairs(files) do
    local text = path:find("%.py$") and fs.read(o.src_root .. "/" .. path)
    if text and text:find("torch", 1, true) and fs.exists(o.dst_root .. "/" .. path) then
      local models = testgen.models(text, { project = proj, package = proj:package(path) })
      if #models > 0 then
        local rows = {}
        for _, name in ipairs(models) do rows[#rows + 1] = ('    ("%s", {}, {}),\n'):format(name) end
        local file = o.out .. "/test_" .. path:gsub("%.py$", ""):gsub("[^%w]", "_") .. ".py"
        if not fs.exists(file) then fs.write(file, TEMPLATE:format(path, src, dst, path, table.concat(rows))) end
        written[#written + 1] = { path = path, file = file, models = models }
      end
    end
  end
  if #written > 0 then
    fs.write(o.out .. "/parity.py", resource("parity.py.txt"))
    fs.write(o.out .. "/ms_cpu.py", resource("ms_cpu.py.txt"))
  end
  return written
end

--- `moth convert tests`
function testgen.main(o, usage)
  if not o.src_root or not o.dst_root then return usage("tests needs --src_root and --dst_root") end
  o.out = o.out or o.dst_root .. "/tests"
  local written = testgen.write(o)
  if not o.quiet then
    local models = 0
    for _, w in ipairs(written) do models = models + #w.models end
    print(("%d test files for %d models in %s"):format(#written, models, o.out))
  end
  return 0
end

return testgen
