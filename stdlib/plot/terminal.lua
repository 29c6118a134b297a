-- terminal.lua: in which form a figure goes to standard output: kitty, iterm2, sixel, blocks, braille or ascii.
--
-- The caller's option comes first, then the variable MOTH_PLOT, then what the terminal says of itself in the environment
-- or answers when asked.  Into a pipe or file go letters without any escape code.
local term = require "moth.term"
local raster = require "plot.raster"

local terminal = {}
terminal.forms = { "kitty", "iterm2", "sixel", "blocks", "braille", "ascii" }

local known = {}
for _, name in ipairs(terminal.forms) do known[name] = true end
local aliases = { iterm = "iterm2", halfblock = "blocks", block = "blocks", dots = "braille", text = "braille" }

local function env(name)
  local v = os.getenv(name)
  return v ~= "" and v or nil
end

function terminal.check(form, from)
  form = aliases[form] or form
  if known[form] then return form end
  error(string.format("%s: unknown form %q (%s)", from, tostring(form), table.concat(terminal.forms, ", ")), 0)
end

local function is_utf8()
  local locale = env "LC_ALL" or env "LC_CTYPE" or env "LANG" or ""
  return locale:lower():find("utf%-?8") ~= nil
end

--- What the environment tells; nil when it does not.
local function by_environment()
  local program, name = env "TERM_PROGRAM" or "", env "TERM" or ""
  if env "TMUX" or name:find("^screen") or name:find("^tmux") then return nil end      -- graphics do not pass through
  if env "KITTY_WINDOW_ID" or name == "xterm-kitty" or program == "ghostty" or name == "xterm-ghostty" then return "kitty" end
  if program == "iTerm.app" or program == "WezTerm" or env "LC_TERMINAL" == "iTerm2" then return "iterm2" end
  if name == "foot" or name:find("^foot%-") or name == "mlterm" then return "sixel" end
end

local answer
--- What the terminal answers: does it know kitty's pictures, does it draw sixels (device attribute 4)?
local function by_question()
  if answer ~= nil then return answer or nil end
  local in_tmux = env "TMUX"
  local ask = (in_tmux and "" or "\27_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\27\\") .. "\27[c"
  local reply = raster.query(ask, "c", 300)
  local attributes = reply:match("\27%[%?([%d;]+)c") or ""
  answer = reply:find("\27_Gi=31;OK", 1, true) and "kitty" or (";" .. attributes .. ";"):find(";4;", 1, true) and "sixel" or false
  return answer or nil
end

--- The form for standard output, and may it have colours?
function terminal.detect(option)
  local tty = term.isatty(1)
  local colored = tty and not env "NO_COLOR" and env "TERM" ~= "dumb"
  if option then return terminal.check(option, "plot"), colored end
  if env "MOTH_PLOT" then return terminal.check(env "MOTH_PLOT", "MOTH_PLOT"), colored end
  local letters = is_utf8() and "braille" or "ascii"
  if not tty or env "TERM" == "dumb" or not env "TERM" then return letters, false end
  return by_environment() or (term.isatty(0) and by_question()) or letters, colored
end

function terminal.deep()
  local v = env "COLORTERM" or ""
  return v == "truecolor" or v == "24bit"
end

--- The picture of a canvas for a terminal that draws pictures.
function terminal.picture(canvas, form)
  if form == "sixel" then return canvas:sixel() .. "\n" end
  local data = raster.base64(canvas:png())
  if form == "iterm2" then
    return string.format("\27]1337;File=inline=1;size=%d;preserveAspectRatio=1:%s\7\n", #data * 3 // 4, data)
  end
  local out = {}
  for from = 1, #data, 4096 do
    local more = from + 4096 <= #data and 1 or 0
    out[#out + 1] = string.format("\27_G%sm=%d;%s\27\\", from == 1 and "a=T,f=100,q=2," or "", more, data:sub(from, from + 4095))
  end
  return table.concat(out) .. "\n"
end

return terminal
