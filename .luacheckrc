std = "lua54"
max_line_length = 120
globals = {}
read_globals = { "torch", "nn", "F", "optim", "moth" }
exclude_files = { "build*" }
