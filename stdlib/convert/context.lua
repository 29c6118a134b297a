-- context.lua: one file under conversion: its tree, its names and the edits that rules make on it.
-- Invariant: a rule never touches text but through these methods, so every change is a byte range with a rule's id,
-- dead
-- names are known (a deleted or replaced name no longer needs its import), and what is needed is imported once at
-- the end.
local parser = require "convert.python.parser"
local scope = require "convert.python.scope"
local edit = require "convert.python.edit"
local fields = require "convert.python.fields"
local lexer = require "convert.python.lexer"

local Context = {}
Context.__index = Context

local context = {}

--- A context for a text, or nil and the syntax error. opts: profile, style, path, module, project.
function context.new(text, opts)
  local tree, err = parser.parse(text)
  if not tree then return nil, err end
  local facts = scope.analyse(tree)
  return setmetatable({
    src = text, tree = tree, facts = facts, opts = opts or {}, edits = edit.new(text), applied = {}, reviews = {},
      needs_list = {},
    needs_seen = {}, deleted = {}, left = {}, trace = opts and opts.trace, tokens = tree.tokens, path = opts
      and opts.path or "?",
  }, Context)
end

Context.meaning = function(_, node) return scope.meaning(node) end

function Context:text(node, e)
  if type(node) == "number" then return self.src:sub(node, e) end
  return self.src:sub(node.s, node.e)
end

--- 1-based line of a byte.
function Context:line(pos)
  local starts = self.line_starts
  if not starts then
    starts = { 1 }
    local n = 1
    for at in self.src:gmatch("\r?[\n\r]()") do
      n = n + 1
      starts[n] = at
    end
    self.line_starts = starts
  end
  local lo, hi = 1, #starts
  while lo < hi do
    local mid = (lo + hi + 1) // 2
    if starts[mid] <= pos then lo = mid else hi = mid - 1 end
  end
  return lo
end

function Context:position(pos) return lexer.position(self.src, pos) end

-- The index of the token that starts at or after byte pos.
function Context:token_at(pos)
  local starts = self.tokens.starts
  local lo, hi = 1, #starts
  while lo < hi do
    local mid = (lo + hi) // 2
    if starts[mid] < pos then lo = mid + 1 else hi = mid end
  end
  return lo
end

--- The arguments of a call or class head as written: list of {s, e} byte ranges between the commas, from the "(" at lp.
function Context:segments(lp)
  local kinds, starts, ends = self.tokens.kinds, self.tokens.starts, self.tokens.ends
  local i = self:token_at(lp) + 1
  local depth, out, cur = 0, {}, nil
  while true do
    local k = kinds[i]
    if depth == 0 and (k == "," or k == ")") then
      if cur then
        cur.e = ends[i - 1]
        if k == "," then cur.comma = starts[i] end
        out[#out + 1] = cur
        cur = nil
      end
      if k == ")" then
        out.rp = starts[i]
        return out
      end
    else
      if not cur then cur = { s = starts[i], e = 0 } end
      if k == "(" or k == "[" or k == "{" or k == "F{" or k == "FSTART" then depth = depth + 1
      elseif k == ")" or k == "]" or k == "}" or k == "F}" or k == "FEND" then depth = depth - 1 end
    end
    i = i + 1
  end
end

--- Marks every name under a node as dead: nothing of it will be in the result.
function Context:kill(node)
  if node.dead then return end
  node.dead = true
  for _, field in ipairs(fields[node.k]) do
    local v = node[field]
    if v then
      if v.k then self:kill(v)
      else
        for i = 1, #v do
          if v[i] then self:kill(v[i]) end
        end
      end
    end
  end
end

--- Takes a kill back: the text stays after all, so its names live.
function Context:revive(node)
  node.dead = nil
  for _, field in ipairs(fields[node.k]) do
    local v = node[field]
    if v then
      if v.k then self:revive(v)
      else
        for i = 1, #v do
          if v[i] then self:revive(v[i]) end
        end
      end
    end
  end
end

-- Deletes the segments for which drop[i] is true, with one comma each.
local function delete_segments(self, segs, drop)
  local src, edits = self.src, self.edits
  local last_kept
  for i = 1, #segs do
    if drop[i] then
      local seg = segs[i]
      local before = segs[i - 1]
      if last_kept then
        local from = before.e + 1
        -- a comment between the arguments stays
        if src:sub(from, seg.s - 1):find("#", 1, true) then
          local to = seg.comma or seg.e
          edits:delete(seg.s, to)
        else edits:delete(from, seg.e) end
      else
        local next_seg = segs[i + 1]
        if next_seg then edits:delete(seg.s, next_seg.s - 1)
        else
          local to = seg.comma or seg.e
          edits:delete(seg.s, to)
        end
      end
    else last_kept = i end
  end
end

--- Removes arguments (nodes of call.args or call.keywords) from a call or class head.
function Context:drop_arguments(call, nodes)
  local segs = self:segments(call.lp)
  local gone = call.gone_args
  if not gone then
    gone = {}
    call.gone_args = gone
    call.segs = segs
    self.trimmed = self.trimmed or {}
    self.trimmed[#self.trimmed + 1] = call
  end
  for _, node in ipairs(nodes) do
    for i, seg in ipairs(segs) do
      if node.s >= seg.s and node.e <= seg.e then gone[i] = true end
    end
    self:kill(node)
  end
end

--- Adds a keyword argument at the end of a call.
function Context:add_argument(call, text)
  if not call.gone_args then
    call.gone_args = {}
    call.segs = self:segments(call.lp)
    self.trimmed = self.trimmed or {}
    self.trimmed[#self.trimmed + 1] = call
  end
  call.added = call.added or {}
  table.insert(call.added, text)
  return true
end

local function write_added(self, call)
  if not call.added then return end
  local last
  for i, seg in ipairs(call.segs) do
    if not call.gone_args[i] then last = seg end
  end
  local text = table.concat(call.added, ", ")
  if last then self.edits:insert(last.e + 1, ", " .. text) else self.edits:insert(call.lp + 1, text) end
end

-- Argument removals are gathered while rules run and written once, so that two rules may each take one of the same
-- call.
function Context:write_trims()
  for _, call in ipairs(self.trimmed or {}) do
    if not call.dead then
      write_added(self, call)
      delete_segments(self, call.segs, call.gone_args)
    end
  end
  for _, item in ipairs(self.param_trims or {}) do delete_segments(self, item.segs, item.gone) end
end

--- Removes a parameter (arg node) from a def.
function Context:drop_parameter(def, arg)
  self.param_trims = self.param_trims or {}
  local item = def.param_trim
  if not item then
    item = { segs = self:segments(def.lp), gone = {} }
    def.param_trim = item
    self.param_trims[#self.param_trims + 1] = item
  end
  for i, seg in ipairs(item.segs) do
    if arg.ne >= seg.s and arg.ne <= seg.e then item.gone[i] = true end
  end
  if arg.annotation then self:kill(arg.annotation) end
  if arg.default then self:kill(arg.default) end
  arg.dead = true
end

function Context:keyword(call, name)
  for _, kw in ipairs(call.keywords) do
    if kw.arg == name then return kw end
  end
end

function Context:has_star(call)
  for _, a in ipairs(call.args) do
    if a.k == "Starred" then return true end
  end
  for _, kw in ipairs(call.keywords) do
    if not kw.arg then return true end
  end
  return false
end

--- Argument by position (1-based) or keyword.
function Context:argument(call, position, name)
  local a = position and call.args[position]
  if a and a.k ~= "Starred" then
    for i = 1, position do
      if call.args[i].k == "Starred" then return nil end
    end
    return a
  end
  local kw = name and self:keyword(call, name)
  return kw and kw.value or nil
end

--- Whether a node of one of these kinds is under `node`.
function Context:contains(node, kind)
  if node.k == kind then return true end
  for _, field in ipairs(fields[node.k]) do
    local v = node[field]
    if v then
      if v.k then
        if self:contains(v, kind) then return true end
      else
        for i = 1, #v do
          if v[i] and self:contains(v[i], kind) then return true end
        end
      end
    end
  end
  return false
end

local function root_of(node)
  while node.k == "Attribute" do node = node.value end
  return node
end
context.root_of = root_of

--- Asks for an import: need("mindspore", "mint") is `from mindspore import mint`, need("mindspore", nil, "ms")
-- `import mindspore as ms`.
function Context:need(module, name, asname)
  local key = module .. ":" .. (name or "") .. ":" .. (asname or "")
  if not self.needs_seen[key] then
    self.needs_seen[key] = true
    self.needs_list[#self.needs_list + 1] = { module = module, name = name, asname = asname }
  end
end

-- Is a name bound anywhere in the file by something else than imports of the framework?
function Context:name_taken(name)
  local taken = self.taken
  if not taken then
    taken = {}
    local seen = {}
    local function add(sc)
      if seen[sc] then return end
      seen[sc] = true
      for n, b in pairs(sc.names) do
        if not (b.path and (b.path:find("^torch") or b.path:find("^mindspore"))) then taken[n] = true end
      end
    end
    add(self.facts.module_scope)
    for _, fn in ipairs(self.facts.functions) do add(fn.scope) end
    for _, c in ipairs(self.facts.classes) do
      if c.scope.names.ms or c.scope.names.ops or c.scope.names.mint then add(c.scope) end
    end
    self.taken = taken
  end
  return taken[name]
end

-- How the roots of the target's namespaces are written here.
local ROOTS = { mint = "mindspore.mint", nn = "mindspore.nn", ops = "mindspore.ops" }

-- What a name bound to mindspore by the file itself (a partly converted file) is called.
function Context:existing_alias(path)
  local map = self.existing
  if not map then
    map = {}
    for name, b in pairs(self.facts.module_scope.names) do
      if b.path and b.path:find("^mindspore") and not map[b.path] then map[b.path] = name end
    end
    self.existing = map
  end
  return map[path]
end

--- The text for a mindspore path, with the imports it needs asked for.
function Context:spell(target)
  local first, rest = target:match("^mindspore%.(%w+)%.(.+)$")
  if first and ROOTS[first] then
    local alias = self:existing_alias(ROOTS[first])
    if alias then return alias .. "." .. rest end
    -- `nn` of the file may be torch's: it becomes mindspore's; any other owner keeps the name
    if not self:name_taken(first) then
      self:need("mindspore", first)
      return first .. "." .. rest
    end
    return self:spell_ms() .. "." .. first .. "." .. rest
  end
  local module, name = target:match("^(mindspore%.common%.initializer)%.(%w+)$")
  if module then
    local alias = self:existing_alias(target)
    if alias then return alias end
    if self:name_taken(name) then
      self:need(module, name, name .. "_")
      return name .. "_"
    end
    self:need(module, name)
    return name
  end
  if target == "mindspore" then return self:spell_ms() end
  local bare = target:match("^mindspore%.(%w+)$")
  if bare and ROOTS[bare] and not self:name_taken(bare) then
    self:need("mindspore", bare)
    return bare
  end
  local ms_rest = target:match("^mindspore%.(.+)$")
  if ms_rest then return self:spell_ms() .. "." .. ms_rest end
  return target
end

function Context:spell_ms()
  local alias = self:existing_alias("mindspore")
  if alias then return alias end
  if self:name_taken("ms") then
    self:need("mindspore")
    return "mindspore"
  end
  self:need("mindspore", nil, "ms")
  return "ms"
end

--- NumPy as this file calls it.
function Context:spell_numpy()
  for name, b in pairs(self.facts.module_scope.names) do
    if b.path == "numpy" then
      b.wanted = true
      return name
    end
  end
  self:need("numpy", nil, "np")
  return "np"
end

--- A name imported from a module, as it is called here (module may be relative).
function Context:spell_from(module, name)
  self:need(module, name)
  return name
end

--- Writes the mindspore path `target` where the chain `node` stands. Keeps the file's own alias when it still fits.
function Context:rename(node, target)
  if node.renamed then return false end
  local root = root_of(node)
  local b = root.binding
  local text
  if b and b.path then
    local converted = self.module_map[b.path] or self.api_of(self, b.path)
    if converted and b.path ~= "torch" and not b.two_paths then
      if converted == target then
        text = root.id
      elseif target:sub(1, #converted + 1) == converted .. "." and not (root.id ~= b.path:match("[%w_]+$")
        and root.id:find("torch")) then
        text = root.id .. target:sub(#converted + 1)
      end
      if text and root.id:find("torch") then text = nil end
      if text then
        b.kept = converted
        root.kept = true
      end
    end
  end
  if not text then
    text = self:spell(target)
    root.gone = true
  end
  node.renamed = true
  local x = node
  while x.k == "Attribute" do
    x = x.value
    x.renamed = true
  end
  if text ~= self:text(node) then self.edits:replace(node.s, node.e, text) end
  return true
end

--- The attribute name of `x.attr` becomes another.
function Context:rename_attribute(node, attr)
  return self.edits:replace(node.e - #node.attr + 1, node.e, attr)
end

function Context:replace(node, with)
  return self.edits:replace(node.s, node.e, with)
end

--- A piece for a replacement: the node's own text with the edits made inside it, parenthesised when it has to be.
function Context:piece(node) return { node.s, node.e } end

local SIMPLE_RECEIVER = { Name = true, Attribute = true, Call = true, Subscript = true, Constant = true,
  Tuple = true, List = true,
  Dict = true, JoinedStr = true }
--- The pieces of an expression as the receiver of an attribute.
function Context:receiver(node)
  if SIMPLE_RECEIVER[node.k] and not node.bare then return self:piece(node) end
  return "(", self:piece(node), ")"
end

--- The last byte of an expression with the parentheses around it.
function Context:outer_end(node)
  local kinds, starts, ends = self.tokens.kinds, self.tokens.starts, self.tokens.ends
  local i, j = self:token_at(node.s) - 1, self:token_at(node.e + 1)
  local e = node.e
  while kinds[i] == "(" and kinds[j] == ")" and not self:call_paren(i) do
    e = ends[j]
    i, j = i - 1, j + 1
  end
  return e, starts[i + 1]
end

function Context:outer_start(node)
  local _, s = self:outer_end(node)
  return s
end

-- Does the "(" token i open a call's or definition's arguments?
function Context:call_paren(i)
  local k = self.tokens.kinds[i - 1]
  return k == "NAME" or k == ")" or k == "]" or k == "STRING" or k == "}" or k == "FEND"
end

--- x.m(...) becomes x; a statement `x = x.m(...)` or `x.m(...)` goes.
function Context:unwrap_method(call)
  local x = call.func.value
  local st = call.up
  for _, a in ipairs(call.args) do self:kill(a) end
  for _, kw in ipairs(call.keywords) do self:kill(kw) end
  if st.k == "Assign" and #st.targets == 1 and self:text(st.targets[1]) == self:text(x)
    and (x.k == "Name" or x.k == "Attribute") then
    return self:delete(st)
  end
  if st.k == "Expr" and (x.k == "Name" or x.k == "Attribute") then return self:delete(st) end
  -- a, b = a.to(d), b.to(d)
  local asg = st.k == "Tuple" and st.up
  if asg and asg.k == "Assign" and #asg.targets == 1 and asg.targets[1].k == "Tuple"
    and #asg.targets[1].elts == #st.elts then
    call.unwrapped_to = self:text(x)
    local same = true
    for i, v in ipairs(st.elts) do
      same = same and v.unwrapped_to ~= nil and v.unwrapped_to == self:text(asg.targets[1].elts[i])
    end
    if same then return self:delete(asg) end
  end
  local e = self:outer_end(x)
  return self.edits:delete(e + 1, call.e)
end

--- Removes element i of a tuple written with commas; a tuple of two becomes its other element.
function Context:drop_element(tuple, i)
  local elts = tuple.elts
  local alive = {}
  for j, x in ipairs(elts) do
    if not x.dead and j ~= i then alive[#alive + 1] = j end
  end
  self:kill(elts[i])
  if #alive == 1 then
    return self:replace(tuple, { self:piece(elts[alive[1]]) })
  end
  if i > 1 then return self.edits:delete(self:outer_end(elts[i - 1]) + 1, self:outer_end(elts[i])) end
  return self.edits:delete(self:outer_start(elts[1]), self:outer_start(elts[2]) - 1)
end

--- Deletes a decorator with its line.
function Context:delete_decorator(d)
  if d.dead then return false end
  self:kill(d)
  local def = d.up
  local i
  for j, x in ipairs(def.decorators) do
    if x == d then i = j end
  end
  local next_at = def.decorators[i + 1] and def.decorators[i + 1].at or def.s
  self.edits:delete(self:line_start(d.at), self:line_start(next_at) - 1)
  return true
end

--- A constant truth value where a condition stands: `if` branches fold, operands of and/or/not go.
function Context:fold(node, value)
  local up = node.up
  self:kill(node)
  if up.k == "UnaryOp" and up.op == "not" then return self:fold(up, not value) end
  if up.k == "BoolOp" then
    local neutral = up.op == "and"
    if value == neutral then
      up.folded = up.folded or {}
      local at
      for i, v in ipairs(up.values) do
        if v == node then at = i end
      end
      up.folded[at] = true
      local n = 0
      for _ in pairs(up.folded) do n = n + 1 end
      if n < #up.values then
        if at == #up.values then return self.edits:delete(self:outer_end(up.values[at - 1]) + 1,
          self:outer_end(node)) end
        return self.edits:delete(self:outer_start(node), self:outer_start(up.values[at + 1]) - 1)
      end
    end
    return self:fold(up, value)
  end
  if up.k == "If" and up.test == node and not up.dead then
    -- the text is changed when all rules have run: a chain of elif folds as a whole (fold.lua)
    up.fold = value
    for _, st in ipairs(value and up.orelse or up.body) do self:kill(st) end
    self.folds = self.folds or {}
    self.folds[#self.folds + 1] = up
    return true
  elseif up.k == "IfExp" and up.test == node then
    local keep, drop = up.body, up.orelse
    if not value then keep, drop = drop, keep end
    self:kill(drop)
    return self:replace(up, { self:piece(keep) })
  end
  return self:replace(node, value and "True" or "False")
end

--- The relative spelling of a module of the same package, "...mindspore_adapter" from transformers.models.x.
function Context:relative(path)
  local package = self.opts.package
  if not package then return path:gsub("^transformers%.", "...") end
  local here, there = {}, {}
  for p in package:gmatch("[^.]+") do here[#here + 1] = p end
  for p in path:gmatch("[^.]+") do there[#there + 1] = p end
  local same = 0
  while here[same + 1] and here[same + 1] == there[same + 1] do same = same + 1 end
  return ("."):rep(#here - same + 1) .. table.concat(there, ".", same + 1)
end

--- The statement a node belongs to, and the list of statements that holds it.
function Context:statement(node)
  while node.up do
    local up = node.up
    for _, name in ipairs { "body", "orelse", "finalbody" } do
      local list = up[name]
      if type(list) == "table" and not list.k then
        for i = 1, #list do
          if list[i] == node then return node, list, i end
        end
      end
    end
    node = up
  end
  return nil
end

--- Deletes a statement with its lines. An emptied block is given `pass` at the end of the conversion.
function Context:delete(st)
  if st.dead then return false end
  self:kill(st)
  st.deleted = true
  self.deleted[#self.deleted + 1] = st
  return true
end

function Context:review(rule, node, message)
  self.reviews[#self.reviews + 1] = { rule = rule, line = self:line(node.s), message = message,
    text = self:text(node):match("^[^\n]*"):sub(1, 120) }
end

--- Byte at which the line of pos starts.
function Context:line_start(pos)
  local src = self.src
  local i = pos
  while i > 1 do
    local c = src:byte(i - 1)
    if c == 10 or c == 13 then break end
    i = i - 1
  end
  return i
end

function Context:indent(st) return self.src:sub(self:line_start(st.outer_s or st.s),
  (st.outer_s or st.s) - 1):match("^[ \t]*") end

-- The range a deleted statement takes with it: its whole lines when it stands alone on them.
local function statement_range(self, st, list)
  local s, e = st.outer_s or st.s, list.last and list[#list] == st and list.last or st.e
  local src = self.src
  local ls = self:line_start(s)
  local tail, after = src:match("^([ \t]*#?[^\n]*)\n?()", e + 1)
  if src:sub(ls, s - 1):find("^[ \t]*$") and (tail:find("^[ \t\r]*$") or tail:find("^[ \t]*#")) then return ls,
    after - 1, true end
  -- several on a line: up to the next one
  local semi = src:match("^[ \t]*;[ \t]*()", e + 1)
  if semi then return s, semi - 1 end
  return s, e
end

--- Writes the deletions: whole statements, and `pass` where a block would be left empty.
function Context:write_deletions()
  local seen = {}
  for _, st in ipairs(self.deleted) do
    local up = st.up
    for _, name in ipairs { "body", "orelse", "finalbody" } do
      local list = up[name]
      if type(list) == "table" and not list.k and not seen[list] and list ~= self.tree.body then
        local all = #list > 0
        for i = 1, #list do
          if not list[i].deleted then all = false end
        end
        if all and not up.deleted and not up.unwrapped then
          seen[list] = true
          list[1].as_pass = true
        end
      end
    end
  end
  for _, st in ipairs(self.deleted) do
    local inside = st.up
    while inside and not inside.deleted do inside = inside.up end
    if not inside then
      local _, list = self:statement(st)
      if st.as_pass then
        self.edits:replace(st.outer_s or st.s, st.e, "pass")
      else
        local s, e = statement_range(self, st, list or {})
        self.edits:delete(s, e)
      end
    end
  end
end

--- Unwraps a compound statement: its head goes, its body moves out by one level.
function Context:unwrap(st, body)
  body = body or st.body
  if body.inline then
    self.edits:delete(st.s, body[1].s - 1)
    st.unwrapped = true
    return true
  end
  local head = self:line_start(st.s)
  local outer, inner = self:indent(st), self:indent(body[1])
  if #inner <= #outer then return false end
  -- comments between the head and the first statement stay with the body: only the head's own lines go
  local nl = self.src:find("\n", st.colon, true)
  self.edits:delete(head, nl)
  st.unwrapped = true
  self:dedent(nl + 1, body[#body].e, #inner - #outer)
  return true
end

--- Puts `blanks` before each line from byte s to e, but not inside strings.
function Context:shift(s, e, blanks)
  local kinds, starts, ends = self.tokens.kinds, self.tokens.starts, self.tokens.ends
  local i, string_to, pos = self:token_at(s), 0, s
  while pos <= e do
    while starts[i] and starts[i] < pos do
      if kinds[i] == "STRING" or kinds[i] == "FEND" then string_to = math.max(string_to, ends[i]) end
      i = i + 1
    end
    if pos > string_to and not self.src:find("^[ \t]*\r?\n", pos) then self.edits:insert(pos, blanks) end
    local nl = self.src:find("\n", pos, true)
    if not nl then break end
    pos = nl + 1
  end
end

--- Writes the dedents: a line inside two unwrapped blocks moves by both.
function Context:write_dedents()
  for pos, n in pairs(self.dedents or {}) do self.edits:delete(pos, pos + n - 1) end
end

--- Takes `width` blanks off each line from byte s to e, but not inside strings.
function Context:dedent(s, e, width)
  local kinds, starts, ends = self.tokens.kinds, self.tokens.starts, self.tokens.ends
  local src = self.src
  local i = self:token_at(s)
  local string_to = 0
  local pos = s
  while pos <= e do
    -- the last string that starts before this line
    while starts[i] and starts[i] < pos do
      if kinds[i] == "STRING" or kinds[i] == "FEND" then string_to = math.max(string_to, ends[i]) end
      if kinds[i] == "FSTART" then
        local j = i
        while kinds[j] ~= "FEND" or self.tokens.values[j] ~= i do j = j + 1 end
        string_to = math.max(string_to, ends[j])
      end
      i = i + 1
    end
    if pos > string_to then
      local blanks = src:match("^[ \t]*", pos)
      local n = math.min(#blanks, width)
      if n > 0 and not src:find("^[ \t]*\r?\n", pos) then
        self.dedents = self.dedents or {}
        self.dedents[pos] = (self.dedents[pos] or 0) + n
      end
    end
    local nl = src:find("\n", pos, true)
    if not nl then break end
    pos = nl + 1
  end
end

context.Context = Context
return context
