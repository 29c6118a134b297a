-- diff.lua: differences of two texts by lines (Myers' shortest script with common ends cut off), as hunks, unified
-- text and rows.
local diff = {}

local function lines_of(text)
  local out = {}
  for line in text:gmatch("([^\n]*)\n?") do out[#out + 1] = line end
  if out[#out] == "" then out[#out] = nil end
  return out
end
diff.lines = lines_of

-- Greedy shortest edit script between a[a1..a2] and b[b1..b2]; marks kept pairs in `pairs_`.
local function myers(a, b, a1, a2, b1, b2, pair)
  local n, m = a2 - a1 + 1, b2 - b1 + 1
  if n <= 0 or m <= 0 then return end
  local max = math.min(n + m, 4000)
  local v, trace = { [1] = 0 }, {}
  for d = 0, max do
    local copy = {}
    for k, x in pairs(v) do copy[k] = x end
    trace[d] = copy
    for k = -d, d, 2 do
      local x
      if k == -d or (k ~= d and (v[k - 1] or -1) < (v[k + 1] or -1)) then x = v[k + 1] or 0 else x = v[k - 1] + 1 end
      local y = x - k
      while x < n and y < m and a[a1 + x] == b[b1 + y] do x, y = x + 1, y + 1 end
      v[k] = x
      if x >= n and y >= m then
        -- walk back
        local px, py = n, m
        for dd = d, 1, -1 do
          local pv = trace[dd]
          local kk = px - py
          local pk
          if kk == -dd or (kk ~= dd and (pv[kk - 1] or -1) < (pv[kk + 1] or -1)) then pk = kk + 1 else pk = kk - 1 end
          local sx = pv[pk] or 0
          local sy = sx - pk
          while px > sx and py > sy and px > 0 and py > 0 and a[a1 + px - 1] == b[b1 + py - 1] do
            pair[a1 + px - 1] = b1 + py - 1
            px, py = px - 1, py - 1
          end
          px, py = sx, sy
        end
        while px > 0 and py > 0 do
          pair[a1 + px - 1] = b1 + py - 1
          px, py = px - 1, py - 1
        end
        return
      end
    end
  end
end

-- Lines that occur once in both sides anchor the match, so that long files stay cheap.
local function match(a, b, a1, a2, b1, b2, pair)
  while a1 <= a2 and b1 <= b2 and a[a1] == b[b1] do
    pair[a1] = b1
    a1, b1 = a1 + 1, b1 + 1
  end
  while a1 <= a2 and b1 <= b2 and a[a2] == b[b2] do
    pair[a2] = b2
    a2, b2 = a2 - 1, b2 - 1
  end
  if a1 > a2 or b1 > b2 then return end
  if (a2 - a1) + (b2 - b1) < 60 then return myers(a, b, a1, a2, b1, b2, pair) end
  local count_a, count_b, at_b = {}, {}, {}
  for i = a1, a2 do count_a[a[i]] = (count_a[a[i]] or 0) + 1 end
  for j = b1, b2 do
    count_b[b[j]] = (count_b[b[j]] or 0) + 1
    at_b[b[j]] = j
  end
  local anchors = {}
  for i = a1, a2 do
    local line = a[i]
    if count_a[line] == 1 and count_b[line] == 1 then anchors[#anchors + 1] = { i, at_b[line] } end
  end
  if #anchors == 0 then return myers(a, b, a1, a2, b1, b2, pair) end
  -- longest rising run of the anchors (patience)
  local piles, back = {}, {}
  for _, x in ipairs(anchors) do
    local lo, hi = 1, #piles + 1
    while lo < hi do
      local mid = (lo + hi) // 2
      if piles[mid][2] < x[2] then lo = mid + 1 else hi = mid end
    end
    back[x] = piles[lo - 1]
    piles[lo] = x
  end
  local chain, x = {}, piles[#piles]
  while x do
    table.insert(chain, 1, x)
    x = back[x]
  end
  local pa, pb = a1, b1
  for _, c in ipairs(chain) do
    match(a, b, pa, c[1] - 1, pb, c[2] - 1, pair)
    pair[c[1]] = c[2]
    pa, pb = c[1] + 1, c[2] + 1
  end
  match(a, b, pa, a2, pb, b2, pair)
end

--- Runs of the script: list of {op = "=" | "-" | "+", a = line number or nil, b = line number or nil, text}.
function diff.script(old, new)
  local a, b = lines_of(old), lines_of(new)
  local pair = {}
  match(a, b, 1, #a, 1, #b, pair)
  local out, j = {}, 1
  for i = 1, #a do
    local to = pair[i]
    if to then
      while j < to do
        out[#out + 1] = { op = "+", b = j, text = b[j] }
        j = j + 1
      end
      out[#out + 1] = { op = "=", a = i, b = to, text = a[i] }
      j = to + 1
    else out[#out + 1] = { op = "-", a = i, text = a[i] } end
  end
  while j <= #b do
    out[#out + 1] = { op = "+", b = j, text = b[j] }
    j = j + 1
  end
  return out
end

--- Groups of the script with `context` equal lines around each change: list of {from, to} indices.
function diff.hunks(script, context)
  local hunks, cur = {}, nil
  for i, row in ipairs(script) do
    if row.op ~= "=" then
      if cur and i - cur.last <= 2 * context then cur.last = i
      else
        cur = { first = i, last = i }
        hunks[#hunks + 1] = cur
      end
    end
  end
  for _, h in ipairs(hunks) do h.from, h.to = math.max(1, h.first - context), math.min(#script, h.last + context) end
  return hunks
end

--- Unified diff text, "" when equal.
function diff.unified(old, new, name_old, name_new)
  if old == new then return "" end
  local script = diff.script(old, new)
  local out = { "--- " .. name_old, "+++ " .. name_new }
  for _, h in ipairs(diff.hunks(script, 3)) do
    local a0, b0, na, nb
    na, nb = 0, 0
    for i = h.from, h.to do
      local r = script[i]
      if r.op ~= "+" then na = na + 1 a0 = a0 or r.a end
      if r.op ~= "-" then nb = nb + 1 b0 = b0 or r.b end
    end
    out[#out + 1] = ("@@ -%d,%d +%d,%d @@"):format(a0 or 0, na, b0 or 0, nb)
    for i = h.from, h.to do
      local r = script[i]
      out[#out + 1] = (r.op == "=" and " " or r.op) .. r.text
    end
  end
  return table.concat(out, "\n") .. "\n"
end

return diff
