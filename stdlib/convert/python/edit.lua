-- edit.lua: changes to a text as byte ranges and what takes their place.
-- Invariant: the text itself never changes; the result is the bytes outside all edits in their order, with each edit's
-- replacement between them. A replacement is a string or a list of strings and ranges {s, e} of the text; a range is
-- rendered with the edits that lie inside it, so an outer edit may move what an inner one changed.
local edit = {}

local Edits = {}
Edits.__index = Edits

function edit.new(text) return setmetatable({ text = text, list = {}, seen = {} }, Edits) end

--- Replaces bytes s..e (e = s - 1 inserts before s). False when the very same range was taken already.
function Edits:replace(s, e, with)
  local key = s .. ":" .. e
  if e >= s then
    if self.seen[key] then return false end
    self.seen[key] = true
  end
  local list = self.list
  list[#list + 1] = { s = s, e = e, with = with, order = #list }
  return true
end

function Edits:insert(at, with) return self:replace(at, at - 1, with) end
function Edits:delete(s, e) return self:replace(s, e, "") end

-- Rising start; an insertion before what starts at the same byte; the larger range first; then in the order made.
local function before(a, b)
  if a.s ~= b.s then return a.s < b.s end
  local ai, bi = a.e < a.s, b.e < b.s
  if ai ~= bi then return ai end
  if a.e ~= b.e then return a.e > b.e end
  return a.order < b.order
end

--- The new text, and the list of edits dropped because they crossed another one.
function Edits:render()
  local list, text = self.list, self.text
  if #list == 0 then return text, {} end
  table.sort(list, before)
  local dropped = {}
  local out = {}
  local n = #list

  local render
  -- Renders text s..e with the edits list[i..j] (all inside), leaving out what is inside an outer edit.
  function render(s, e, i, j)
    local pos = s
    while i <= j do
      local ed = list[i]
      local k = i
      if ed.s < pos then
        -- crosses the end of an earlier edit
        dropped[#dropped + 1] = ed
      else
        if ed.s > pos then out[#out + 1] = text:sub(pos, ed.s - 1) end
        if ed.e >= ed.s then
          while k < j and list[k + 1].s <= ed.e do
            k = k + 1
            -- what begins inside and ends outside crosses
            if list[k].e > ed.e then dropped[#dropped + 1] = list[k] end
          end
        end
        local with = ed.with
        if type(with) == "string" then
          if with ~= "" then out[#out + 1] = with end
        else
          local mark = #out
          for _, piece in ipairs(with) do
            if type(piece) == "string" then out[#out + 1] = piece
            else
              local a = i + 1
              while a <= k and list[a].s < piece[1] do a = a + 1 end
              local inner = {}
              for x = a, k do
                if list[x].s >= piece[1] and list[x].e <= piece[2] and list[x].s <= piece[2] then inner[#inner + 1] =
                  list[x] end
              end
              if #inner == 0 then out[#out + 1] = text:sub(piece[1], piece[2])
              else
                local saved, saved_n = list, n
                list, n = inner, #inner
                render(piece[1], piece[2], 1, #inner)
                list, n = saved, saved_n
              end
            end
          end
          if with.post then
            local text_here = table.concat(out, "", mark + 1)
            for x = #out, mark + 1, -1 do out[x] = nil end
            out[mark + 1] = with.post(text_here)
          end
        end
        pos = ed.e >= ed.s and ed.e + 1 or pos
        if ed.e < ed.s then pos = math.max(pos, ed.s) end
      end
      i = k + 1
    end
    if pos <= e then out[#out + 1] = text:sub(pos, e) end
  end

  render(1, #text, 1, n)
  return table.concat(out), dropped
end

return edit
