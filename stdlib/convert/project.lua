-- project.lua: what one file of a tree may ask about the others: which classes are torch modules.
-- Invariant: another file is read and analysed once, on the first question about it; nothing of it is kept but its
-- classes' bases.
local parser = require "convert.python.parser"
local scope = require "convert.python.scope"
local fs = require "convert.fs"

local Project = {}
Project.__index = Project
local project = {}

--- The tree at root; files: relative paths of its Python files.
function project.new(root, files)
  local self = setmetatable({ root = root, modules = {}, cache = {} }, Project)
  local prefix = ""
  if fs.exists(root .. "/__init__.py") then
    local real = fs.realpath(root) or root
    prefix = (real:match("([^/]+)/*$") or "") .. "."
  end
  self.prefix = prefix
  for _, path in ipairs(files) do
    local module = path:match("^(.*)%.py$")
    if module then
      module = module:gsub("/", "."):gsub("%.__init__$", "")
      if module == "__init__" then module = "" end
      self.modules[(prefix .. module):gsub("%.$", "")] = path
    end
  end
  return self
end

--- The dotted package a file lives in; sources that lie below a folder called transformers count from there.
function Project:package(path)
  local dir = path:match("^(.*)/[^/]*$")
  local dotted = self.prefix .. (dir and dir:gsub("/", ".") or "")
  dotted = dotted:gsub("%.$", "")
  if not dotted:find("^transformers") then
    local real = self.root .. "/" .. (dir or "")
    local tail = real:match(".*/(transformers/.*)$") or real:match("^(transformers/.*)$")
    if tail then dotted = tail:gsub("/+$", ""):gsub("/+", ".") end
  end
  return dotted ~= "" and dotted or nil
end

-- Absolute dotted path of a possibly relative one.
local function absolute(path, package)
  local dots, rest = path:match("^(%.+)(.*)$")
  if not dots then return path end
  if not package then return nil end
  local parts = {}
  for p in package:gmatch("[^.]+") do parts[#parts + 1] = p end
  local n = #parts - (#dots - 1)
  if n < 1 then return nil end
  return table.concat(parts, ".", 1, n) .. "." .. rest
end

-- Classes of a module of the tree: name -> list of absolute base paths (or plain names of the same module).
function Project:classes(module)
  local known = self.cache[module]
  if known ~= nil then return known or nil end
  self.cache[module] = false
  local path = self.modules[module]
  if not path then return nil end
  local text = fs.read(self.root .. "/" .. path)
  local tree = text and #text < 4000000 and parser.parse(text)
  if not tree then return nil end
  local facts = scope.analyse(tree)
  local package = path:find("__init__%.py$") and module or module:match("^(.*)%.[^.]*$")
  local out = { names = {} }
  for _, c in ipairs(facts.classes) do
    local bases = {}
    for _, b in ipairs(c.bases) do
      local target = b.k == "Subscript" and b.value or b
      local m = scope.meaning(target)
      if m then bases[#bases + 1] = absolute(m, package) or m
      elseif target.k == "Name" then bases[#bases + 1] = module .. "." .. target.id end
    end
    out.names[c.name] = bases
  end
  for name, b in pairs(facts.module_scope.names) do
    if b.path and not out.names[name] then out.names[name] = { absolute(b.path, package) or b.path } end
  end
  self.cache[module] = out
  return out
end

-- true, false or nil when the class is not of this tree.
local function derived(self, path, depth)
  if depth > 20 then return nil end
  if path:find("^torch%.nn%.") then return not path:find("^torch%.nn%.functional") end
  if path:find("^torch") then return false end
  local module, name = path:match("^(.*)%.([^.]+)$")
  if not module then return nil end
  local classes = self:classes(module)
  if not classes then return nil end
  local bases = classes.names[name]
  if not bases then return nil end
  local answer = false
  for _, b in ipairs(bases) do
    local d = b ~= path and derived(self, b, depth + 1)
    if d then return true end
    if d == nil then answer = nil end
  end
  return answer
end

--- Whether the class a path means (relative paths are seen from file f) is a torch module; nil: not of this tree.
function Project.module_class(f, path)
  local self = f.opts.project
  local abs = absolute(path, f.opts.package)
  if not abs then return nil end
  self.answers = self.answers or {}
  local a = self.answers[abs]
  if a == nil then
    a = derived(self, abs, 0)
    self.answers[abs] = a == nil and "unknown" or a
  end
  if a == "unknown" then return nil end
  return a
end

return project
