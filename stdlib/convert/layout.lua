-- layout.lua: the one formatting a conversion owes: parentheses that held a long expression over several lines go
-- when the
-- edited expression fits on one line (119 columns), as the formatter of the sources would have it.
-- Invariant: only statements an edit touched are looked at; comments and strings over several lines keep theirs.
local layout = {}

local WIDTH = 119

local function candidate(node)
  local k = node.k
  if k == "If" or k == "While" then return node.test, ":" end
  if k == "Assign" or k == "Return" or k == "AugAssign" then return node.value or nil, "" end
end

local function join_line(text)
  if text:find("#", 1, true) or text:find('"""', 1, true) or text:find("'''", 1, true) then return nil end
  local line = text:gsub("^%s+", ""):gsub("%s+$", ""):gsub("%s*\n%s*", " ")
  return (line:gsub("([%(%[{]) ", "%1"):gsub(",? ([%)%]}])", "%1"))
end

--- Adds the edits that join lines; the other edits must be complete.
function layout.join(f)
  local places = {}
  for _, ed in ipairs(f.edits.list) do places[#places + 1] = ed.s end
  if #places == 0 then return end
  table.sort(places)
  local function touched(s, e)
    local lo, hi = 1, #places + 1
    while lo < hi do
      local mid = (lo + hi) // 2
      if places[mid] < s then lo = mid + 1 else hi = mid end
    end
    return places[lo] and places[lo] <= e
  end

  local function look(st)
    local value, tail = candidate(st)
    if not value or st.deleted or st.dead or not touched(value.s, value.e) then return end
    local e, s = f:outer_end(value)
    if s == value.s or not f.src:find("^%([ \t]*\r?\n", s) then return end
    local column = s - f:line_start(s)
    f.edits:replace(s, e, { { s + 1, e - 1 }, post = function(text)
      local line = join_line(text)
      if line and column + #line + #tail <= WIDTH then return line end
      return "(" .. text .. ")"
    end })
  end

  local function visit(list)
    for i = 1, #list do
      local st = list[i]
      if not st.deleted then
        if st.body and (st.k ~= "IfExp") then
          if touched(st.s, st.e) then
            look(st)
            visit(st.body)
            if st.orelse then visit(st.orelse) end
            if st.handlers then for _, h in ipairs(st.handlers) do visit(h.body) end end
            if st.finalbody then visit(st.finalbody) end
          end
        else look(st) end
      end
    end
  end
  visit(f.tree.body)
end

return layout
