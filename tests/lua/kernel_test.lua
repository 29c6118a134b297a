-- kernel_test.lua: the notebook kernel without a notebook: messages and their signatures, requests served over stand-in
-- sockets, installation.  make kernel-test runs it under a real client.
local t = require "check"
local json = require "json"
local sys = require "sys"
local protocol = require "kernel.protocol"
local server = require "kernel.server"

t.test("messages: signed, read back, tampering refused", function()
  local frames = protocol.write("key", "s", { "id1", "id2" }, "status", { execution_state = "busy" })
  t.eq({ frames[1], frames[2], frames[3], #frames }, { "id1", "id2", "<IDS|MSG>", 8 })
  t.eq(frames[4], sys.hmac_sha256("key", frames[5] .. frames[6] .. frames[7] .. frames[8]))
  local m = protocol.read("key", frames)
  t.eq({ m.header.msg_type, m.content.execution_state, m.idents[2] }, { "status", "busy", "id2" })
  t.eq(frames[7], "{}")
  for i = 4, 8 do
    local bad = { table.unpack(frames) }
    bad[i] = bad[i]:gsub("[%a%d}]", "x", 1)
    local none, why = protocol.read("key", bad)
    t.eq({ none, why }, { nil, "wrong signature" })
  end
  t.eq(select(2, protocol.read("other", frames)), "wrong signature")
  t.eq(select(2, protocol.read("key", { "a", "b" })), "no delimiter")
  t.eq(select(2, protocol.read("key", { "<IDS|MSG>", "a" })), "too few frames")
  local open = protocol.write("", "s", {}, "x", {})
  t.eq(open[2], "")
  t.eq(protocol.read("", open).header.msg_type, "x")
  t.eq(select(2, protocol.read("", { "<IDS|MSG>", "", "[", "{}", "{}", "{}" })), "not a message")
  t.eq(select(2, protocol.read("", { "<IDS|MSG>", "", "{}", "{}", "{}", "{}" })), "not a message")
  local seen = {}
  for _ = 1, 1000 do
    local id = protocol.uuid()
    t.ok(not seen[id] and id:find("^%x+%-%x+%-4%x%x%x%-a%x%x%x%-%x+$"))
    seen[id] = true
  end
end)

-- a kernel on sockets that remember what was sent
local sent = {}
local function take()
  local out = sent
  sent = {}
  return out
end
local fake = { busy = function() end, ports = function() return {} end,
  send = function(_, channel, frames) sent[#sent + 1] = { channel, protocol.read("k", frames) } end }
local kernel = server.new(fake, "k", { caught = function() return "" end })
require("repl.style").on = false
local real_print, real_write = print, io.write

local function request(kind, content)
  kernel:handle("shell", protocol.write("k", "client", { "peer" }, kind, content))
  local reply, by_kind = nil, {}
  for _, m in ipairs(take()) do
    if m[1] == "shell" then reply = m[2].content end
    by_kind[m[2].header.msg_type] = by_kind[m[2].header.msg_type] or {}
    table.insert(by_kind[m[2].header.msg_type], m[2].content)
  end
  return reply, by_kind
end
local function execute(code, more)
  local content = { code = code, silent = false, store_history = true, allow_stdin = false, user_expressions = json.object() }
  for k, v in pairs(more or {}) do content[k] = v end
  return request("execute_request", content)
end

t.test("execute: status, echo, result, counts", function()
  local reply, m = execute("local n = 4\nn + 1\nn * 10")
  t.eq({ reply.status, reply.execution_count }, { "ok", 1 })
  t.eq({ m.status[1].execution_state, m.status[2].execution_state }, { "busy", "idle" })
  t.eq(m.execute_input[1].code, "local n = 4\nn + 1\nn * 10")
  t.eq(m.display_data[1].data["text/plain"], "5")
  t.eq(m.execute_result[1].data["text/plain"], "40")
  reply, m = execute("n;")
  t.eq({ reply.status, m.execute_result }, { "ok", nil })
  reply = execute("n = n", { user_expressions = { a = "n + 1", b = "no.thing" } })
  t.eq({ reply.user_expressions.a.data["text/plain"], reply.user_expressions.b.status }, { "5", "error" })
  reply, m = execute("1 + 1", { silent = true })
  t.eq({ reply.status, reply.execution_count, m.execute_input, m.execute_result }, { "ok", 3, nil, nil })
end)

t.test("execute: errors", function()
  for _, code in ipairs { "error('boom')", "x = = 1", "error({})", "for i = 1", "local t = nil; t.x = 1" } do
    local reply, m = execute(code)
    t.eq(reply.status, "error")
    t.ok(#reply.traceback > 0 and m.error[1].ename == "Error")
    t.eq(m.status[2].execution_state, "idle")
  end
  t.ok(execute("error('boom')").evalue:find("boom", 1, true))
end)

t.test("complete, inspect, is_complete, history, info", function()
  local c = request("complete_request", { code = "é = torch.sof", cursor_pos = 13 })
  local found = false
  for _, name in ipairs(c.matches) do found = found or name == "softmax" end
  t.eq({ found, c.cursor_start, c.cursor_end }, { true, 10, 13 })
  c = request("complete_request", { code = "((((", cursor_pos = 99 })
  t.eq(c.status, "ok")
  local i = request("inspect_request", { code = "string.find('a', 'b')", cursor_pos = 8, detail_level = 0 })
  t.ok(i.found and i.data["text/plain"]:find("find", 1, true))
  i = request("inspect_request", { code = "torch.softmax(x, ", cursor_pos = 17 })
  t.ok(i.found)
  t.eq(request("inspect_request", { code = "", cursor_pos = 0 }).found, false)
  for code, want in pairs { ["x = 1"] = "complete", ["if x then"] = "incomplete", ["x = = 1"] = "invalid" } do
    t.eq(request("is_complete_request", { code = code }).status, want)
  end
  local h = request("history_request", { hist_access_type = "search", pattern = "*boom*", n = 10, output = false }).history
  t.eq({ #h, h[1][3] }, { 2, "error('boom')" })
  t.eq(#request("history_request", { hist_access_type = "tail", n = 2, output = true }).history, 2)
  t.eq(request("kernel_info_request", {}).language_info.name, "lua")
  t.eq(request("comm_info_request", {}).status, "ok")
  t.eq(request("shutdown_request", { restart = false }).restart, false)
  t.eq(kernel.done, true)
  local none = request("no_such_request", {})
  t.eq(none, nil)
  kernel:handle("shell", { "rubbish" })
  t.eq(#take(), 0)
end)

t.test("display data", function()
  local display = require "kernel.display"
  local plot = require "plot"
  local fig = display.data(plot.figure { width = 60, height = 40 }:line { 1, 2 })
  t.ok(fig["image/png"]:find("^iVBOR") and fig["image/svg+xml"]:find("^<svg"))
  t.eq(display.data(5)["text/plain"], "5")
  t.eq(display.data(setmetatable({}, { __display = function() return { ["text/html"] = "x" } end }))["text/html"], "x")
  t.eq(display.text("a\255b"), "a?b")
  local got = {}
  display.publish = function(d) got[#got + 1] = d end
  display.html "<b>"
  display(1, 2)
  t.eq({ got[1]["text/html"], got[3]["text/plain"] }, { "<b>", "2" })
  t.error_matches(function() display.svg(5) end, "a string is expected")
  display.publish = nil
end)

t.test("installation", function()
  local dir = sys.tmpdir()
  local cli = require "kernel.cli"
  local out = {}
  _G.print = function(s) out[#out + 1] = s end
  local rc = cli.main { "install", "--prefix", dir, "--name", "m1", "--interrupt-mode", "signal" }
  _G.print = real_print
  t.eq(rc, 0)
  local spec = json.load(dir .. "/share/jupyter/kernels/m1/kernel.json")
  t.eq({ spec.argv[2], spec.argv[3], spec.argv[4], spec.interrupt_mode, spec.language }, { "kernel", "run", "{connection_file}", "signal", "lua" })
  t.ok(spec.argv[1]:find("^/"))
  t.eq(cli.main { "remove", "--prefix", dir, "--name", "m1" }, 0)
  t.ok(not sys.exists(dir .. "/share/jupyter/kernels/m1"))
  local err = io.stderr
  io.stderr = { write = function() end }  -- luacheck: ignore
  t.eq({ cli.main {}, cli.main { "install", "--nam" }, cli.main { "install", "--name", "a/b" }, cli.main { "install", "--interrupt-mode", "x" } },
    { 2, 2, 1, 1 })
  io.stderr = err  -- luacheck: ignore
  sys.remove(dir, { recursive = true })
end)
t.ok(io.write == real_write)
t.done()
