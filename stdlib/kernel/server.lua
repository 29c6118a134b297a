-- server.lua: the notebook kernel: reads requests, runs cells in the prompt's session, answers.
--
-- The sockets and the threads that answer heartbeats and interrupts are C (kernel.sockets); messages are protocol.lua.
local json = require "json"
local term = require "moth.term"
local protocol = require "kernel.protocol"
local display = require "kernel.display"
local style = require "repl.style"

local server = {}
local Kernel = {}
Kernel.__index = Kernel

local function list(t) return #t > 0 and t or json.decode "[]" end

-- ---- sending ----
function Kernel:reply(channel, request, kind, content)
  self.sockets:send(channel, protocol.write(self.key, self.session, request.idents, kind, content, request))
end
function Kernel:publish(kind, content, metadata)
  self.sockets:send("iopub", protocol.write(self.key, self.session, { "kernel." .. self.session .. "." .. kind }, kind, content,
    self.parent, metadata))
end
function Kernel:status(state) self:publish("status", { execution_state = state }) end

--- Text printed goes out in pieces, at most some 20 a second.
function Kernel:stream(name, text)
  if text == "" then return end
  if self.pending_name ~= name then self:flush() end
  self.pending_name = name
  self.pending[#self.pending + 1] = text
  self.pending_size = self.pending_size + #text
  if self.pending_size > 16384 or term.clock() - self.flushed > 0.05 then self:flush() end
end
function Kernel:flush()
  self.flushed = term.clock()
  if #self.pending == 0 then return end
  local text = table.concat(self.pending)
  self.pending, self.pending_size = {}, 0
  self:publish("stream", { name = self.pending_name, text = display.text(text) })
end
--- What C code or a child process wrote to the real standard output.
function Kernel:take_caught()
  self:stream("stdout", self.socket_module.caught())
end

function Kernel:show(data, transient)
  self:flush()
  local content = { data = data, metadata = json.object(), transient = transient or json.object() }
  self:publish("display_data", content)
end

-- ---- standard input and output of the session ----
--- A line that the person at the notebook types.
function Kernel:input(prompt, password)
  local request = self.executing
  if not request or not request.content.allow_stdin then error("this notebook's front end cannot be asked for input", 2) end
  self:flush()
  self.sockets:send("stdin", protocol.write(self.key, self.session, request.idents, "input_request",
    { prompt = prompt or "", password = password or false }, request))
  while true do
    local channel, frames = self.sockets:receive({ "stdin" }, 200)
    local m = channel and protocol.read(self.key, frames)
    if m and m.header.msg_type == "input_reply" then return tostring(m.content.value or "") end
  end
end

function Kernel:install_output()
  local kernel = self
  local function write_to(name)
    return function(...)
      local parts = table.pack(...)
      for i = 1, parts.n do
        if type(parts[i]) ~= "string" and type(parts[i]) ~= "number" then
          error(string.format("bad argument #%d to 'write' (string expected, got %s)", i, type(parts[i])), 3)
        end
        kernel:stream(name, tostring(parts[i]))
      end
    end
  end
  local out, err = write_to "stdout", write_to "stderr"
  local methods = debug.getmetatable(io.stdout).__index
  local file_write, file_read = methods.write, methods.read
  local stdout, stderr, stdin = io.stdout, io.stderr, io.stdin
  function methods.write(f, ...)
    if f == stdout then out(...) return f end
    if f == stderr then err(...) return f end
    return file_write(f, ...)
  end
  local function read_line(format)
    if format ~= nil and not tostring(format):find("^%*?[lLn]") then error("only lines and numbers can be read in a notebook", 3) end
    local line = kernel:input("")
    format = tostring(format or "l"):gsub("^%*", "")
    return format:find("^n") and tonumber(line) or format:find("^L") and line .. "\n" or line
  end
  function methods.read(f, format, ...)
    if f == stdin then return read_line(format) end
    return file_read(f, format, ...)
  end
  local io_write, io_read = io.write, io.read
  function io.write(...)
    if io.output() ~= stdout then return io_write(...) end
    out(...)
    return stdout
  end
  function io.read(...)
    if io.input() ~= stdin then return io_read(...) end
    return read_line((...))
  end
  function _G.print(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    kernel:stream("stdout", table.concat(parts, "\t", 1, parts.n) .. "\n")
  end
  function _G.input(prompt) return kernel:input(prompt) end
  _G.display = display
  display.publish = function(data) kernel:show(data) end
  require("plot").display = function(figure) kernel:show(display.figure(figure)) end
end

-- ---- running cells ----
local function colored(fn)
  style.on = true
  local ok, text = pcall(fn)
  style.on = false
  return ok and text or tostring(text)
end

--- Runs a cell's text; nil, or the content of its error.
function Kernel:run(code, silent)
  local session, errors = require "repl.session", require "repl.errors"
  local failure
  local held                               -- the last result waits: it is the cell's
  local function release()
    if held then self:show(held) end
    held = nil
  end
  session.sink = {
    results = function(results, quiet)
      release()
      if quiet or silent then return end
      for i = 1, results.n do
        release()
        if results[i] ~= nil or results.n > 1 then held = display.data(results[i]) end
      end
    end,
    failed = function(report, interrupted)
      release()
      local message, lines
      if interrupted then message, lines = "interrupted", style.paint("error", "interrupted")
      elseif type(report) == "table" then
        message = tostring(report.message or report.err)
        lines = colored(function() return errors.format(report) end)
      else message, lines = tostring(report), tostring(report) end
      local traceback = {}
      for line in (display.text(lines) .. "\n"):gmatch("(.-)\n") do traceback[#traceback + 1] = line end
      failure = { ename = interrupted and "Interrupted" or "Error", evalue = display.text(message), traceback = list(traceback) }
    end,
  }
  local ok, err = term.xpcall(function()
    local special = require("repl").special
    if not special(code) then session.run(code) end
  end, errors.handler(nil))
  if not ok then session.sink.failed(err, term.interrupted()) end
  term.settle()
  session.sink = nil
  self:take_caught()
  self:flush()
  return failure, held
end

local handlers = {}

function handlers.execute_request(self, request, channel)
  local c = request.content
  local silent = c.silent == true
  if not silent and c.store_history ~= false then
    self.count = self.count + 1
    self.history[#self.history + 1] = c.code
  end
  self.executing = request
  if not silent then self:publish("execute_input", { code = c.code, execution_count = self.count }) end
  term.settle()
  self.sockets:busy(true)
  local failure, result = self:run(tostring(c.code), silent)
  self.sockets:busy(false)
  self.executing = nil
  if failure then
    if not silent then self:publish("error", failure) end
    failure.status, failure.execution_count = "error", self.count
    self:reply(channel, request, "execute_reply", failure)
    return
  end
  if result and not silent then
    self:publish("execute_result", { data = result, metadata = json.object(), execution_count = self.count })
  end
  local values = json.object()
  for name, expression in pairs(type(c.user_expressions) == "table" and c.user_expressions or {}) do
    local found, value = require("repl.session").evaluate(tostring(expression))
    values[name] = found and { status = "ok", data = display.data(value), metadata = json.object() } or
      { status = "error", ename = "Error", evalue = "no value", traceback = list {} }
  end
  self:reply(channel, request, "execute_reply", { status = "ok", execution_count = self.count, payload = list {}, user_expressions = values })
end

--- Byte position of a cursor that counts characters, and back.
local function to_byte(text, cursor)
  cursor = math.max(0, math.min(math.tointeger(cursor) or 0, utf8.len(text) or #text))
  return utf8.len(text) and utf8.offset(text, cursor + 1) or cursor + 1
end
local function to_cursor(text, byte) return utf8.len(text:sub(1, byte - 1)) or byte - 1 end

function handlers.complete_request(self, request, channel)
  local code = tostring(request.content.code)
  local at = to_byte(code, request.content.cursor_pos)
  local ok, from, found = pcall(require("repl.complete").candidates, code, at)
  if not ok or type(found) ~= "table" then from, found = at, {} end
  self:reply(channel, request, "complete_reply", { status = "ok", matches = list(found), cursor_start = to_cursor(code, from or at),
    cursor_end = to_cursor(code, at), metadata = json.object() })
end

--- The dotted name around a byte position.
local function name_at(code, at)
  local before, after = code:sub(1, at - 1):match("[%w_.:]*$"), code:sub(at):match("^[%w_]*")
  local name = before .. after
  if name == "" then name = code:sub(1, at - 1):match("([%w_.:]+)%s*%([^()]*$") or "" end
  return name
end

function handlers.inspect_request(self, request, channel)
  local code = tostring(request.content.code)
  local name = name_at(code, to_byte(code, request.content.cursor_pos))
  local ok, text, found
  if name ~= "" then ok, text, found = pcall(require("repl.help").of_text, name) end
  found = ok and found ~= false
  self:reply(channel, request, "inspect_reply", { status = "ok", found = found or false, metadata = json.object(),
    data = found and { ["text/plain"] = display.text(text) } or json.object() })
end

function handlers.is_complete_request(self, request, channel)
  local state = require("repl.units").check(tostring(request.content.code))
  local status = type(state) == "number" and "invalid" or state
  self:reply(channel, request, "is_complete_reply", { status = status, indent = status == "incomplete" and "  " or nil })
end

function handlers.history_request(self, request, channel)
  local c, out = request.content, {}
  local from = c.hist_access_type == "range" and math.max(1, c.start or 1) or 1
  local to = c.hist_access_type == "range" and math.min(#self.history, (c.stop or #self.history + 1) - 1) or #self.history
  if c.hist_access_type == "tail" then from = math.max(1, #self.history - (c.n or 10) + 1) end
  for i = from, to do
    local code = self.history[i]
    local pattern = type(c.pattern) == "string" and c.hist_access_type == "search" and "^" ..
      c.pattern:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".") .. "$"
    if not pattern or code:find(pattern) then out[#out + 1] = { 0, i, c.output and { code, json.null } or code } end
  end
  self:reply(channel, request, "history_reply", { status = "ok", history = list(out) })
end

function handlers.kernel_info_request(self, request, channel)
  self:reply(channel, request, "kernel_info_reply", { status = "ok", protocol_version = protocol.version, implementation = "moth",
    implementation_version = "0.1", banner = "Moth: PyTorch's API in Lua", help_links = list {},
    supported_features = list {}, debugger = false,
    language_info = { name = "lua", version = _VERSION:match("[%d.]+"), mimetype = "text/x-lua", file_extension = ".lua",
      pygments_lexer = "lua", codemirror_mode = "lua" } })
end
function handlers.connect_request(self, request, channel)
  local p = self.sockets:ports()
  self:reply(channel, request, "connect_reply", { shell_port = p.shell, iopub_port = p.iopub, stdin_port = p.stdin, hb_port = p.heartbeat,
    control_port = p.control })
end
function handlers.comm_info_request(self, request, channel)
  self:reply(channel, request, "comm_info_reply", { status = "ok", comms = json.object() })
end
function handlers.interrupt_request(self, request, channel)
  self:reply(channel, request, "interrupt_reply", { status = "ok" })
end
function handlers.shutdown_request(self, request, channel)
  self:reply(channel, request, "shutdown_reply", { status = "ok", restart = request.content.restart == true })
  self.done = true
end
for _, quiet in ipairs { "comm_open", "comm_msg", "comm_close", "input_reply" } do handlers[quiet] = function() end end

--- Handles one message; what is no message, or wrongly signed, is dropped.
function Kernel:handle(channel, frames)
  local request, why = protocol.read(self.key, frames)
  if not request then
    if self.log then self.log("dropped a message: " .. why) end
    return
  end
  local handler = handlers[request.header.msg_type]
  self.parent = request
  self:status("busy")
  if handler then
    local ok, err = pcall(handler, self, request, channel)
    if not ok then
      self.sockets:busy(false)
      local kind = request.header.msg_type:gsub("_request$", "_reply")
      self:reply(channel, request, kind, { status = "error", ename = "Error", evalue = display.text(tostring(err)), traceback = list {} })
    end
  end
  self:status("idle")
end

--- A kernel on open sockets; the caller gives the module of the sockets so that tests can stand in.
function server.new(sockets, key, socket_module)
  return setmetatable({ sockets = sockets, key = key, session = protocol.uuid(), count = 0, history = {}, pending = {}, pending_size = 0,
    flushed = 0, socket_module = socket_module }, Kernel)
end

--- Serves a connection file until shutdown.
function server.run(path)
  local sockets = require "kernel.sockets"
  local c = json.load(path)
  if c.signature_scheme and c.key ~= "" and c.signature_scheme ~= "hmac-sha256" then
    error("the connection file wants signatures by " .. c.signature_scheme .. "; only hmac-sha256 is known", 0)
  end
  local opened = sockets.open { transport = c.transport, ip = c.ip, key = c.key, shell = c.shell_port, control = c.control_port,
    stdin = c.stdin_port, iopub = c.iopub_port, heartbeat = c.hb_port }
  local kernel = server.new(opened, c.key or "", sockets)
  sockets.catch()
  style.on = false
  kernel:install_output()
  kernel:status("starting")
  while not kernel.done do
    local ok, channel, frames = term.xpcall(opened.receive, tostring, opened, { "shell", "control" })
    if ok and channel then kernel:handle(channel, frames)
    elseif not ok and not tostring(channel):find("interrupted", 1, true) then error(channel, 0) end
    term.settle()
  end
  opened:close()
  return 0
end

return server
