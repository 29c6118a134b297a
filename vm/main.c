/* main.c: the command line.  A superset of lua's: options, arg, LUA_INIT, shebang, standard
 * input, exit status; plus subcommands (a Lua module's main), --sandbox and --bytecode.
 *
 * Exit status: 0, 1 for a script's error (also of one read from standard input), 2 for wrong
 * usage of a subcommand. */
#include "host.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef MOTH_VERSION
#define MOTH_VERSION "0.1"
#endif
#define LUA_INIT_NAME "LUA_INIT"

/* ---- pieces of a run ---- */
static int run_loaded(lua_State *L, int status) {
  if (status == LUA_OK) status = vm_docall(L, 0, 0);
  return vm_report(L, status);
}
static int run_file(lua_State *L, const char *name) {
  return run_loaded(L, luaL_loadfilex(L, name, vm_load_mode(L, NULL)));
}
static int run_string(lua_State *L, const char *s, const char *name) {
  return run_loaded(L, luaL_loadbufferx(L, s, strlen(s), name, vm_load_mode(L, NULL)));
}

/* -l MODULE or -l NAME=MODULE: requires it and puts it into a global. */
static int run_library(lua_State *L, const char *spec) {
  const char *module = strchr(spec, '=');
  const char *global =
      module ? lua_pushlstring(L, spec, (size_t)(module - spec)) : lua_pushstring(L, spec);
  module = module ? module + 1 : spec;
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  int status = vm_docall(L, 1, 1);
  if (status == LUA_OK) {
    lua_setglobal(L, global);
    lua_pop(L, 1);
    return LUA_OK;
  }
  lua_remove(L, -2);
  return vm_report(L, status);
}

static int run_init(lua_State *L) {
  static const char *const names[] = {
      "MOTH_INIT", LUA_INIT_NAME "_" LUA_VERSION_MAJOR "_" LUA_VERSION_MINOR, LUA_INIT_NAME};
  const char *init = NULL;
  int status = LUA_OK;
  if ((init = getenv(names[0])) != NULL && *init)
    status = *init == '@' ? run_file(L, init + 1) : run_string(L, init, "=MOTH_INIT");
  if (status != LUA_OK) return status;
  for (int i = 1; i < 3; i++)
    if ((init = getenv(names[i])) != NULL) {
      if (*init == '@') return run_file(L, init + 1);
      return run_string(L, init, i == 1 ? "=LUA_INIT_5_4" : "=LUA_INIT");
    }
  return LUA_OK;
}

/* arg: script at 0, its arguments from 1, what stands before it at negative indices */
static void set_arg(lua_State *L, char **argv, int argc, int script) {
  if (script == argc) script = 0;          /* no script: the program itself is number 0 */
  lua_createtable(L, argc - script, script + 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - script);
  }
  lua_setglobal(L, "arg");
}

static int push_args(lua_State *L) {
  if (lua_getglobal(L, "arg") != LUA_TTABLE) luaL_error(L, "'arg' is not a table");
  int n = (int)luaL_len(L, -1);
  luaL_checkstack(L, n + 3, "too many arguments to script");
  int t = lua_gettop(L);
  for (int i = 1; i <= n; i++) lua_rawgeti(L, t, i);
  lua_remove(L, t);
  return n;
}

static int run_script(lua_State *L, const char *name) {
  int status = luaL_loadfilex(L, name, vm_load_mode(L, NULL));
  if (status == LUA_OK) status = vm_docall(L, push_args(L), LUA_MULTRET);
  return vm_report(L, status);
}

/* ---- options ---- */
typedef struct {
  int argc, script;                        /* script: index of its name, argc when there is none */
  char **argv;
  bool interactive, version, ignore_env, has_e, sandbox, bytecode, usage;
  const char *bad;
} Options;

/* An option of lua's; false when it is none. */
static bool short_option(Options *o, int *i) {
  const char *s = o->argv[*i];
  switch (s[1]) {
    case 'E': o->ignore_env = true; return s[2] == 0;
    case 'W': return s[2] == 0;
    case 'i': o->interactive = o->version = true; return s[2] == 0;
    case 'v': o->version = true; return s[2] == 0;
    case 'e': o->has_e = true; /* fall through */
    case 'l':
      if (s[2]) return true;
      ++*i;
      return o->argv[*i] && o->argv[*i][0] != '-';
    default: return false;
  }
}

static bool long_option(Options *o, const char *s) {
  if (strcmp(s, "--sandbox") == 0) return o->sandbox = true;
  if (strcmp(s, "--bytecode") == 0) return o->bytecode = true;
  if (strcmp(s, "--version") == 0) return o->version = o->has_e = true;
  if (strcmp(s, "--help") == 0) return o->usage = true;
  return false;
}

static void parse_options(Options *o) {
  int i = 1;
  for (; i < o->argc && o->argv[i][0] == '-' && o->argv[i][1]; i++) {
    const char *s = o->argv[i];
    if (strcmp(s, "--") == 0) { i++; break; }
    int at = i;
    if (s[1] == '-' ? !long_option(o, s) : !short_option(o, &i)) {
      o->bad = o->argv[at];
      o->script = at;
      return;
    }
  }
  o->script = i;
}

static void usage(FILE *f, const char *bad) {
  if (bad && (bad[1] == 'e' || bad[1] == 'l'))
    fprintf(f, "%s: '%s' needs argument\n", vm_progname, bad);
  else if (bad) fprintf(f, "%s: unrecognized option '%s'\n", vm_progname, bad);
  fprintf(f,
          "usage: %s [options] [script [args]]   or   %s COMMAND ...\n"
          "options:\n"
          "  -e stat     execute string 'stat'\n"
          "  -i          enter the prompt after executing 'script'\n"
          "  -l mod      require library 'mod' into global 'mod'\n"
          "  -l g=mod    require library 'mod' into global 'g'\n"
          "  -v          show version information\n"
          "  -E          ignore environment variables\n"
          "  -W          turn warnings on\n"
          "  --sandbox   no files, programs or C modules for the script\n"
          "  --bytecode  allow precompiled chunks\n"
          "  --          stop handling options\n"
          "  -           stop handling options and execute stdin\n"
          "commands: help NAME, check FILE, convert, detect, hf, bench, kernel\n",
          vm_progname, vm_progname);
}

static void print_version(void) {
  printf("Moth " MOTH_VERSION ", " LUA_RELEASE ", " "PyTorch's API in Lua\n");
  fflush(stdout);
}

/* -e, -l and -W, in order; false after an error */
static bool run_options(lua_State *L, Options *o) {
  for (int i = 1; i < o->script; i++) {
    const char *s = o->argv[i];
    if (s[0] != '-') continue;
    if (s[1] == 'W') lua_warning(L, "@on", 0);
    if (s[1] != 'e' && s[1] != 'l') continue;
    const char *extra = s[2] ? s + 2 : o->argv[++i];
    int status = s[1] == 'e' ? run_string(L, extra, "=(command line)") : run_library(L, extra);
    if (status != LUA_OK) return false;
  }
  return true;
}

/* ---- subcommands ---- */
static const char *const commands[][2] = {{"help", "repl.help"},      {"check", "moth.check"},
                                          {"convert", "convert.cli"}, {"detect", "convert.cli"},
                                          {"hf", "hf.cli"},           {"bench", "bench.cli"},
                                          {"kernel", "kernel.cli"}};

static const char *command_module(const Options *o) {
  if (o->script >= o->argc || o->has_e || o->interactive || o->sandbox) return NULL;
  if (o->script > 1 && strcmp(o->argv[o->script - 1], "--") == 0) return NULL;
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
    if (strcmp(o->argv[o->script], commands[i][0]) == 0) return commands[i][1];
  return NULL;
}

/* require(module).main(arg): nil and true are success, false failure, an integer the exit status */
static int run_command(lua_State *L, const char *module) {
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  int status = vm_docall(L, 1, 1);
  if (status != LUA_OK) return vm_report(L, status), 1;
  lua_getfield(L, -1, "main");
  lua_getglobal(L, "arg");
  status = vm_docall(L, 1, 1);
  if (status != LUA_OK) return vm_report(L, status), 1;
  if (lua_isinteger(L, -1)) return (int)lua_tointeger(L, -1);
  return lua_isnil(L, -1) || lua_toboolean(L, -1) ? 0 : 1;
}

/* ---- the prompt ---- */
static int run_repl(lua_State *L) {
  vm_progname = NULL;                      /* errors at the prompt do not name the program */
  if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) return vm_plain_repl(L);
  lua_getglobal(L, "require");
  lua_pushstring(L, "repl");
  int status = vm_docall(L, 1, 1);
  if (status == LUA_OK) {
    lua_getfield(L, -1, "main");
    vm_int_interactive(true);
    status = vm_docall(L, 0, 1);
    vm_int_interactive(false);
    if (status == LUA_OK) return lua_isinteger(L, -1) ? (int)lua_tointeger(L, -1) : 0;
  }
  vm_report(L, status);
  return vm_plain_repl(L);                 /* a broken prompt still leaves a prompt */
}

/* The last expression of a script read from standard input is not echoed; its error counts. */
static int run_rest(lua_State *L, Options *o) {
  const char *module = command_module(o);
  if (module) return run_command(L, module);
  if (o->script < o->argc) {
    const char *name = o->argv[o->script];
    bool from_stdin = strcmp(name, "-") == 0 && strcmp(o->argv[o->script - 1], "--") != 0;
    if (run_script(L, from_stdin ? NULL : name) != LUA_OK) return 1;
    return o->interactive ? run_repl(L) : 0;
  }
  if (o->interactive) return run_repl(L);
  if (o->has_e || o->version) return 0;
  if (isatty(STDIN_FILENO)) return run_repl(L);
  return run_script(L, NULL) == LUA_OK ? 0 : 1;
}

static int protected_main(lua_State *L) {
  Options *o = lua_touserdata(L, 1);
  luaL_checkversion(L);
  if (o->version && (!o->interactive || !isatty(STDIN_FILENO))) print_version();
  if (o->ignore_env) {
    lua_pushboolean(L, 1);                 /* the libraries look here for "no environment" */
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  }
  vm_openlibs(L);
  vm_open_base(L, o->bytecode && !o->sandbox);
  vm_open_strings(L);
  vm_open_tables(L);
  vm_open_embedded(L);
  set_arg(L, o->argv, o->argc, o->script);
  vm_int_install(L);
  if (o->sandbox) vm_enter_sandbox(L);
  int rc = 1;
  if ((o->ignore_env || run_init(L) == LUA_OK) && run_options(L, o)) rc = run_rest(L, o);
  lua_pushinteger(L, rc);
  return 1;
}

int main(int argc, char **argv) {
  Options o = {.argc = argc, .argv = argv};
  if (argc > 0 && argv[0] && argv[0][0]) vm_progname = argv[0];
  parse_options(&o);
  if (o.bad) return usage(stderr, o.bad), EXIT_FAILURE;
  if (o.usage) return usage(stdout, NULL), EXIT_SUCCESS;
  lua_State *L = vm_new_state();
  if (!L) {
    fprintf(stderr, "%s: cannot create state: not enough memory\n", vm_progname);
    return EXIT_FAILURE;
  }
  lua_pushcfunction(L, protected_main);
  lua_pushlightuserdata(L, &o);
  int status = lua_pcall(L, 1, 1, 0);
  int rc = status == LUA_OK ? (int)lua_tointeger(L, -1) : EXIT_FAILURE;
  vm_report(L, status);
  lua_close(L);
  return rc;
}
