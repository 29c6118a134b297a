# Moth's build.  The two commands a newcomer needs: `make repl` and `make test`; both install what is missing.
#   make            build/moth, build/libmoth.so and build/libmoth.a
#   make rock       build/moth.so: require "moth" for a plain lua5.4
#   make repl       set-up, build, start the prompt
#   make test       set-up, build, every test that needs no network and no Python
#   make check      warnings as errors, sanitizers, include directions, luacheck
#   make parity GOLDEN=DIR    replay recorded PyTorch cases
#   make bench      side by side with PyTorch (needs Python and torch)
#   make install PREFIX=/usr/local     make clean
# B is the build folder: `make B=build-asan SAN=1` keeps a sanitizer build beside the plain one.

B      ?= build
PREFIX ?= /usr/local
CC     ?= cc
LUA    ?= lua5.4
OPT    ?= -O2
CSTD    = -std=gnu11 -fPIC -fvisibility=default -g1
WARN    = -Wall -Wextra -Wshadow -Wmissing-prototypes -Wno-unused-parameter -Wno-missing-braces -Wno-type-limits
MATH    = -fopenmp-simd -fno-math-errno -fno-trapping-math -ffp-contract=off -fcx-limited-range
LUA_CFLAGS ?= -I/usr/include/lua5.4
LUA_LIB    ?= $(firstword $(wildcard /usr/lib/*/liblua5.4.a) -llua5.4)
CFLAGS += $(CSTD) $(OPT) $(WARN) $(MATH) $(if $(WERROR),-Werror) $(SANFLAGS) $(DEFS) -Itensor -Iautograd -Inn -I$(B)/gen
SANFLAGS = $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DMT_SAN) \
  $(if $(TSAN),-fsanitize=thread -fno-omit-frame-pointer)
comma = ,
LDLIBS = -lm -ldl -lpthread
VM_LIBS = -lffi

# Kernel files are built once per CPU level; tensor/cpu.c picks the table at load time.
KERN_SRC := $(wildcard tensor/kern_*.c)
ARCH := $(shell uname -m)
ifeq ($(ARCH),x86_64)
LEVELS = base avx2 avx512
else
LEVELS = base
endif
FLAGS_base   =
FLAGS_avx2   = -mavx2 -mfma -mf16c -mbmi2
FLAGS_avx512 = $(FLAGS_avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512
KERN_OBJ := $(foreach l,$(LEVELS),$(KERN_SRC:%.c=$(B)/%.$(l).o))

TENSOR_SRC := $(filter-out $(KERN_SRC),$(wildcard tensor/*.c))
LIB_SRC := $(TENSOR_SRC) $(wildcard autograd/*.c) $(wildcard nn/*.c)
VM_SRC  := $(wildcard vm/*.c) $(wildcard stdlib/*/*.c)
DEFFILES := $(wildcard tensor/ops_*.def autograd/derivs_*.def nn/ops_*.def)
GEN_C   := $(B)/gen/ops_table.c $(B)/gen/ops_exprs.c $(B)/gen/derivs.c
GEN_H   := $(B)/gen/ops_gen.h
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o) $(KERN_OBJ) $(GEN_C:%.c=%.o)
VM_OBJ  := $(VM_SRC:%.c=$(B)/%.o) $(B)/gen/stdlib_embed.o
LUA_SRC := $(shell find stdlib -name '*.lua' -o -name '*.txt' -o -name '*.z' 2>/dev/null | sort)

all: $(B)/moth $(B)/libmoth.so $(B)/libmoth.a

$(B)/moth: $(VM_OBJ) $(B)/libmoth.a
	$(CC) $(SANFLAGS) -rdynamic -o $@ $(VM_OBJ) -Wl,--whole-archive $(B)/libmoth.a $(LUA_LIB) -Wl,--no-whole-archive $(VM_LIBS) $(LDLIBS)
$(B)/libmoth.a: $(LIB_OBJ)
	@rm -f $@; ar rcs $@ $(LIB_OBJ)
$(B)/libmoth.so: $(LIB_OBJ)
	$(CC) -shared $(SANFLAGS) -o $@ $(LIB_OBJ) $(LDLIBS)

# moth as a C module of a plain lua5.4 (`require "moth"`; vm/rock.c, scripts/moth-scm-1.rockspec).  Lua's symbols are the
# host's.  It is never unloaded: its threads outlive the state that loaded it.
rock: $(B)/moth.so
$(B)/moth.so: $(filter-out $(B)/vm/main.o $(B)/vm/repl.o,$(VM_OBJ)) $(LIB_OBJ)
	$(CC) -shared $(SANFLAGS) -Wl,-Bsymbolic -Wl,-z,nodelete -o $@ $^ $(VM_LIBS) $(LDLIBS)
.PHONY: rock

$(B)/gen/.stamp: $(wildcard tensor/opgen*.lua) $(DEFFILES)
	@mkdir -p $(B)/gen
	$(LUA) tensor/opgen.lua $(B)/gen $(DEFFILES)
	@touch $@
$(GEN_C) $(GEN_H): $(B)/gen/.stamp ;
$(B)/gen/stdlib_embed.c: vm/embed.lua $(LUA_SRC)
	@mkdir -p $(B)/gen
	$(LUA) vm/embed.lua $@ $(LUA_SRC)

$(B)/vm/%.o: CFLAGS += $(LUA_CFLAGS) -Ivm -Istdlib
$(B)/stdlib/%.o: CFLAGS += -Istdlib
$(B)/gen/%.o: $(B)/gen/%.c | $(B)/gen/.stamp
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<
KERN_OPT = -O3 -falign-loops=64
LEAN = -O2 -ftree-vectorize -fvect-cost-model=dynamic
# Loops begin at a line: a scalar one that straddles two takes half as long again.  Lean: processors without AVX2 are few;
# kern_small unrolls by hand, and -O3 would take ten seconds more for each level.
ifeq ($(ARCH),x86_64)
$(B)/tensor/%.base.o: KERN_OPT = $(LEAN)
endif
$(foreach l,$(LEVELS),$(B)/tensor/kern_small.$(l).o): KERN_OPT = $(LEAN)
define kern_rule
$(B)/tensor/%.$(1).o: tensor/%.c | $(B)/gen/.stamp
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) $$(KERN_OPT) $(FLAGS_$(1)) -DKLEVEL=$(1) -MMD -MP -c -o $$@ $$<
endef
$(foreach l,$(LEVELS),$(eval $(call kern_rule,$(l))))
$(B)/%.o: %.c | $(B)/gen/.stamp
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

clean:
	rm -rf build build-*

# The program, the engine as a C library, and its headers (include <moth/moth.h>; nn.h for autograd and modules).
D = $(DESTDIR)$(PREFIX)
HEADERS = tensor/moth.h tensor/base.h tensor/dtype.def tensor/op.h autograd/autograd.h nn/nn.h $(B)/gen/ops_gen.h
install: all
	install -d $(D)/bin $(D)/lib $(D)/include/moth
	install -m 755 $(B)/moth $(D)/bin/moth
	install -m 755 $(B)/libmoth.so $(D)/lib/libmoth.so
	install -m 644 $(B)/libmoth.a $(D)/lib/libmoth.a
	install -m 644 $(HEADERS) $(D)/include/moth
.PHONY: install

-include $(shell find $(B) -name '*.d' 2>/dev/null)
.PHONY: all clean
.SECONDARY:

include tests/rules.mk
