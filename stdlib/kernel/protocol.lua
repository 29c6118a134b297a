-- protocol.lua: Jupyter's messages as frames: signed, packed, read.  No sockets here.
--
-- A message is a table { idents = {...}, header =, parent =, metadata =, content =, buffers = {...}, raw_header = }.
local json = require "json"
local sys = require "sys"

local protocol = { version = "5.3" }
local DELIMITER = "<IDS|MSG>"

local counter = 0
--- An identifier that no other message has.
function protocol.uuid()
  counter = counter + 1
  local seed = string.format("%d|%.9f|%d|%s", sys.pid(), sys.time(), counter, tostring({}))
  local h = sys.sha256(seed)
  return string.format("%s-%s-4%s-a%s-%s", h:sub(1, 8), h:sub(9, 12), h:sub(14, 16), h:sub(18, 20), h:sub(21, 32))
end

local function timestamp()
  local t = sys.time()
  return os.date("!%Y-%m-%dT%H:%M:%S", math.floor(t)) .. string.format(".%06dZ", math.floor(t % 1 * 1e6))
end

function protocol.sign(key, header, parent, metadata, content)
  return key == "" and "" or sys.hmac_sha256(key, header .. parent .. metadata .. content)
end

--- Equal in time that does not tell where they differ.
local function same(a, b)
  if #a ~= #b then return false end
  local diff = 0
  for i = 1, #a do diff = diff | (a:byte(i) ~ b:byte(i)) end
  return diff == 0
end

--- Objects stay objects when they are empty.
local function object(t) return next(t) == nil and json.object() or t end

--- The message of a list of frames, or nil and what is wrong.
function protocol.read(key, frames)
  local at
  for i, f in ipairs(frames) do if f == DELIMITER then at = i break end end
  if not at then return nil, "no delimiter" end
  local signature, header, parent, metadata, content = table.unpack(frames, at + 1, at + 5)
  if not content then return nil, "too few frames" end
  if key ~= "" and not same(signature, protocol.sign(key, header, parent, metadata, content)) then return nil, "wrong signature" end
  local ok, h, m, c = pcall(function() return json.decode(header), json.decode(metadata), json.decode(content) end)
  if not ok or type(h) ~= "table" or type(c) ~= "table" or type(h.msg_type) ~= "string" then return nil, "not a message" end
  return { idents = { table.unpack(frames, 1, at - 1) }, header = h, raw_header = header, metadata = m, content = c,
    buffers = { table.unpack(frames, at + 6) } }
end

--- Frames of a message: idents is a list (or a topic), parent the message it answers.
function protocol.write(key, session, idents, kind, content, parent, metadata)
  local header = json.object()
  header.msg_id, header.msg_type, header.session = protocol.uuid(), kind, session
  header.username, header.date, header.version = "moth", timestamp(), protocol.version
  local h, p = json.encode(header), parent and parent.raw_header or "{}"
  local m, c = json.encode(object(metadata or {})), json.encode(object(content))
  local frames = { table.unpack(idents) }
  for _, f in ipairs { DELIMITER, protocol.sign(key, h, p, m, c), h, p, m, c } do frames[#frames + 1] = f end
  return frames
end

return protocol
