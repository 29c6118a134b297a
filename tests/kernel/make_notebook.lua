-- make_notebook.lua: writes tests/kernel/tour.ipynb from these cells: moth tests/kernel/make_notebook.lua OUT
local json = require "json"
local cells = {
  { "markdown", "# Moth in a notebook\nTensors, gradients and pictures." },
  { "code", "torch.manual_seed(0)\nlocal x = torch.randn(4, 3)\nx" },
  { "code", "local w = torch.ones(3, {requires_grad = true})\nlocal loss = (x:matmul(w) ^ 2):sum()\nloss:backward()\nw.grad" },
  { "code", 'local plot = require "plot"\nlocal t = torch.linspace(0, 6, 100)\nplot.line(t, t:sin(), {title = "sine"})' },
  { "code", 'display.html("<b>" .. tostring(loss:item()) .. "</b>")' },
  { "code", "for i = 1, 3 do print(i, i * i) end" },
}
local list = {}
for i, c in ipairs(cells) do
  local cell = json.object()
  cell.cell_type, cell.id, cell.metadata, cell.source = c[1], "cell-" .. i, json.object(), c[2]
  if c[1] == "code" then cell.execution_count, cell.outputs = json.null, json.decode "[]" end
  list[i] = cell
end
local nb = json.object()
nb.cells, nb.nbformat, nb.nbformat_minor = list, 4, 5
nb.metadata = { kernelspec = { name = "moth", display_name = "Moth", language = "lua" }, language_info = { name = "lua" } }
local f <close> = assert(io.open(arg[1], "w"))
f:write(json.encode(nb), "\n")
