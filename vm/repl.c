/* repl.c: the prompt as lua has it, for `-i` on pipes: prompts from _PROMPT and _PROMPT2, what is
 * read stands after its prompt (as under readline, so the output is a transcript), values by
 * print. */
#include "host.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Writes the prompt; the value stays on the stack while its text is used. */
static void write_prompt(lua_State *L, bool first) {
  if (lua_getglobal(L, first ? "_PROMPT" : "_PROMPT2") == LUA_TNIL)
    fputs(first ? "> " : ">> ", stdout);
  else {
    fputs(luaL_tolstring(L, -1, NULL), stdout);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  fflush(stdout);
}

/* Pushes the next line of standard input without its newline; false at the end. */
static bool push_line(lua_State *L, bool first) {
  write_prompt(L, first);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  int c, n = 0;
  while ((c = getc(stdin)) != EOF && c != '\n') {
    luaL_addchar(&b, c);
    n++;
  }
  luaL_pushresult(&b);
  if (c == EOF && n == 0) return lua_pop(L, 1), false;
  size_t len;
  const char *s = lua_tolstring(L, -1, &len);
  if (!isatty(STDIN_FILENO)) {
    fwrite(s, 1, len, stdout);
    putchar('\n');
  }
  if (first && s[0] == '=') {              /* 5.2's "=expr" */
    lua_pushfstring(L, "return %s", s + 1);
    lua_remove(L, -2);
  }
  return true;
}

static bool incomplete(lua_State *L, int status) {
  if (status != LUA_ERRSYNTAX) return false;
  size_t n;
  const char *msg = lua_tolstring(L, -1, &n);
  return n >= 5 && strcmp(msg + n - 5, "<eof>") == 0;
}

static int load_text(lua_State *L, int at) {
  size_t n;
  const char *s = lua_tolstring(L, at, &n);
  return luaL_loadbufferx(L, s, n, "=stdin", vm_load_mode(L, NULL));
}

/* Leaves only the loaded chunk or the message on the stack; -1 at the end of input. */
static int load_input(lua_State *L) {
  lua_settop(L, 0);
  if (!push_line(L, true)) return -1;
  lua_pushfstring(L, "return %s", lua_tostring(L, 1));
  int status = load_text(L, 2);
  if (status != LUA_OK) {
    lua_settop(L, 1);
    while (incomplete(L, status = load_text(L, 1))) {
      lua_pop(L, 1);
      if (!push_line(L, false)) return load_text(L, 1);
      lua_pushliteral(L, "\n");
      lua_insert(L, -2);
      lua_concat(L, 3);
    }
  }
  lua_replace(L, 1);
  lua_settop(L, 1);
  return status;
}

static void print_results(lua_State *L) {
  int n = lua_gettop(L);
  if (n == 0) return;
  luaL_checkstack(L, LUA_MINSTACK, "too many results to print");
  lua_getglobal(L, "print");
  lua_insert(L, 1);
  if (lua_pcall(L, n, 0, 0) != LUA_OK) {
    fprintf(stderr, "error calling 'print' (%s)\n", lua_tostring(L, -1));
    fflush(stderr);
  }
}

int vm_plain_repl(lua_State *L) {
  int status;
  while ((status = load_input(L)) != -1) {
    vm_int_settle(L);
    if (status == LUA_OK) status = vm_docall(L, 0, LUA_MULTRET);
    if (status == LUA_OK) print_results(L);
    else vm_report(L, status);
  }
  lua_settop(L, 0);
  putchar('\n');
  fflush(stdout);
  return 0;
}

