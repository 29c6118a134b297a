-- torch.autograd.graph: the tape, to look at and to hook into.
--
--   torch.autograd.graph(loss)                          prints the tape as a tree
--   torch.autograd.graph(loss, {file = "tape.svg"})     writes it as a picture (.svg) or as DOT text (.dot)
--
-- The table is PyTorch's namespace of the same name too: saved_tensors_hooks, save_on_cpu, register_multi_grad_hook,
-- get_gradient_edge, increment_version, ...
local torch = require "torch"
local kwargs = require "torch.kwargs"
local autograd = torch.autograd

local graph = {}

local function need_tensor(name, v, level)
  if not torch.is_tensor(v) then error(("%s: expected a Tensor, got %s"):format(name, type(v)), level + 1) end
  return v
end

-- ---- reading the tape ----

--- Names for leaves: what the caller's locals, the globals and the given table call them.
local function names_from(given)
  local names = {}
  local function add(name, v) if torch.is_tensor(v) and not names[v] and name:find("^[%a_]") then names[v] = name end end
  if type(given) == "table" then
    for k, v in pairs(given) do if type(k) == "string" then add(k, v) end end
  end
  local level, info = 2, debug.getinfo(2, "Sf")
  while info and (info.what == "C" or info.source:find("^@<moth>")) do
    level = level + 1
    info = debug.getinfo(level, "Sf")
  end
  local i = 1
  while info do
    local name, value = debug.getlocal(level, i)
    if not name then break end
    add(name, value)
    i = i + 1
  end
  i = 1
  while info do
    local name, value = debug.getupvalue(info.func, i)
    if not name then break end
    add(name, value)
    i = i + 1
  end
  for name, value in next, _G do if type(name) == "string" then add(name, value) end end
  return names
end

local function shape_text(shape)
  local parts = {}
  for d = 0, #shape - 1 do parts[#parts + 1] = tostring(shape[d]) end
  return "[" .. table.concat(parts, ", ") .. "]"
end

local function describe(node, names)
  local leaf = node.variable
  if leaf then
    return { kind = "leaf", label = names[leaf] or "leaf", detail = tostring(leaf.dtype):gsub("^torch%.", "") .. " " .. shape_text(leaf.shape) }
  end
  local shapes = {}
  for _, s in ipairs(node.output_shapes) do shapes[#shapes + 1] = shape_text(s) end
  return { kind = "op", label = (node:name():gsub("Backward%d*$", "")), detail = table.concat(shapes, " "), where = node.where }
end

--- The nodes reachable from t in the order a walk finds them: { node, children = {indices}, ... }, at most `limit`.
local function read(t, names, limit)
  local root, nr = autograd._edge(t)
  if not root then error("graph: the tensor does not require gradients, so there is no tape; torch.autograd.explain(x) says why", 3) end
  local list, index, cut = {}, {}, 0
  local function visit(node)
    if index[node] then return index[node] end
    if #list >= limit then cut = cut + 1; return nil end
    local entry = describe(node, names)
    entry.node, entry.children = node, {}
    list[#list + 1] = entry
    index[node] = #list
    return #list
  end
  visit(root)
  local k = 1
  while k <= #list do
    for _, edge in ipairs(list[k].node.next_functions) do
      if edge[1] ~= torch.None then
        local child = visit(edge[1])
        if child then table.insert(list[k].children, child) else list[k].cut = true end
      end
    end
    k = k + 1
  end
  return list, cut, nr
end

-- ---- text ----

--- Nodes with one input stand on one line: "Sum [] <- Mul [2, 3]".
local function tree(list, cut)
  local lines, printed, numbers, uses, count = {}, {}, {}, {}, 0
  for _, e in ipairs(list) do for _, c in ipairs(e.children) do uses[c] = (uses[c] or 0) + 1 end end
  local function text_of(at)
    local e = list[at]
    local text = e.label .. " " .. e.detail
    if e.kind == "op" and (uses[at] or 0) > 1 then
      if not numbers[at] then count = count + 1; numbers[at] = count end
      text = text .. " (" .. numbers[at] .. (printed[at] and ", above)" or ")")
    end
    return text .. (e.where and " @" .. e.where or "") .. (e.cut and " ..." or "")
  end
  local stack = { { 1, "", "" } }
  while #stack > 0 do
    local at, head, indent = table.unpack(table.remove(stack))
    local line, width = head, 0
    while true do
      local text, seen = text_of(at), printed[at]
      if width > 90 then
        lines[#lines + 1] = line
        line, width = indent .. "  ", 0
      end
      line, width = line .. text, width + #text
      printed[at] = true
      local children = list[at].children
      if seen then break end
      if #children ~= 1 then
        for i = #children, 1, -1 do
          local last = i == #children
          stack[#stack + 1] = { children[i], indent .. (last and "└─ " or "├─ "), indent .. (last and "   " or "│  ") }
        end
        break
      end
      line = line .. " ← "
      at = children[1]
    end
    lines[#lines + 1] = line
  end
  if cut > 0 then lines[#lines + 1] = "... and more; pass max_nodes to see them" end
  return table.concat(lines, "\n")
end

-- ---- DOT ----

local function dot(list)
  local out = { "digraph tape {", '  rankdir = "TB";', '  node [shape = box, style = "rounded,filled", fillcolor = white, fontname = "Helvetica"];' }
  local function quoted(s) return '"' .. s:gsub('["\\]', "\\%0") .. '"' end
  for i, e in ipairs(list) do
    local text = e.label .. "\\n" .. e.detail .. (e.where and "\\n" .. e.where or "")
    out[#out + 1] = ("  n%d [label = %s%s];"):format(i, quoted(text):gsub("\\\\n", "\\n"), e.kind == "leaf" and ", fillcolor = lightblue" or "")
  end
  for i, e in ipairs(list) do
    for _, c in ipairs(e.children) do out[#out + 1] = ("  n%d -> n%d;"):format(i, c) end
  end
  out[#out + 1] = "}"
  return table.concat(out, "\n") .. "\n"
end

-- ---- SVG ----

--- Layers by longest path from the root; within a layer nodes stand near their parents' mean place.
local function layers_of(list)
  local depth, indegree, ready = {}, {}, {}
  for i in ipairs(list) do depth[i], indegree[i] = 0, 0 end
  for _, e in ipairs(list) do for _, c in ipairs(e.children) do indegree[c] = indegree[c] + 1 end end
  for i in ipairs(list) do if indegree[i] == 0 then ready[#ready + 1] = i end end
  local parents = {}
  local k = 1
  while k <= #ready do
    local i = ready[k]
    for _, c in ipairs(list[i].children) do
      depth[c] = math.max(depth[c], depth[i] + 1)
      parents[c] = parents[c] or {}
      table.insert(parents[c], i)
      indegree[c] = indegree[c] - 1
      if indegree[c] == 0 then ready[#ready + 1] = c end
    end
    k = k + 1
  end
  local layers = {}
  for _, i in ipairs(ready) do
    local d = depth[i] + 1
    layers[d] = layers[d] or {}
    table.insert(layers[d], i)
  end
  local place = {}
  for _, layer in ipairs(layers) do
    local weight = {}
    for n, i in ipairs(layer) do
      local sum, count = 0, 0
      for _, p in ipairs(parents[i] or {}) do sum, count = sum + (place[p] or 0), count + 1 end
      weight[i] = count > 0 and sum / count or n
    end
    table.sort(layer, function(a, b) if weight[a] ~= weight[b] then return weight[a] < weight[b] end return a < b end)
    for n, i in ipairs(layer) do place[i] = n - (#layer + 1) / 2 end
  end
  return layers
end

local function escape(s) return (s:gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" })) end

local function svg(list)
  local W, H, GX, GY, PAD = 150, 44, 24, 40, 20
  local layers, widest = layers_of(list), 1
  for _, layer in ipairs(layers) do widest = math.max(widest, #layer) end
  local width, height = PAD * 2 + widest * (W + GX) - GX, PAD * 2 + #layers * (H + GY) - GY
  local x, y = {}, {}
  for d, layer in ipairs(layers) do
    local left = (width - (#layer * (W + GX) - GX)) / 2
    for n, i in ipairs(layer) do x[i], y[i] = left + (n - 1) * (W + GX), PAD + (d - 1) * (H + GY) end
  end
  local out = { ('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">')
    :format(width, height, width, height) }
  out[#out + 1] = '<rect width="100%" height="100%" fill="white"/>'
  for i, e in ipairs(list) do
    for _, c in ipairs(e.children) do
      local x1, y1, x2, y2 = x[i] + W / 2, y[i] + H, x[c] + W / 2, y[c]
      out[#out + 1] = ('<path d="M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f" fill="none" stroke="#888"/>')
        :format(x1, y1, x1, y1 + GY / 2, x2, y2 - GY / 2, x2, y2)
    end
  end
  for i, e in ipairs(list) do
    out[#out + 1] = ('<g><title>%s</title><rect x="%.1f" y="%.1f" width="%d" height="%d" rx="6" fill="%s" stroke="#555"/>')
      :format(escape(e.label .. " " .. e.detail .. (e.where and " " .. e.where or "")), x[i], y[i], W, H, e.kind == "leaf" and "#cfe8ff" or "#f4f4f4")
    out[#out + 1] = ('<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>'):format(x[i] + W / 2, y[i] + 18, escape(e.label:sub(1, 22)))
    out[#out + 1] = ('<text x="%.1f" y="%.1f" text-anchor="middle" fill="#666">%s</text></g>'):format(x[i] + W / 2, y[i] + 34, escape(e.detail:sub(1, 26)))
  end
  out[#out + 1] = "</svg>"
  return table.concat(out, "\n") .. "\n"
end

local show_args = { "tensor", "file", "max_nodes", "names" }
local function reading(level, ...)
  local a = kwargs("graph", show_args, level + 1, ...)
  need_tensor("graph", a.tensor, level + 1)
  local list, cut = read(a.tensor, names_from(a.names), a.max_nodes or (a.file and 2000 or 300))
  return list, cut, a
end

--- graph.text(loss), graph.dot(loss), graph.svg(loss): the tape as a string.
function graph.text(...) local list, cut = reading(2, ...) return tree(list, cut) end
function graph.dot(...) return dot((reading(2, ...))) end
function graph.svg(...) return svg((reading(2, ...))) end

local function show(_, ...)
  local list, cut, a = reading(2, ...)
  if not a.file then print(tree(list, cut)); return end
  local ext = a.file:match("%.(%w+)$")
  local text = ext == "svg" and svg(list) or ext == "dot" and dot(list) or ext == "txt" and tree(list, cut) .. "\n"
  if not text then error("graph: the file must end in .svg, .dot or .txt, got " .. a.file, 2) end
  local f, err = io.open(a.file, "w")
  if not f then error("graph: " .. err, 2) end
  f:write(text)
  local ok, why = f:close()
  if not ok then error("graph: " .. tostring(why), 2) end
end

-- ---- PyTorch's namespace ----

--- A gradient edge names one output of one node; backward and grad take it where they take a tensor.
graph.GradientEdge = setmetatable({ __name = "GradientEdge" }, {
  __call = function(class, node, output_nr) return setmetatable({ node = node, output_nr = output_nr or 0 }, class) end })
graph.GradientEdge.__index = graph.GradientEdge
graph.GradientEdge.__tostring = function(e) return ("GradientEdge(node=%s, output_nr=%d)"):format(tostring(e.node), e.output_nr) end

function graph.get_gradient_edge(tensor)
  local node, nr = autograd._edge(need_tensor("get_gradient_edge", tensor, 2))
  if not node then error("It is not possible to get the gradient edge for a tensor that does not require gradients", 2) end
  return graph.GradientEdge(node, nr)
end

--- Is v a grad_fn?
graph.Node = setmetatable({}, { __call = function(_, v) return graph.is_node(v) end })
function graph.is_node(v) return type(v) == "userdata" and (debug.getmetatable(v) or {}).__name == "torch.autograd.Node" end

--- Tells autograd that a tensor (or a list) was written to behind its back.
function graph.increment_version(tensor) autograd._increment_version(tensor) end

local disabled

local function guard(open, close, ...)
  local n, f = select("#", ...), ...
  open()
  if n > 0 and f ~= nil then
    local results = table.pack(pcall(...))
    close()
    if not results[1] then error(results[2], 0) end
    return table.unpack(results, 2, results.n)
  end
  local done = false
  return setmetatable({}, { __close = function() if not done then done = true; close() end end })
end

--- saved_tensors_hooks(pack, unpack): what ops save for backward goes through pack, and comes back through unpack.  With a
--- function as third argument it covers that call, else the rest of the block (`local _ <close> = ...`).
function graph.saved_tensors_hooks(pack, unpack, ...)
  if type(pack) ~= "function" or type(unpack) ~= "function" then error("saved_tensors_hooks: expected two functions", 2) end
  if disabled then error(disabled, 2) end
  return guard(function() autograd._push_saved_hooks(pack, unpack) end, autograd._pop_saved_hooks, ...)
end

--- save_on_cpu(): there is one memory here, so saved tensors are kept as copies of their own.
function graph.save_on_cpu(...)
  local args, first = { ... }, 1
  while first <= #args and type(args[first]) ~= "function" do first = first + 1 end
  return graph.saved_tensors_hooks(function(x) return x:clone() end, function(x) return x end, table.unpack(args, first))
end

--- disable_saved_tensors_hooks(message): using such hooks raises message.
function graph.disable_saved_tensors_hooks(message, ...)
  local before = disabled
  return guard(function() disabled = message end, function() disabled = before end, ...)
end

function graph.allow_mutation_on_saved_tensors()
  error("allow_mutation_on_saved_tensors is not implemented; clone() what will be written to", 2)
end

--- register_multi_grad_hook(tensors, fn, {mode = "all"}): fn gets the list of gradients once all of them have come, or with
--- mode = "any" the first one that comes; once per backward.
function graph.register_multi_grad_hook(tensors, fn, opt)
  local mode = type(opt) == "string" and opt or type(opt) == "table" and opt.mode or "all"
  if mode ~= "all" and mode ~= "any" then error("register_multi_grad_hook: mode must be 'all' or 'any', got " .. tostring(mode), 2) end
  if type(fn) ~= "function" then error("register_multi_grad_hook: expected a function, got " .. type(fn), 2) end
  local handles, buffer, count, expected, walk = {}, {}, 0, nil, nil
  local nodes = {}
  for i, x in ipairs(tensors) do nodes[i] = (autograd._edge(need_tensor("register_multi_grad_hook", x, 2))) end
  for i, x in ipairs(tensors) do
    handles[i] = x:register_hook(function(g)
      local now = autograd._walk()
      if walk ~= now then
        walk, buffer, count, expected = now, {}, 0, 0
        for k = 1, #tensors do
          buffer[k] = torch.None
          if nodes[k] and autograd._will_run(nodes[k]) then expected = expected + 1 end
        end
      end
      count = count + 1
      if mode == "any" then
        if count == 1 then fn(g) end
        return
      end
      buffer[i] = g
      if count == expected then
        local all = buffer
        buffer = {}
        fn(all)
      end
    end)
  end
  local function remove() for _, h in ipairs(handles) do h:remove() end end
  return setmetatable({ remove = remove }, { __close = remove })
end

return setmetatable(graph, { __call = show, __tostring = function() return "torch.autograd.graph" end })
