-- dsl.lua: the words rules are written in (rules/*.lua and the files of --rules DIR).
--
--   rule {
--     id = "house.silu",
--     match = call "torch.nn.SiLU",
--     edit = { rename "mindspore.mint.nn.SiLU", drop_argument "inplace" },
--     why = "mint's layer takes no inplace",
--     before = "self.act = nn.SiLU(inplace=True)", after = "self.act = mint.nn.SiLU()",
--   }
--
-- match: what the rule looks at. call/reference/decorator/derived take the full dotted path of what is meant; method
-- and
-- attribute take the name after the dot of a value; node takes kinds of the tree; file runs once, after all other
-- rules.
-- edit: a list of the words below, or a function (f, node, rule) that returns true when it changed something, else
-- false and
-- the reason. where: a function (f, node) that must hold. state: automatic (default), optional, review. profile,
-- style: only there.
local dsl = setmetatable({}, { __index = _G })

local registry = {}
dsl.registry = registry

function dsl.rule(r)
  if type(r.id) ~= "string" or not r.match or not r.why then error("a rule needs id, match and why", 2) end
  if type(r.edit) == "table" or type(r.edit) == "function" and r.steps then
    local steps = r.edit
    r.steps = steps
    r.edit = function(f, node, rule)
      local any, reason = false, nil
      for _, step in ipairs(steps) do
        local ok, why = step(f, node, rule)
        if ok then any = true else reason = reason or why end
      end
      return any, reason
    end
  end
  r.state = r.state or "automatic"
  registry[#registry + 1] = r
  return r
end

local function matcher(kind)
  return function(keys)
    if type(keys) == "string" then keys = { keys } end
    return { kind = kind, keys = keys }
  end
end

dsl.call, dsl.reference, dsl.method, dsl.attribute = matcher "call", matcher "reference", matcher "method",
  matcher "attribute"
dsl.decorator, dsl.derived, dsl.node, dsl.imported = matcher "decorator", matcher "derived", matcher "node",
  matcher "imported"
dsl.file = { kind = "file", keys = {} }

-- Words of an edit.

--- The callee or reference becomes this mindspore path.
function dsl.rename(target)
  return function(f, node)
    local ref = node.k == "Call" and node.func or node
    return f:rename(ref, target), "already rewritten"
  end
end

--- Removes keyword arguments of the call.
function dsl.drop_argument(...)
  local names = { ... }
  return function(f, node)
    local found = {}
    for _, name in ipairs(names) do
      local kw = f:keyword(node, name)
      if kw then found[#found + 1] = kw end
    end
    if #found == 0 then return false, "no such argument" end
    f:drop_arguments(node, found)
    return true
  end
end

--- A keyword argument gets another name.
function dsl.rename_argument(from, to)
  return function(f, node)
    local kw = f:keyword(node, from)
    if not kw then return false, "no argument " .. from end
    return f.edits:replace(kw.s, kw.s + #from - 1, to)
  end
end

--- Adds a keyword argument when neither it, its torch name nor the position gives one.
function dsl.add_argument(name, text, position, torch_name)
  return function(f, node)
    if f:argument(node, position, name) or torch_name and f:keyword(node, torch_name)
      or f:has_star(node) then return false, name .. " is given" end
    f:add_argument(node, name .. "=" .. text)
    return true
  end
end

--- The method is called by another name.
function dsl.rename_method(to)
  return function(f, node) return f:rename_attribute(node.func or node, to) end
end

--- Deletes the statement the node stands in.
function dsl.delete_statement()
  return function(f, node)
    local st = f:statement(node)
    return f:delete(st)
  end
end

--- Leaves the code and lists the place for a person.
function dsl.review(message)
  return function(f, node, rule)
    f:review(rule, node, message)
    return true
  end
end

return dsl
