/* term.c: the module "moth.term": the editor of stdlib/term and a few facts of the terminal, for
 * the prompt in Lua.
 *
 * The editor calls back into Lua through hooks; each runs protected, and an error in one means
 * "nothing to say". */
#include "host.h"
#include "cpu.h"
#include "term/term.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
  lua_State *L;
  TermEd *ed;
  TermHist *hist;
  int check, complete, hint;               /* references to the hooks */
} T = {.check = LUA_NOREF, .complete = LUA_NOREF, .hint = LUA_NOREF};

/* Calls hook with the text and cursor (1-based position of the next character); leaves nres
 * values. */
static bool call_hook(int ref, const char *s, size_t n, size_t cursor, int nres) {
  lua_State *L = T.L;
  if (ref == LUA_NOREF || !lua_checkstack(L, 10)) return false;
  lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
  lua_pushlstring(L, s, n);
  lua_pushinteger(L, (lua_Integer)cursor + 1);
  if (lua_pcall(L, 2, nres, 0) == LUA_OK) return true;
  if (getenv("MOTH_DEBUG_HOOKS")) fprintf(stderr, "hook: %s\r\n", lua_tostring(L, -1));
  lua_pop(L, 1);
  return false;
}

/* The hook returns "incomplete", "complete", or first and last position of what is wrong. */
static TermVerdict check(void *ud, const char *s, size_t n, size_t *from, size_t *to) {
  (void)ud;
  TermVerdict v = TERM_COMPLETE;
  if (!call_hook(T.check, s, n, n, 2)) return v;
  if (lua_isinteger(T.L, -2)) {
    lua_Integer a = lua_tointeger(T.L, -2), b = lua_tointeger(T.L, -1);
    v = TERM_WRONG;
    if (a >= 1 && b >= a && (size_t)b <= n) *from = (size_t)a - 1, *to = (size_t)b;
  } else if (lua_isstring(T.L, -2) && strcmp(lua_tostring(T.L, -2), "incomplete") == 0)
    v = TERM_INCOMPLETE;
  lua_pop(T.L, 2);
  return v;
}

/* The hook returns the position where candidates begin, a list of them, and notes by candidate. */
static void complete(void *ud, const char *s, size_t n, size_t cursor, TermCompletion *out) {
  (void)ud;
  lua_State *L = T.L;
  if (!call_hook(T.complete, s, n, cursor, 3)) return;
  if (lua_isinteger(L, -3) && lua_istable(L, -2)) {
    lua_Integer from = lua_tointeger(L, -3);
    out->from = from >= 1 && (size_t)from <= cursor + 1 ? (size_t)from - 1 : cursor;
    for (lua_Integer i = 1; lua_rawgeti(L, -2, i) == LUA_TSTRING; i++) {
      size_t len;
      const char *text = lua_tolstring(L, -1, &len), *note = NULL;
      if (lua_istable(L, -2)) {            /* notes */
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        note = lua_tostring(L, -1);
        term_candidate(out, text, len, note);
        lua_pop(L, 1);
      } else term_candidate(out, text, len, NULL);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 3);
}

static void hint(void *ud, const char *s, size_t n, size_t cursor, TermBuf *out) {
  (void)ud;
  size_t len;
  if (!call_hook(T.hint, s, n, cursor, 1)) return;
  const char *text = lua_tolstring(T.L, -1, &len);
  if (text) term_buf_add(out, text, len);
  lua_pop(T.L, 1);
}

static void set_hook(lua_State *L, const char *name, int *ref) {
  luaL_unref(L, LUA_REGISTRYINDEX, *ref);
  *ref = lua_getfield(L, 1, name) == LUA_TFUNCTION ? luaL_ref(L, LUA_REGISTRYINDEX)
                                                   : (lua_pop(L, 1), LUA_NOREF);
}

/* setup{check=, complete=, hint=, history=path, color=} */
static int l_setup(lua_State *L) {
  static const TermHooks hooks = {NULL, check, complete, hint};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_getfield(L, 1, "history");
  if (!T.hist) T.hist = term_hist_open(lua_tostring(L, -1));
  if (!T.ed) T.ed = term_new(&hooks, T.hist);
  if (!T.ed) return luaL_error(L, "not enough memory");
  lua_getfield(L, 1, "color");
  term_set_color(T.ed, lua_toboolean(L, -1));
  set_hook(L, "check", &T.check);
  set_hook(L, "complete", &T.complete);
  set_hook(L, "hint", &T.hint);
  return 0;
}

/* readline(prompt, prompt2, [initial]) -> "line" | "eof" | "cancel" | "edit" | "closed", text */
static int l_readline(lua_State *L) {
  static const char *const names[] = {"more", "line", "eof", "cancel", "suspend", "edit", "closed"};
  const char *prompt = luaL_checkstring(L, 1), *prompt2 = luaL_checkstring(L, 2);
  size_t n;
  const char *initial = luaL_optlstring(L, 3, NULL, &n);
  if (!T.ed) return luaL_error(L, "call setup first");
  T.L = L;
  if (!term_begin(T.ed, prompt, prompt2)) return luaL_error(L, "not enough memory");
  if (initial) term_set_text(T.ed, initial, n);
  TermEvent ev = term_tty_read(T.ed, STDIN_FILENO, STDOUT_FILENO);
  lua_pushstring(L, names[ev]);
  const char *s = term_text(T.ed, &n);
  lua_pushlstring(L, s, n);
  return 2;
}

/* history([n]) -> the last n entries, oldest first */
static int l_history(lua_State *L) {
  size_t count = term_hist_count(T.hist), n;
  lua_Integer want = luaL_optinteger(L, 1, (lua_Integer)count);
  size_t from = want >= 0 && (size_t)want < count ? count - (size_t)want : 0;
  lua_newtable(L);
  for (size_t i = from; i < count; i++) {
    const char *s = term_hist_get(T.hist, i, &n);
    lua_pushlstring(L, s, n);
    lua_rawseti(L, -2, (lua_Integer)(i - from) + 1);
  }
  return 1;
}

static int l_size(lua_State *L) {
  int rows = 24, cols = 80;
  term_tty_size(STDOUT_FILENO, &rows, &cols);
  lua_pushinteger(L, rows);
  lua_pushinteger(L, cols);
  return 2;
}

static int l_isatty(lua_State *L) {
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

/* clock() -> seconds that only go forward */
static int l_clock(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  lua_pushnumber(L, (lua_Number)t.tv_sec + 1e-9 * (lua_Number)t.tv_nsec);
  return 1;
}

static int l_width(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  lua_pushinteger(L, term_width(s, n));
  return 1;
}

/* styles(text) -> a string with one style number per byte ('0' + TERM_...) */
static int l_styles(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  luaL_Buffer b;
  char *p = luaL_buffinitsize(L, &b, n);
  term_lua_styles(s, n, (uint8_t *)p);
  for (size_t i = 0; i < n; i++) p[i] = (char)(p[i] + '0');
  luaL_pushresultsize(&b, n);
  return 1;
}

/* cpu() -> the level of the kernels in use, threads */
static int l_cpu(lua_State *L) {
  lua_pushstring(L, mt_cpu_name(mt_cpu_level()));
  lua_pushinteger(L, mt_num_threads());
  return 2;
}

/* settle() before each line: forget interrupts, a broken stdout */
static int l_settle(lua_State *L) {
  vm_int_settle(L);
  clearerr(stdout);
  clearerr(stdin);
  return 0;
}

static int l_interrupted(lua_State *L) {
  lua_pushboolean(L, vm_int_passing());
  return 1;
}

int vm_open_term(lua_State *L) {
  static const luaL_Reg fns[] = {{"setup", l_setup},
                                 {"readline", l_readline},
                                 {"history", l_history},
                                 {"size", l_size},
                                 {"isatty", l_isatty},
                                 {"clock", l_clock},
                                 {"cpu", l_cpu},
                                 {"width", l_width},
                                 {"styles", l_styles},
                                 {"settle", l_settle},
                                 {"interrupted", l_interrupted},
                                 {NULL, NULL}};
  luaL_newlib(L, fns);
  lua_getfield(L, LUA_REGISTRYINDEX, VM_CATCH_ALL);
  lua_setfield(L, -2, "xpcall");
  return 1;
}
