/* sys_proc.c: sys.spawn and sys.run.
 *
 *   local p = sys.spawn({"sort", "-r"}, {stdin = "pipe", stdout = "pipe", timeout = 5, memory =
 * 2^30}) p:write("b\na\n"); p:close_stdin(); p:read("a"); p:wait()    --> code, or nil, "signal",
 * number, or nil, "timed out" sys.run({"ls"}, {stdin = "text", timeout = 5}) --> {ok=, code=,
 * signal=, stdout=, stderr=, timed_out=, seconds=, ...}
 *
 * The process object is made before the process; closing or collecting it kills and reaps what
 * still runs. */
#define _GNU_SOURCE
#include "sys_lua.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define META "sys.process"

typedef struct proc {
  sys_proc p;
  double started, deadline;           /* deadline of the whole process; < 0: none */
  bool timed_out;
} proc;

static proc *check_proc(lua_State *L) {
  return luaL_checkudata(L, 1, META);
}

/* ---- options ---- */
static int channel_mode(lua_State *L, int opts, const char *name, int otherwise) {
  static const char *const names[] = {"inherit", "pipe", "null", "stdout", NULL};
  int mode = otherwise;
  if (!opts) return mode;
  if (lua_getfield(L, opts, name) == LUA_TSTRING) {
    for (mode = 0; names[mode] && strcmp(names[mode], lua_tostring(L, -1)); mode++) {}
    if (!names[mode] || (mode == SYS_TO_STDOUT && strcmp(name, "stderr")))
      luaL_error(L, "spawn: option '%s' is \"inherit\", \"pipe\" or \"null\", not \"%s\"", name,
                 lua_tostring(L, -1));
  } else if (!lua_isnil(L, -1)) {
    luaL_error(L, "spawn: option '%s' must be a string, got %s", name, luaL_typename(L, -1));
  }
  lua_pop(L, 1);
  return mode;
}

static double number_option(lua_State *L, int opts, const char *name) {
  double v = -1;
  if (!opts) return v;
  if (lua_getfield(L, opts, name) != LUA_TNIL) {
    int isnum;
    v = lua_tonumberx(L, -1, &isnum);
    if (!isnum || !(v >= 0)) luaL_error(L, "spawn: option '%s' must be a number >= 0", name);
  }
  lua_pop(L, 1);
  return v;
}

/* A NULL-terminated array of the list's strings; the userdata on the stack owns it, the list keeps
 * the strings alive. */
static const char **string_array(lua_State *L, int list, const char *what) {
  lua_Integer n = luaL_len(L, list);
  if (n < 0 || n > 1 << 20) luaL_error(L, "spawn: too many %s", what);
  const char **v = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *v, 0);
  for (lua_Integer i = 0; i < n; i++) {
    size_t len;
    if (lua_rawgeti(L, list, i + 1) ==
        LUA_TNUMBER) { /* the text of a number must live in the list, not on the stack */
      lua_tostring(L, -1);
      lua_pushvalue(L, -1);
      lua_rawseti(L, list, i + 1);
    }
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "spawn: %s %d is not a string", what, (int)i + 1);
    v[i] = lua_tolstring(L, -1, &len);
    if (strlen(v[i]) != len) luaL_error(L, "spawn: %s %d contains a zero byte", what, (int)i + 1);
    lua_pop(L, 1);
  }
  v[n] = NULL;
  return v;
}

static void copy_list(lua_State *L, int list) {
  lua_Integer n = luaL_len(L, list);
  lua_newtable(L);
  for (lua_Integer i = 1; i <= n; i++) lua_geti(L, list, i), lua_rawseti(L, -2, i);
}

/* Our environment with the table's changes (false removes a name), as a list of NAME=value on the
 * stack. */
static void push_environment(lua_State *L, int changes) {
  int n = 0;
  lua_newtable(L);
  int list = lua_gettop(L);
  for (char **v = environ; v && *v; v++) {
    const char *eq = strchr(*v, '=');
    if (!eq) continue;
    lua_pushlstring(L, *v, (size_t)(eq - *v));
    bool changed = lua_gettable(L, changes) != LUA_TNIL;
    lua_pop(L, 1);
    if (changed) continue;
    lua_pushstring(L, *v);
    lua_rawseti(L, list, ++n);
  }
  for (lua_pushnil(L); lua_next(L, changes); lua_pop(L, 1)) {
    if (lua_isboolean(L, -1) && !lua_toboolean(L, -1)) continue;
    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_error(L, "spawn: option 'env' must be a table of names and texts");
    lua_pushvalue(L, -2);
    lua_pushliteral(L, "=");
    luaL_tolstring(L, -3, NULL);
    lua_concat(L, 3);
    lua_rawseti(L, list, ++n);
  }
}

static proc *new_proc(lua_State *L) {
  proc *p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = (proc){.p = {.in = -1, .out = -1, .err = -1}, .deadline = -1};
  luaL_setmetatable(L, META);
  return p;
}

/* Starts argument 1 with the options in argument 2; leaves the process object on the top.  NULL:
 * refused, e filled. */
static proc *launch(lua_State *L, int in, int out, int err, sys_err *e) {
  sys_spawn_opts o = {.in = in, .out = out, .err = err};
  int opts = lua_istable(L, 2) ? 2 : 0;
  if (!opts && !lua_isnoneornil(L, 2)) luaL_typeerror(L, 2, "table");
  lua_settop(L, 2);
  if (lua_type(L, 1) == LUA_TSTRING) {                    /* a command line for the shell */
    lua_createtable(L, 3, 0);
    lua_pushliteral(L, "/bin/sh"), lua_rawseti(L, -2, 1);
    lua_pushliteral(L, "-c"), lua_rawseti(L, -2, 2);
    lua_pushvalue(L, 1), lua_rawseti(L, -2, 3);
  } else {
    luaL_checktype(L, 1, LUA_TTABLE);
    copy_list(L, 1);
  }
  luaL_argcheck(L, luaL_len(L, 3) > 0, 1, "the list of program and arguments is empty");
  o.argv = string_array(L, 3, "argument");
  if (opts && lua_getfield(L, opts, "env") != LUA_TNIL) {
    luaL_argexpected(L, lua_istable(L, -1), 2, "table as option 'env'");
    push_environment(L, lua_gettop(L));
    o.envp = string_array(L, lua_gettop(L), "variable");
  }
  if (opts && lua_getfield(L, opts, "cwd") != LUA_TNIL) o.cwd = luaL_checkstring(L, -1);
  double timeout = number_option(L, opts, "timeout"), memory = number_option(L, opts, "memory");
  double cpu = number_option(L, opts, "cpu");
  o.memory = memory > 0 && memory < 9e18 ? (uint64_t)memory : 0;
  o.cpu = cpu > 0 && cpu < 1e9 ? cpu : 0;
  o.in = channel_mode(L, opts, "stdin", in);
  o.out = channel_mode(L, opts, "stdout", out);
  o.err = channel_mode(L, opts, "stderr", err);
  /* A child that reads our terminal must stay in our process group, or the terminal stops it. */
  o.group = o.in != SYS_INHERIT;
  proc *p = new_proc(L);
  p->started = sys_clock();
  p->deadline = timeout >= 0 ? p->started + timeout : -1;
  return sys_spawn(&p->p, &o, e) ? p : NULL;
}

int sys_lua_spawn(lua_State *L) {
  sys_err e = {{0}, 0};
  return launch(L, SYS_INHERIT, SYS_INHERIT, SYS_INHERIT, &e) ? 1 : sys_lua_fail(L, &e);
}

/* _fork(f): runs f in a child that has a copy of this state, pipes as standard input and output,
 * and ends with f; the process object, as of spawn. */
int sys_lua_fork(lua_State *L) {
  sys_err e = {{0}, 0};
  bool is_child;
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  proc *p = new_proc(L);
  p->started = sys_clock();
  if (!sys_fork(&p->p, &is_child, &e)) return sys_lua_fail(L, &e);
  if (!is_child) return 1;
  lua_pushvalue(L, 1);
  int status = lua_pcall(L, 0, 0, 0);
  if (status != LUA_OK) fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
  fflush(NULL);
  _exit(status != LUA_OK);
}

/* ---- methods ---- */
/* Past its deadline the process is killed; what it wrote before can still be read. */
static void enforce(proc *p) {
  if (p->deadline < 0 || sys_clock() < p->deadline || !p->p.pid || p->p.done) return;
  if (sys_wait(&p->p, 0)) return;
  p->timed_out = true;
  sys_kill(&p->p, SIGKILL);
}

static int push_status(lua_State *L, proc *p) {
  if (p->timed_out || p->p.signal) {
    lua_pushnil(L);
    lua_pushstring(L, p->timed_out ? "timed out" : "signal");
    lua_pushinteger(L, p->p.signal);
    return 3;
  }
  lua_pushinteger(L, p->p.code);
  return 1;
}

static double sooner(double a, double b) { return a < 0 ? b : b < 0 ? a : a < b ? a : b; }

/* p:wait([seconds]): the status; nil, "running" when the seconds are over first. */
static int p_wait(lua_State *L) {
  proc *p = check_proc(L);
  double secs = luaL_optnumber(L, 2, -1), limit = secs >= 0 ? sys_clock() + secs : -1;
  if (!sys_wait(&p->p, sooner(limit, p->deadline))) {
    enforce(p);
    if (p->timed_out) sys_wait(&p->p, sys_clock() + 5);
  }
  if (p->p.done) return push_status(L, p);
  lua_pushnil(L);
  lua_pushstring(L, mt_interrupted ? "interrupted" : p->p.pid ? "running" : "closed");
  return 2;
}

static int p_poll(lua_State *L) {
  lua_settop(L, 1);
  lua_pushinteger(L, 0);
  return p_wait(L);
}

static int p_kill(lua_State *L) {
  proc *p = check_proc(L);
  sys_kill(&p->p, (int)luaL_optinteger(L, 2, SIGKILL));
  return 0;
}

static int p_write(lua_State *L) {
  proc *p = check_proc(L);
  size_t n;
  const char *s = luaL_checklstring(L, 2, &n);
  sys_err e = {{0}, 0};
  if (p->p.in < 0) return luaL_error(L, "write: the process has no open stdin pipe");
  while (n) {
    long r = sys_pipe_write(p->p.in, s, n, p->deadline, &e);
    if (r < 0) {
      enforce(p);
      return sys_lua_fail(L, &e);
    }
    if (r == 0) {
      lua_pushnil(L);
      lua_pushliteral(L, "the process has closed its input");
      lua_pushinteger(L, EPIPE);
      return 3;
    }
    s += r;
    n -= (size_t)r;
  }
  lua_settop(L, 1);
  return 1;
}

static int p_close_stdin(lua_State *L) {
  proc *p = check_proc(L);
  if (p->p.in >= 0) close(p->p.in);
  p->p.in = -1;
  return 0;
}

/* Reads a line, n bytes or all from one pipe; nil at the end, nil, message on a failure.  A line is
 * read by single bytes so that nothing is taken that a later read, or the process's heir of the
 * pipe, would miss. */
static int read_from(lua_State *L, proc *p, int fd) {
  bool line = false, all = false;
  lua_Integer want = 0;
  sys_err e = {{0}, 0};
  luaL_Buffer b;
  if (lua_type(L, 2) == LUA_TNUMBER) {
    want = luaL_checkinteger(L, 2);
    luaL_argcheck(L, want >= 0, 2, "a count cannot be negative");
  } else {
    const char *f = luaL_optstring(L, 2, "l");
    f += *f == '*';
    line = *f == 'l' || *f == 'L', all = *f == 'a';
    luaL_argcheck(L, line || all, 2, "expected a count, \"l\", \"L\" or \"a\"");
    want = line ? 0 : INT64_MAX;
    if (*f == 'L') want = 1;                              /* keep the newline */
  }
  if (fd < 0) return luaL_error(L, "read: the process has no such pipe");
  bool keep = line && want == 1, ended = false;
  lua_Integer got = 0;
  luaL_buffinit(L, &b);
  while (line || got < want) {
    size_t room = line ? 1 : LUAL_BUFFERSIZE;
    char *at = luaL_prepbuffsize(&b, room);
    if (!line && (lua_Integer)room > want - got) room = (size_t)(want - got);
    long r = sys_pipe_read(fd, at, room, p->deadline, &e);
    if (r < 0) {
      enforce(p);
      return sys_lua_fail(L, &e);
    }
    ended = r == 0;
    if (ended) break;
    got += r;
    if (line && *at == '\n') {
      if (keep) luaL_addsize(&b, 1);
      break;
    }
    luaL_addsize(&b, (size_t)r);
  }
  luaL_pushresult(&b);
  if (ended && got == 0 && !all) lua_pushnil(L);
  return 1;
}

static int p_read(lua_State *L) { proc *p = check_proc(L); return read_from(L, p, p->p.out); }
static int p_read_err(lua_State *L) { proc *p = check_proc(L); return read_from(L, p, p->p.err); }

static int p_close(lua_State *L) {
  sys_proc_close(&check_proc(L)->p);
  return 0;
}

static int p_index(lua_State *L) {
  proc *p = check_proc(L);
  const char *k = luaL_checkstring(L, 2);
  if (!strcmp(k, "pid")) return lua_pushinteger(L, p->p.pid), 1;
  if (!strcmp(k, "timed_out")) return lua_pushboolean(L, p->timed_out), 1;
  if (!strcmp(k, "peak_rss")) return lua_pushnumber(L, p->p.peak_rss), 1;
  if (!strcmp(k, "cpu_seconds")) return lua_pushnumber(L, p->p.cpu_seconds), 1;
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  return 1;
}

static int p_tostring(lua_State *L) {
  proc *p = check_proc(L);
  lua_pushfstring(L, "process %d (%s)", (int)p->p.pid,
                  !p->p.pid   ? "closed"
                  : p->p.done ? "ended"
                              : "running");
  return 1;
}

/* ---- sys.run ---- */
/* Moves bytes both ways until the process has closed its outputs (or ended) or time is up.  Output
 * grows two buffers that live in userdata, so an error of Lua's loses nothing. */
typedef struct sink { char *p; size_t n, cap; } sink;

static int sink_gc(lua_State *L) {
  sink *s = lua_touserdata(L, 1);
  mt_free(s->p);
  *s = (sink){0};
  return 0;
}

static sink *new_sink(lua_State *L) {
  sink *s = lua_newuserdatauv(L, sizeof *s, 0);
  *s = (sink){0};
  if (luaL_newmetatable(L, "sys.sink")) lua_pushcfunction(L, sink_gc), lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  return s;
}

static bool drain(int *fd, sink *s, sys_err *e) {
  if (s->cap - s->n < 4096) {
    size_t cap = s->cap ? 2 * s->cap : 16384;
    char *grown = mt_realloc(s->p, cap);
    if (!grown) return sys_fail(e, "not enough memory");
    s->p = grown, s->cap = cap;
  }
  ssize_t r = read(*fd, s->p + s->n, s->cap - s->n);
  if (r > 0) s->n += (size_t)r;
  else if (r == 0 || (errno != EINTR && errno != EAGAIN)) close(*fd), *fd = -1;
  return true;
}

static bool pump(proc *p, const char *input, size_t n, sink *out, sink *err, sys_err *e) {
  if (p->p.in >= 0) fcntl(p->p.in, F_SETFL, O_NONBLOCK);
  while ((p->p.out >= 0 || p->p.err >= 0 || p->p.in >= 0) && !e->msg[0]) {
    if (p->p.in >= 0 && !n) close(p->p.in), p->p.in = -1;
    struct pollfd f[3] = {{p->p.in, POLLOUT, 0}, {p->p.out, POLLIN, 0}, {p->p.err, POLLIN, 0}};
    int r = poll(f, 3, sys_poll_ms(p->deadline));
    if (mt_interrupted) return sys_fail(e, "interrupted");
    if (p->deadline >= 0 && sys_clock() >= p->deadline) {
      enforce(p);
      return true;                          /* a grandchild may hold the pipes open for ever */
    }
    if (r <= 0) continue;
    if (f[0].revents) {
      sys_err ignored = {{0}, 0};
      long w = sys_pipe_write(p->p.in, input, n, p->deadline, &ignored);
      if (w > 0) input += w, n -= (size_t)w;
      else if (w == 0 || ignored.code != EAGAIN) close(p->p.in), p->p.in = -1;
    }
    if (f[1].revents) drain(&p->p.out, out, e);
    if (f[2].revents) drain(&p->p.err, err, e);
  }
  return !e->msg[0];
}

static void set_text(lua_State *L, const char *name, const sink *s) {
  lua_pushlstring(L, s->p ? s->p : "", s->n);
  lua_setfield(L, -2, name);
}

/* sys.run(argv, options): stdin is a text here ("" by default). */
int sys_lua_run(lua_State *L) {
  sys_err e = {{0}, 0};
  size_t n = 0;
  const char *input = "";
  lua_settop(L, 2);
  if (lua_istable(
          L, 2)) { /* a copy of the options without the text, which launch would take for a mode */
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1))
      if (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "stdin"))
        lua_pushvalue(L, -2), lua_pushvalue(L, -2), lua_rawset(L, 3);
    if (lua_getfield(L, 2, "stdin") != LUA_TNIL) {
      input = luaL_checklstring(L, -1, &n);   /* kept alive by the copy */
      lua_pushvalue(L, -1);
      lua_setfield(L, 3, "\1input");
    }
    lua_pop(L, 1);
    lua_replace(L, 2);
  }
  proc *p = launch(L, SYS_PIPE, SYS_PIPE, SYS_PIPE, &e);
  if (!p) return sys_lua_fail(L, &e);
  sink *out = new_sink(L), *err = new_sink(L);
  if (!pump(p, input, n, out, err, &e)) {
    sys_proc_close(&p->p);
    return sys_lua_fail(L, &e);
  }
  if (!sys_wait(&p->p, p->deadline)) enforce(p);
  if (!p->p.done && !mt_interrupted) sys_wait(&p->p, sys_clock() + 5);
  lua_createtable(L, 0, 9);
  lua_pushboolean(L, p->p.done && !p->timed_out && p->p.code == 0), lua_setfield(L, -2, "ok");
  if (p->p.done && p->p.code >= 0) lua_pushinteger(L, p->p.code), lua_setfield(L, -2, "code");
  if (p->p.signal) lua_pushinteger(L, p->p.signal), lua_setfield(L, -2, "signal");
  lua_pushboolean(L, p->timed_out), lua_setfield(L, -2, "timed_out");
  lua_pushnumber(L, sys_clock() - p->started), lua_setfield(L, -2, "seconds");
  lua_pushnumber(L, p->p.peak_rss), lua_setfield(L, -2, "peak_rss");
  lua_pushnumber(L, p->p.cpu_seconds), lua_setfield(L, -2, "cpu_seconds");
  set_text(L, "stdout", out);
  set_text(L, "stderr", err);
  sys_proc_close(&p->p);
  return 1;
}

void sys_lua_proc_init(lua_State *L) {
  static const luaL_Reg methods[] = {{"wait", p_wait},
                                     {"poll", p_poll},
                                     {"kill", p_kill},
                                     {"write", p_write},
                                     {"close_stdin", p_close_stdin},
                                     {"read", p_read},
                                     {"read_err", p_read_err},
                                     {"close", p_close},
                                     {NULL, NULL}};
  static const luaL_Reg meta[] = {
      {"__gc", p_close}, {"__close", p_close}, {"__tostring", p_tostring}, {NULL, NULL}};
  if (luaL_newmetatable(L, META)) {
    luaL_setfuncs(L, meta, 0);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, p_index, 1);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
}
