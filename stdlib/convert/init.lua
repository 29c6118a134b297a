-- convert: PyTorch sources to MindSpore by rules. require "convert".text(source) -> result, facts.
local engine = require "convert.engine"

local convert = {}

--- Converts a Python text; opts: profile, style, ms_version, rules (files), package. Returns the text and the file's
-- facts,
--- or nil and {line, col, message} when the source does not parse.
function convert.text(source, opts) return engine.convert(source, opts) end

--- Converts a tree; the options are those of the command line. Returns the records of the files.
function convert.tree(opts) return require("convert.workflow").convert(opts) end

--- The tree of a Python text, or nil and the error.
function convert.parse(source) return require("convert.python.parser").parse(source) end

--- All rules, with those of the given files.
function convert.rules(files) return engine.rules(files) end

return convert
