-- media_test.lua: pictures and sound, through files and back.
package.path = "tests/lua/?.lua;" .. package.path
local t, torch, sys = require "check", require "torch", require "sys"
local image, audio = require "image", require "audio"

local dir = assert(sys.tmpdir())
local function p(name) return dir .. "/" .. name end

-- Pictures made by other programs: 3 x 2 palette, 5 x 5 interlaced gray of 16 bits, 4 x 1 gray of 2 bits.
local samples = {
  { "89504e470d0a1a0a0000000d4948445200000003000000020803000000aaaa962800000009504c5445ff000000ff0000" ..
    "00ff2d4acd8a0000000274524e530a1496a6f1cf000000104944415478da6360606462606264000000200007f52adf2f" ..
    "0000000049454e44ae426082",
    "255 0 0 0 0 255 0 255 0 0 255 0 0 0 255 255 0 0 10 20 255 255 20 10" },
  { "89504e470d0a1a0a0000000d49484452000000050000000510000000018f9395ec000000484944415478da013d00c2ff" ..
    "0000000028a000cb20f3c000145000df7000659079e08e30000a281e78006fb8840800d548e9980032c83cf047185140" ..
    "5b68009858a280aca8b6d0c0f86e9f17bc2fa89e090000000049454e44ae426082",
    "0 10 20 30 40 50 60 71 81 91 101 111 121 132 142 152 162 172 182 192 203 213 223 233 243" },
  { "89504e470d0a1a0a0000000d494844520000000400000001020000000096e748b00000000a4944415478da6390060000" ..
    "1d001c237c8fac0000000049454e44ae426082",
    "0 85 170 255" }
}

t.test("png: what is saved is read back", function()
  for c = 1, 4 do
    local x = torch.arange(c * 37 * 41):reshape(c, 37, 41):remainder(251):to(torch.uint8)
    image.save(x, p "a.png")
    t.eq(tostring(image.load(p "a.png")), tostring(x), c .. " channels")
  end
  image.save(torch.tensor({ { 0.0, 0.5 }, { 1.0, 2.0 } }), p "f.png")
  t.eq(tostring(image.load(p "f.png")), "tensor([[[  0, 128],\n         [255, 255]]], dtype=torch.uint8)")
  t.eq(tostring(image.load(p "f.png", { mode = "RGB" }).shape), "torch.Size([3, 2, 2])")
  t.error_matches(function() image.load(p "f.png", { mode = "X" }) end, "mode")
  t.error_matches(function() image.save(torch.zeros(5, 2, 2), p "x.png") end, "1 to 4 channels")
  t.error_matches(function() image.save(torch.zeros(2, 2):long(), p "x.png") end, "uint8")
end)

t.test("png: other kinds", function()
  for _, s in ipairs(samples) do
    local bytes = s[1]:gsub("..", function(h) return string.char(tonumber(h, 16)) end)
    t.eq(table.concat(image.decode(bytes):flatten():tolist(), " "), s[2])
  end
end)

t.test("png: damage is noticed", function()
  image.save(torch.zeros(1, 8, 8):to(torch.uint8), p "d.png")
  local text = sys.read(p "d.png")
  for i = 1, #text do
    local bad = text:sub(1, i - 1) .. string.char(text:byte(i) ~ 0x10) .. text:sub(i + 1)
    local ok, x = pcall(image.decode, bad)
    t.ok(not ok or i > #text - 12, "byte " .. i)
    t.ok(not pcall(image.decode, text:sub(1, i - 1)) , "cut at " .. i)
    if not ok then t.ok(tostring(x):find("png") or tostring(x):find("image") or tostring(x):find("inflate")) end
  end
end)

t.test("wav", function()
  local x = torch.tensor({ { 0.0, 0.5, -0.5, 1.0, -1.0 }, { 0.25, 0, 0, 0, -0.25 } })
  audio.save(p "a.wav", x, 16000)
  local y, rate = audio.load(p "a.wav")
  t.eq(rate, 16000)
  t.eq(tostring(y), "tensor([[ 0.0000,  0.5000, -0.5000,  1.0000, -1.0000],\n"
    .. "        [ 0.2500,  0.0000,  0.0000,  0.0000, -0.2500]])")
  audio.save(p "f.wav", x, 8000, { encoding = "PCM_F" })
  t.eq(tostring(audio.load(p "f.wav")), tostring(x))
  t.error_matches(function() audio.load(p "none.wav") end, "none.wav")
  sys.write(p "bad.wav", "RIFF1234WAVEfmt ")
  t.error_matches(function() audio.load(p "bad.wav") end, "wav")
end)

sys.remove(dir, { recursive = true })
t.done()
