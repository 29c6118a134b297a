-- ticks.lua: round numbers along an axis, and how they are written.
local ticks = {}

--- Step of 1, 2 or 5 times a power of ten, so that about `want` of them fill the span.
local function step_for(span, want)
  local raw = span / math.max(want, 1)
  local power = 10.0 ^ math.floor(math.log(raw, 10))
  local m = raw / power
  return (m < 1.5 and 1 or m < 3.5 and 2 or m < 7.5 and 5 or 10) * power
end

--- Text with only the decimals that the step needs; powers of ten where numbers are very big or small.
function ticks.format(v, step)
  if v == 0 then return "0" end
  local big = math.max(math.abs(v), step)
  if big >= 1e6 or big < 1e-4 then
    local text = string.format("%.3g", v)
    return (text:gsub("e([+-])0*(%d)", function(sign, d) return "e" .. (sign == "-" and "-" or "") .. d end))
  end
  local decimals = math.max(0, -math.floor(math.log(step, 10) + 1e-9))
  local text = string.format("%." .. decimals .. "f", v)
  return text:find("^%-0%.?0*$") and text:sub(2) or text
end

--- Values and texts of the ticks inside [lo, hi].
function ticks.linear(lo, hi, want)
  if not (hi > lo) or hi - lo == math.huge then return { lo }, { ticks.format(lo, 1) } end
  local step = step_for(hi - lo, want)
  local values, texts = {}, {}
  for k = math.ceil(lo / step - 1e-9), math.floor(hi / step + 1e-9) do
    values[#values + 1] = k * step
    texts[#texts + 1] = ticks.format(k * step, step)
    if #values > 100 then break end
  end
  return values, texts
end

--- Powers of ten inside [lo, hi], given and returned as logarithms; with few decades, 2 and 5 too.
function ticks.log(lo, hi, want)
  local values, texts = {}, {}
  local decades = hi - lo
  local every = math.max(1, math.ceil(decades / math.max(want, 1)))
  for p = math.floor(lo), math.ceil(hi) do
    for _, m in ipairs(decades <= 2 and { 1, 2, 5 } or { 1 }) do
      local at = p + math.log(m, 10)
      if at >= lo - 1e-9 and at <= hi + 1e-9 and p % every == 0 then
        values[#values + 1] = at
        texts[#texts + 1] = ticks.format(m * 10.0 ^ p, m * 10.0 ^ p)
      end
    end
  end
  if #values < 2 then return ticks.linear(lo, hi, want) end
  return values, texts
end

return ticks
