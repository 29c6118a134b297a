-- fold.lua: conditions that a rule found to be constant: the chain of if, elif and else they stand in loses its dead
-- branches.
-- Invariant: a chain is rewritten once, as a whole; a dead branch whose imports are still used outside stays, under
-- `if False`.
local imports = require "convert.imports"

local fold = {}

-- The branches of the chain that `top` begins: {node, s, stop, value}, and the else body.
local function branches_of(f, top)
  local out, x = {}, top
  while true do
    out[#out + 1] = { node = x, s = f:line_start(x.s), value = x.fold, body = x.body }
    local inner = x.orelse[1]
    if inner and inner.elif then x = inner
    else
      if #x.orelse > 0 then out[#out + 1] = { s = f:line_start(x.else_s), at = x.else_s, body = x.orelse,
        is_else = true } end
      break
    end
  end
  for i, b in ipairs(out) do
    if out[i + 1] then b.stop = out[i + 1].s - 1
    else
      local nl = f.src:find("\n", b.body.last or b.body[#b.body].e, true)
      b.stop = nl or #f.src
    end
  end
  return out
end

-- Is this binding made here alone and used by living code?
local function lives(b) return b and #b.defs == 1 and imports.fate(b) > 0 end

-- Is a name that only a dead body binds still used by living code?
local function still_needed(f, body)
  for _, st in ipairs(body) do
    if st.k == "Import" or st.k == "ImportFrom" then
      for _, a in ipairs(st.names) do
        if lives(a.binding) then return true end
      end
    elseif st.k == "Assign" then
      for _, target in ipairs(st.targets) do
        if target.k == "Name" and lives(target.binding) then return true end
      end
    elseif st.k == "FunctionDef" or st.k == "ClassDef" then
      if lives(st.binding) then return true end
    elseif st.k == "If" or st.k == "Try" then
      if still_needed(f, st.body) then return true end
    end
  end
  return false
end

local function list_imports(f, body)
  for _, st in ipairs(body) do
    if st.k == "Import" or st.k == "ImportFrom" then
      for _, a in ipairs(st.names) do
        local path = st.path and st.path .. "." .. a.name or a.name
        if a.binding and imports.is_torch(path) then imports.list_left(f, a.binding) end
      end
    end
  end
end

-- The body of a branch takes the place of the whole chain.
local function unwrap(f, top, branch, branches)
  local body = branch.body
  local colon = branch.node and branch.node.colon or f.src:find(":", branch.at, true)
  if body.inline then
    f.edits:delete(top.s, body[1].s - 1)
  else
    local nl = f.src:find("\n", colon, true)
    local inner, outer = #f:indent(body[1]), #f:indent(top)
    f.edits:delete(branches[1].s, nl)
    f:dedent(nl + 1, body.last or body[#body].e, inner - outer)
  end
  top.unwrapped = true
  if branch.node then branch.node.unwrapped = true end
  local last = branches[#branches]
  if last ~= branch then f.edits:delete(branch.stop + 1, last.stop) end
end

local function constants(f, branches)
  for _, b in ipairs(branches) do
    if b.value ~= nil then
      f:replace(b.node.test, b.value and "True" or "False")
      if not b.value then
        for _, st in ipairs(b.body) do f:revive(st) end
      end
      list_imports(f, b.body)
    end
  end
end

local function rewrite(f, top)
  local branches = branches_of(f, top)
  for _, b in ipairs(branches) do
    if b.value == false and still_needed(f, b.body) then return constants(f, branches) end
  end
  local live = {}
  for _, b in ipairs(branches) do
    if b.value ~= false then live[#live + 1] = b end
    if b.value == true or b.is_else then break end
  end
  local first = live[1]
  if not first then
    top.dead = nil
    return f:delete(top)
  end
  if first.value == true or first.is_else then return unwrap(f, top, first, branches) end
  -- conditions remain: dead branches go, the first living one is the `if`, a true one the `else`
  local alive = {}
  for _, b in ipairs(live) do alive[b] = true end
  for _, b in ipairs(branches) do
    if not alive[b] then f.edits:delete(b.s, b.stop) end
  end
  if first.node ~= top then f.edits:delete(first.node.s, first.node.s + 1) end
  local last = live[#live]
  if last.value == true then f.edits:replace(last.node.s, last.node.colon, "else:") end
end

--- Rewrites all chains with constant conditions.
function fold.apply(f)
  local done = {}
  for _, st in ipairs(f.folds or {}) do
    local top = st
    while top.elif do top = top.up end
    if not done[top] then
      done[top] = true
      -- inside something deleted or folded away there is nothing to write
      local gone, x = false, top
      while x do
        if x.deleted or x.dead then gone = true end
        x = x.up
      end
      if not gone then rewrite(f, top) end
    end
  end
end

return fold
