/* sys.c: the Lua module `sys`: files, time, hashes, environment, terminal and machine facts
 * (vm/sys_proc.c: processes).
 *
 * What the system may refuse returns nil, message, errno, as Lua's io and os do; wrong arguments
 * raise.  C memory is owned by a userdata before the next Lua call that can raise. */
#define _GNU_SOURCE
#include "sys_lua.h"
#include "sys/sys.h"
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

int sys_lua_fail(lua_State *L, const sys_err *e) {
  lua_pushnil(L);
  lua_pushstring(L, e->msg);
  lua_pushinteger(L, e->code);
  return 3;
}

static int fail_errno(lua_State *L, const char *what, const char *path) {
  sys_err e = {{0}, 0};
  sys_fail_errno(&e, what, path);
  return sys_lua_fail(L, &e);
}

static int done(lua_State *L, bool ok, const sys_err *e) {
  if (!ok) return sys_lua_fail(L, e);
  lua_pushboolean(L, 1);
  return 1;
}

/* A path may not hold a NUL: the system would silently use what stands before it. */
static const char *check_path(lua_State *L, int i) {
  size_t n;
  const char *s = luaL_checklstring(L, i, &n);
  luaL_argcheck(L, strlen(s) == n, i, "a path cannot contain a zero byte");
  return s;
}

/* An option: true as argument i itself, or the field of a table there. */
static bool flag(lua_State *L, int i, const char *name) {
  if (lua_isboolean(L, i)) return lua_toboolean(L, i);
  if (lua_isnoneornil(L, i)) return false;
  luaL_checktype(L, i, LUA_TTABLE);
  lua_getfield(L, i, name);
  bool on = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return on;
}

/* ---- lists of names ---- */
static int strs_gc(lua_State *L) {
  sys_strs_free(lua_touserdata(L, 1));
  return 0;
}

static sys_strs *new_strs(lua_State *L) {
  sys_strs *s = lua_newuserdatauv(L, sizeof *s, 0);
  *s = (sys_strs){0};
  if (luaL_newmetatable(L, "sys.strs")) {
    lua_pushcfunction(L, strs_gc);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return s;
}

static int push_strs(lua_State *L, sys_strs *s) {
  lua_createtable(L, s->n < INT_MAX ? (int)s->n : 0, 0);
  for (size_t i = 0; i < s->n; i++) {
    lua_pushstring(L, s->v[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int l_list(lua_State *L) {
  const char *dir = luaL_optstring(L, 1, ".");
  sys_err e = {{0}, 0};
  sys_strs *s = new_strs(L);
  return sys_list(dir, s, &e) ? push_strs(L, s) : sys_lua_fail(L, &e);
}

static int l_glob(lua_State *L) {
  const char *pattern = check_path(L, 1);
  sys_err e = {{0}, 0};
  sys_strs *s = new_strs(L);
  return sys_glob(pattern, s, &e) ? push_strs(L, s) : sys_lua_fail(L, &e);
}

/* ---- single paths ---- */
static const char *type_name(mode_t m) {
  return S_ISREG(m) ? "file" : S_ISDIR(m) ? "directory" : S_ISLNK(m) ? "link" : S_ISFIFO(m) ? "fifo"
       : S_ISSOCK(m) ? "socket" : S_ISCHR(m) ? "char" : S_ISBLK(m) ? "block" : "other";
}

static void set_time(lua_State *L, const char *name, const struct timespec *t) {
  lua_pushnumber(L, (lua_Number)t->tv_sec + 1e-9 * (lua_Number)t->tv_nsec);
  lua_setfield(L, -2, name);
}

static int l_stat(lua_State *L) {
  const char *path = check_path(L, 1);
  struct stat st;
  bool link = flag(L, 2, "link");
  if (link ? lstat(path, &st) : stat(path, &st)) return fail_errno(L, "cannot stat", path);
  const struct { const char *name; lua_Integer v;
  } nums[] = {{"size", (lua_Integer)st.st_size},
              {"mode", st.st_mode & 07777},
              {"ino", (lua_Integer)st.st_ino},
              {"dev", (lua_Integer)st.st_dev},
              {"nlink", (lua_Integer)st.st_nlink},
              {"uid", st.st_uid},
              {"gid", st.st_gid}};
  lua_createtable(L, 0, 11);
  lua_pushstring(L, type_name(st.st_mode));
  lua_setfield(L, -2, "type");
  for (size_t i = 0; i < sizeof nums / sizeof *nums; i++) {
    lua_pushinteger(L, nums[i].v);
    lua_setfield(L, -2, nums[i].name);
  }
  set_time(L, "mtime", &st.st_mtim);
  set_time(L, "atime", &st.st_atim);
  set_time(L, "ctime", &st.st_ctim);
  return 1;
}

static int l_exists(lua_State *L) {
  struct stat st;
  lua_pushboolean(L, !stat(check_path(L, 1), &st));
  return 1;
}
static int l_isfile(lua_State *L) {
  struct stat st;
  lua_pushboolean(L, !stat(check_path(L, 1), &st) && S_ISREG(st.st_mode));
  return 1;
}
static int l_isdir(lua_State *L) {
  struct stat st;
  lua_pushboolean(L, !stat(check_path(L, 1), &st) && S_ISDIR(st.st_mode));
  return 1;
}

static int l_mkdir(lua_State *L) {
  const char *path = check_path(L, 1);
  sys_err e = {{0}, 0};
  if (flag(L, 2, "parents")) return done(L, sys_mkdirs(path, 0777, &e), &e);
  return mkdir(path, 0777) ? fail_errno(L, "cannot make folder", path) : done(L, true, NULL);
}

static int l_remove(lua_State *L) {
  const char *path = check_path(L, 1);
  sys_err e = {{0}, 0};
  if (flag(L, 2, "recursive")) return done(L, sys_remove_tree(path, &e), &e);
  return remove(path) ? fail_errno(L, "cannot remove", path) : done(L, true, NULL);
}

static int l_rename(lua_State *L) {
  const char *from = check_path(L, 1), *to = check_path(L, 2);
  return rename(from, to) ? fail_errno(L, "cannot rename", from) : done(L, true, NULL);
}

static int l_symlink(lua_State *L) {
  const char *target = check_path(L, 1), *path = check_path(L, 2);
  return symlink(target, path) ? fail_errno(L, "cannot link", path) : done(L, true, NULL);
}

static int l_chmod(lua_State *L) {
  const char *path = check_path(L, 1);
  mode_t mode = (mode_t)luaL_checkinteger(L, 2) & 07777;
  return chmod(path, mode) ? fail_errno(L, "cannot change the mode of", path) : done(L, true, NULL);
}

static int l_realpath(lua_State *L) {
  char buf[PATH_MAX];
  const char *path = check_path(L, 1);
  if (!realpath(path, buf)) return fail_errno(L, "cannot resolve", path);
  lua_pushstring(L, buf);
  return 1;
}

static int l_cwd(lua_State *L) {
  char buf[PATH_MAX];
  if (!getcwd(buf, sizeof buf)) return fail_errno(L, "cannot tell the folder", ".");
  lua_pushstring(L, buf);
  return 1;
}

static int l_chdir(lua_State *L) {
  const char *path = check_path(L, 1);
  return chdir(path) ? fail_errno(L, "cannot enter", path) : done(L, true, NULL);
}

/* A new, empty file (or folder) that nobody else has; its name. */
static int make_temp(lua_State *L, bool folder) {
  const char *base = lua_isnoneornil(L, 1) ? getenv("TMPDIR") : check_path(L, 1);
  char buf[PATH_MAX];
  if (!base || !*base) base = "/tmp";
  if (snprintf(buf, sizeof buf, "%s/moth-XXXXXX", base) >= (int)sizeof buf)
    return errno = ENAMETOOLONG, fail_errno(L, "cannot make a temporary name in", base);
  int fd = -1;
  if (folder ? !mkdtemp(buf) : (fd = mkstemp(buf)) < 0)
    return fail_errno(L, "cannot make a temporary name in", base);
  if (fd >= 0) close(fd);
  lua_pushstring(L, buf);
  return 1;
}
static int l_tmpname(lua_State *L) { return make_temp(L, false); }
static int l_tmpdir(lua_State *L) { return make_temp(L, true); }

static int l_read(lua_State *L) {
  const char *path = check_path(L, 1);
  sys_err e = {{0}, 0};
  sys_strs *own = new_strs(L);                     /* owns the text while Lua copies it */
  char *text;
  size_t n;
  if (!sys_read_file(path, &text, &n, &e)) return sys_lua_fail(L, &e);
  own->v = mt_malloc(sizeof *own->v);
  if (!own->v) {
    mt_free(text);
    return luaL_error(L, "not enough memory");
  }
  own->v[0] = text;
  own->n = own->cap = 1;
  lua_pushlstring(L, text, n);
  sys_strs_free(own);
  return 1;
}

static int l_write(lua_State *L) {
  const char *path = check_path(L, 1);
  size_t n;
  const char *text = luaL_checklstring(L, 2, &n);
  sys_err e = {{0}, 0};
  sys_save s;
  bool ok = sys_save_begin(&s, path, &e);
  if (ok) {
    sys_save_write(&s, text, n, &e);
    ok = sys_save_commit(&s, &e);
  }
  return done(L, ok, &e);
}

/* ---- time ---- */
static int l_clock(lua_State *L) { return lua_pushnumber(L, sys_clock()), 1; }
static int l_time(lua_State *L) { return lua_pushnumber(L, sys_time()), 1; }
static int l_sleep(lua_State *L) {
  double s = luaL_checknumber(L, 1);
  luaL_argcheck(L, s == s && s < 1e9, 1, "expected a number of seconds");
  lua_pushboolean(L, sys_sleep(s));
  return 1;
}

/* ---- hashes ---- */
static int push_hex(lua_State *L, const uint8_t *p, int n) {
  static const char digit[] = "0123456789abcdef";
  char out[128];
  for (int i = 0; i < n; i++) out[2 * i] = digit[p[i] >> 4], out[2 * i + 1] = digit[p[i] & 15];
  lua_pushlstring(L, out, 2 * (size_t)n);
  return 1;
}

static int l_sha256(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  sys_sha256 c;
  uint8_t out[32];
  sys_sha256_init(&c);
  sys_sha256_add(&c, s, n);
  sys_sha256_end(&c, out);
  return push_hex(L, out, 32);
}

static int l_md5(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  sys_md5 c;
  uint8_t out[16];
  sys_md5_init(&c);
  sys_md5_add(&c, s, n);
  sys_md5_end(&c, out);
  return push_hex(L, out, 16);
}

static int l_hmac(lua_State *L) {
  size_t nk, n;
  const char *k = luaL_checklstring(L, 1, &nk), *s = luaL_checklstring(L, 2, &n);
  uint8_t out[32];
  sys_hmac_sha256(k, nk, s, n, out);
  return push_hex(L, out, 32);
}

static int l_crc32(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  lua_pushinteger(L, sys_crc32((uint32_t)luaL_optinteger(L, 2, 0), s, n));
  return 1;
}

/* sys.hash_file(path, "sha256" | "md5" | "crc32"), in steps that see an interrupt. */
static int l_hash_file(lua_State *L) {
  static const char *const names[] = {"sha256", "md5", "crc32", NULL};
  const char *path = check_path(L, 1);
  int kind = luaL_checkoption(L, 2, "sha256", names);
  sys_err e = {{0}, 0};
  sys_sha256 sha;
  sys_md5 md;
  uint32_t crc = 0;
  uint8_t out[32];
  sys_map *m = sys_map_open(path, &e);
  if (!m) return sys_lua_fail(L, &e);
  sys_sha256_init(&sha);
  sys_md5_init(&md);
  for (size_t at = 0; at < m->size && !mt_interrupted; at += 1 << 20) {
    size_t n = m->size - at < 1 << 20 ? m->size - at : 1 << 20;
    if (kind == 0) sys_sha256_add(&sha, m->data + at, n);
    else if (kind == 1) sys_md5_add(&md, m->data + at, n);
    else crc = sys_crc32(crc, m->data + at, n);
  }
  if (m->broken) sys_fail(&e, "the file changed while it was read");
  if (mt_interrupted) sys_fail(&e, "interrupted");
  sys_map_close(m);
  if (e.msg[0]) return sys_lua_fail(L, &e);
  if (kind == 2) return lua_pushinteger(L, crc), 1;
  if (kind == 1) return sys_md5_end(&md, out), push_hex(L, out, 16);
  return sys_sha256_end(&sha, out), push_hex(L, out, 32);
}

/* ---- environment ---- */
static int l_getenv(lua_State *L) { return lua_pushstring(L, getenv(luaL_checkstring(L, 1))), 1; }

static int l_setenv(lua_State *L) {
  const char *name = luaL_checkstring(L, 1), *value = luaL_optstring(L, 2, NULL);
  luaL_argcheck(L, *name && !strchr(name, '='), 1, "not a name of a variable");
  return (value ? setenv(name, value, 1) : unsetenv(name)) ? fail_errno(L, "cannot set", name)
                                                           : done(L, true, NULL);
}

static int l_environ(lua_State *L) {
  lua_newtable(L);
  for (char **v = environ; v && *v; v++) {
    const char *eq = strchr(*v, '=');
    if (!eq) continue;
    lua_pushlstring(L, *v, (size_t)(eq - *v));
    lua_pushstring(L, eq + 1);
    lua_rawset(L, -3);
  }
  return 1;
}

/* ---- terminal and machine ---- */
/* A descriptor: a number, or an open file of Lua's io library. */
static int check_fd(lua_State *L, int i, int otherwise) {
  luaL_Stream *s = luaL_testudata(L, i, LUA_FILEHANDLE);
  if (s) {
    luaL_argcheck(L, s->closef, i, "the file is closed");
    return fileno(s->f);
  }
  return (int)luaL_optinteger(L, i, otherwise);
}

static int l_isatty(lua_State *L) { return lua_pushboolean(L, isatty(check_fd(L, 1, 1))), 1; }

static int l_termsize(lua_State *L) {
  struct winsize w;
  int fds[4] = {check_fd(L, 1, 1), 2, 0, -1};
  for (int i = 0; fds[i] >= 0; i++)
    if (!ioctl(fds[i], TIOCGWINSZ, &w) && w.ws_col) {
      lua_pushinteger(L, w.ws_col);
      lua_pushinteger(L, w.ws_row);
      return 2;
    }
  lua_pushnil(L);
  lua_pushliteral(L, "not a terminal");
  return 2;
}

static int l_cpu_count(lua_State *L) { return lua_pushinteger(L, sys_cpu_count()), 1; }
static int l_rss(lua_State *L) { return lua_pushinteger(L, (lua_Integer)sys_rss()), 1; }
static int l_peak_rss(lua_State *L) { return lua_pushinteger(L, (lua_Integer)sys_peak_rss()), 1; }
static int l_total_memory(lua_State *L) {
  return lua_pushinteger(L, (lua_Integer)sys_total_memory()), 1;
}
static int l_pid(lua_State *L) { return lua_pushinteger(L, getpid()), 1; }

static int l_uname(lua_State *L) {
  struct utsname u;
  if (uname(&u)) return fail_errno(L, "cannot tell", "the system's name");
  const char *const field[][2] = {
      {"system", u.sysname}, {"release", u.release}, {"machine", u.machine}, {"host", u.nodename}};
  lua_createtable(L, 0, 4);
  for (int i = 0; i < 4; i++) lua_pushstring(L, field[i][1]), lua_setfield(L, -2, field[i][0]);
  return 1;
}

static const luaL_Reg functions[] = {{"list", l_list},
                                     {"glob", l_glob},
                                     {"stat", l_stat},
                                     {"exists", l_exists},
                                     {"isfile", l_isfile},
                                     {"isdir", l_isdir},
                                     {"mkdir", l_mkdir},
                                     {"remove", l_remove},
                                     {"rename", l_rename},
                                     {"symlink", l_symlink},
                                     {"chmod", l_chmod},
                                     {"realpath", l_realpath},
                                     {"cwd", l_cwd},
                                     {"chdir", l_chdir},
                                     {"tmpname", l_tmpname},
                                     {"tmpdir", l_tmpdir},
                                     {"read", l_read},
                                     {"write", l_write},
                                     {"clock", l_clock},
                                     {"time", l_time},
                                     {"sleep", l_sleep},
                                     {"sha256", l_sha256},
                                     {"md5", l_md5},
                                     {"hmac_sha256", l_hmac},
                                     {"crc32", l_crc32},
                                     {"hash_file", l_hash_file},
                                     {"getenv", l_getenv},
                                     {"setenv", l_setenv},
                                     {"environ", l_environ},
                                     {"isatty", l_isatty},
                                     {"termsize", l_termsize},
                                     {"cpu_count", l_cpu_count},
                                     {"rss", l_rss},
                                     {"peak_rss", l_peak_rss},
                                     {"total_memory", l_total_memory},
                                     {"pid", l_pid},
                                     {"uname", l_uname},
                                     {"spawn", sys_lua_spawn},
                                     {"_fork", sys_lua_fork},
                                     {"run", sys_lua_run},
                                     {NULL, NULL}};

int luaopen_sys(lua_State *L) {
  sys_lua_proc_init(L);
  luaL_newlib(L, functions);
  return 1;
}
