local _ENV = require "convert.dsl"
