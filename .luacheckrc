std = "lua54"
max_line_length = 120
unused_args = false
ignore = { "581" }   -- not (x <= y): meant, where y may be nan
globals = {}
read_globals = { "torch", "nn", "F", "optim", "moth" }
exclude_files = { "build*" }
