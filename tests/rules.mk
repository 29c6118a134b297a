# rules.mk: the targets that test and measure; included by the Makefile.

TEST_FLAGS = $(CSTD) -O1 -g $(WARN) $(if $(WERROR),-Werror) $(SANFLAGS) $(DEFS) -Itensor -Iautograd -Inn -Istdlib -I$(B)/gen
$(B)/tests/pty_editor_test $(B)/tests/pty_interrupt_test $(B)/tests/pty_session_test $(B)/tests/pty_figures: tests/c/pty.h
$(B)/tests/%: tests/c/%.c $(B)/libmoth.a
	@mkdir -p $(@D)
	$(CC) $(TEST_FLAGS) -o $@ $< -Wl,--whole-archive $(B)/libmoth.a -Wl,--no-whole-archive $(LDLIBS)

deps:
	@scripts/deps.sh build
repl: deps
	@$(MAKE) -s all
	@$(B)/moth
test: deps
	@$(MAKE) -s all
	@B=$(B) CC="$(CC)" tests/run.sh
smoke: all
	@B=$(B) tests/smoke.sh
check:
	@scripts/deps.sh check
	@tests/check.sh
check-quick:
	@scripts/deps.sh check
	@tests/check.sh quick
parity: all
	@$(LUA) tests/parity/run.lua $(GOLDEN) --moth $(B)/moth $(if $(OPS),--ops '$(OPS)') $(PARITY)
# Gradients of every differentiable row against finite differences, element by element: GOLDEN=DIR for more samples.
gradcheck: all
	@$(B)/moth tests/gradcheck/run.lua $(or $(GOLDEN),tests/golden) --per-op $(or $(PER_OP),4) --slow
.PHONY: gradcheck
# Autograd at its limits: a chain of 1,000,000 ops, 100,000 branches, 10,000 training steps in flat memory (a minute).
autograd-limits: all
	@LUA_PATH="tests/lua/?.lua;;" $(B)/moth tests/autograd_limits.lua
.PHONY: autograd-limits
# The compact part of a golden folder that `make test` replays.
golden-part:
	$(LUA) tests/parity/select.lua $(GOLDEN) tests/golden $(PER_OP)

# Records new cases into DIR (PYTHON has torch, with its torch.testing, and safetensors); replay them with `make parity GOLDEN=DIR`.
golden-record:
	$(PYTHON) tests/golden/record.py $(DIR) --part all --seed $(or $(SEED),1) $(ARGS)

# Side by side with PyTorch: PEER is a Python with torch; BENCH the folder of compare.py and worker_torch.py.
PYTHON ?= python3
BENCH  ?= ../shared/bench
ROUNDS ?= 5
SECONDS_EACH ?= 0.2
bench: all
	@$(PYTHON) $(BENCH)/compare.py --rounds $(ROUNDS) --seconds $(SECONDS_EACH) \
	  --peer "$(PYTHON) $(BENCH)/worker_torch.py --threads 2" \
	  --ours "$(B)/moth scripts/bench/worker.lua --threads 2" $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json $(JSON))

.PHONY: deps repl test smoke check check-quick parity golden-part golden-record bench

# Random calls of every op under the sanitizers: N calls (SEED=, SECONDS=, ONLY= pattern of names).
N ?= 1000000
fuzz:
	@$(MAKE) -s B=build-asan SAN=1 OPT=-O1 all
	@$(LUA) tests/fuzz/run.lua $(N) --moth build-asan/moth $(if $(SEED),--seed $(SEED)) \
	  $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ONLY),--only '$(ONLY)')

# The same for pooling, resampling and convolution, with arguments that mostly fit; the meta device must agree.
fuzz-spatial:
	@$(MAKE) -s B=build-asan SAN=1 OPT=-O1 all
	@ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=600:detect_leaks=0 \
	  build-asan/moth tests/fuzz/spatial.lua $(N) $(SEED)
.PHONY: fuzz-spatial

# Every memory request of scripted sessions fails, once and from there on.  STRIDE=k tries every k-th, LUA_STRIDE=k of Lua's own.
faults:
	@$(MAKE) -s B=build-faults SAN=1 OPT=-O1 DEFS=-DMT_FAULTS all
	@mkdir -p build-faults/tests
	$(CC) -shared -fPIC -g -Wall -Wextra $(LUA_CFLAGS) -o build-faults/tests/faults.so tests/faults/faults.c
	@ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 build-faults/moth tests/faults/sweep.lua $(or $(STRIDE),1) $(LUA_STRIDE)

# All tests under ThreadSanitizer with four threads (tests/tsan.sh).  T= limits the tests by name.
tsan:
	@$(MAKE) -s B=build-tsan TSAN=1 OPT=-O1 DEFS=-DMT_SAN all
	@CC="$(CC)" T=$(T) sh tests/tsan.sh
.PHONY: tsan

# All tests under valgrind's memcheck with two threads, every process of theirs (tests/valgrind.sh).  T= limits by name.
valgrind:
	@$(MAKE) -s B=build-valgrind DEFS=-DMT_SAN all
	@CC="$(CC)" T=$(T) sh tests/valgrind.sh
.PHONY: fuzz faults valgrind

# Mutated inputs for every parser of files under the sanitizers, and the lines reached (N inputs each, TARGET=, SEED=).
TARGET ?= all
fuzz-files:
	@CC="$(CC)" sh tests/fuzz/files.sh $(N) $(TARGET) $(or $(SEED),1)
# Saves that fail or are killed: KILLS random moments for each format.
KILLS ?= 1000
saves:
	@CC="$(CC)" B=$(B) sh tests/saves_test.sh $(KILLS)
.PHONY: fuzz-files saves
# The reference as a static site (build/docs/index.html) and definition files for editors (build/docs/library).
docs: all
	@$(B)/moth scripts/docs/main.lua $(B)/docs
# The prompt's times on a pseudo-terminal: start, key to echo, TAB to list, Ctrl-C from each kind of work.
prompt-figures: all $(B)/tests/pty_figures
	@B=$(B) $(B)/tests/pty_figures
.PHONY: prompt-figures
# Lua 5.4's own tests of the interpreter, from a copy that the user has: make lua-tests LUA_TESTS=DIR
lua-tests: all
	@$(B)/moth scripts/lua_tests.lua $(B)/moth $(LUA_TESTS)
.PHONY: docs lua-tests
# The notebook kernel under a real client; PYTHON needs jupyter_client and nbconvert.
kernel-test: all
	@$(PYTHON) tests/kernel/kernel_test.py $(B)/moth
# Tensors to PyTorch and NumPy and back in one process; PYTHON needs torch, numpy and a shared libpython.
dlpack-test: all
	@$(B)/moth tests/dlpack_python.lua "$$($(PYTHON) -c 'import sysconfig, os; v = sysconfig.get_config_var; print(os.path.join(v("LIBDIR"), v("INSTSONAME")))')" \
	  "$$($(PYTHON) -c 'import sys, torch; import os; print(os.path.dirname(os.path.dirname(torch.__file__)))')"
.PHONY: kernel-test dlpack-test

# Breaks C lines of more than 100 columns as .clang-format says; shorter ones are the author's.  Needs clang-format.
format:
	@for f in $$(find tensor autograd nn vm stdlib tests scripts -name "*.[ch]" -o -name "*.inc"); do \
	  lines=$$(awk 'length > 100 { printf "--lines=%d:%d ", FNR, FNR }' $$f); \
	  [ -z "$$lines" ] || clang-format -i $$lines $$f; done
.PHONY: format
