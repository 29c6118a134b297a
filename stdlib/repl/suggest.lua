-- suggest.lua: "did you mean".  Distance counts insertions, deletions, changes and swaps of neighbours.
local suggest = {}

--- The distance between a and b, or nil when above limit.
function suggest.distance(a, b, limit)
  if math.abs(#a - #b) > limit then return nil end
  local before, last
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    last, before = before, row
    row = { [0] = i }
    local best = i
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local d = math.min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        d = math.min(d, last[j - 2] + 1)
      end
      row[j] = d
      best = math.min(best, d)
    end
    if best > limit then return nil end
  end
  return row[#b] <= limit and row[#b] or nil
end

--- The name of the list nearest to `name`, or nil.
function suggest.nearest(name, list)
  local limit = #name <= 2 and 0 or #name <= 3 and 1 or #name <= 7 and 2 or 3   -- of two letters, all is near
  local best, found = limit + 1, nil
  local lower = name:lower()
  for _, other in ipairs(list) do
    if other ~= name then
      local d = other:lower() == lower and 0.5 or suggest.distance(name, other, limit)
      if d and d == best and found and other < found then found = other end
      if d and d < best then best, found = d, other end
    end
  end
  return found
end

return suggest
