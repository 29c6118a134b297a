/* strings.c: string.find, match, gmatch, gsub and rep that answer Ctrl-C (Lua's own see no hook,
 * and a pattern can run for hours).  The pattern language and the messages are Lua 5.4's.
 *
 * The matcher returns the end of the match or NULL; it polls wherever it loops.  Recursion is
 * one level per item that may have to be tried again, limited to MAX_DEPTH. */
#define _GNU_SOURCE
#include "host.h"
#include <ctype.h>
#include <limits.h>
#include <string.h>

enum { MAX_CAPTURES = 32, MAX_DEPTH = 200, OPEN = -1, POSITION = -2 };

typedef struct {
  const char *src, *end, *pat_end;
  lua_State *L;
  int depth, ncap;
  struct { const char *at; ptrdiff_t len; } cap[MAX_CAPTURES];
} Match;

static const char *do_match(Match *m, const char *s, const char *p);

/* ---- single characters ---- */
static bool in_class(int c, int cl) {
  bool r;
  switch (tolower(cl)) {
    case 'a': r = isalpha(c); break;
    case 'c': r = iscntrl(c); break;
    case 'd': r = isdigit(c); break;
    case 'g': r = isgraph(c); break;
    case 'l': r = islower(c); break;
    case 'p': r = ispunct(c); break;
    case 's': r = isspace(c); break;
    case 'u': r = isupper(c); break;
    case 'w': r = isalnum(c); break;
    case 'x': r = isxdigit(c); break;
    case 'z': r = c == 0; break;           /* of Lua 5.1, still understood */
    default: return cl == c;
  }
  return isupper(cl) ? !r : r;
}

/* The pattern position after the single-character class at p. */
static const char *class_end(Match *m, const char *p) {
  if (*p++ == '%') {
    if (p == m->pat_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
    return p + 1;
  }
  if (p[-1] != '[') return p;
  if (*p == '^') p++;
  do {                                     /* the first ']' is an element */
    if (p >= m->pat_end) luaL_error(m->L, "malformed pattern (missing ']')");
    if (*p++ == '%') p++;
  } while (p >= m->pat_end || *p != ']');
  return p + 1;
}

/* Is c in the set p = "[...", whose closing bracket is at last? */
static bool in_set(int c, const char *p, const char *last) {
  bool yes = true;
  if (p[1] == '^') { yes = false; p++; }
  while (++p < last) {
    if (*p == '%') {
      if (in_class(c, (unsigned char)*++p)) return yes;
    } else if (p[1] == '-' && p + 2 < last) {
      if ((unsigned char)*p <= c && c <= (unsigned char)p[2]) return yes;
      p += 2;
    } else if ((unsigned char)*p == c) return yes;
  }
  return !yes;
}

static bool single(Match *m, const char *s, const char *p, const char *ep) {
  if (s >= m->end) return false;
  int c = (unsigned char)*s;
  switch (*p) {
    case '.': return true;
    case '%': return in_class(c, (unsigned char)p[1]);
    case '[': return in_set(c, p, ep - 1);
    default: return (unsigned char)*p == c;
  }
}

/* ---- repetition ---- */
static const char *longest(Match *m, const char *s, const char *p, const char *ep) {
  ptrdiff_t i = 0;
  while (single(m, s + i, p, ep)) {
    i++;
    if ((i & 4095) == 0) vm_poll(m->L);
  }
  for (; i >= 0; i--) {
    vm_poll(m->L);
    const char *r = do_match(m, s + i, ep + 1);
    if (r) return r;
  }
  return NULL;
}

static const char *shortest(Match *m, const char *s, const char *p, const char *ep) {
  for (;; s++) {
    vm_poll(m->L);
    const char *r = do_match(m, s, ep + 1);
    if (r) return r;
    if (!single(m, s, p, ep)) return NULL;
  }
}

static const char *balanced(Match *m, const char *s, const char *p) {
  if (p >= m->pat_end - 1) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
  if (s >= m->end || *s != *p) return NULL;
  int open = *p, close = p[1], depth = 1;
  while (++s < m->end) {
    if (((s - m->src) & 4095) == 0) vm_poll(m->L);
    if (*s == close) {
      if (--depth == 0) return s + 1;
    } else if (*s == open) depth++;
  }
  return NULL;
}

/* ---- captures ---- */
static const char *open_capture(Match *m, const char *s, const char *p, ptrdiff_t what) {
  if (m->ncap >= MAX_CAPTURES) luaL_error(m->L, "too many captures");
  m->cap[m->ncap].at = s;
  m->cap[m->ncap].len = what;
  m->ncap++;
  const char *r = do_match(m, s, p);
  if (!r) m->ncap--;
  return r;
}

static const char *close_capture(Match *m, const char *s, const char *p) {
  int l = m->ncap;
  while (--l >= 0 && m->cap[l].len != OPEN) {}
  if (l < 0) luaL_error(m->L, "invalid pattern capture");
  m->cap[l].len = s - m->cap[l].at;
  const char *r = do_match(m, s, p);
  if (!r) m->cap[l].len = OPEN;
  return r;
}

static const char *back_reference(Match *m, const char *s, int c) {
  int l = c - '1';
  if (l < 0 || l >= m->ncap || m->cap[l].len == OPEN)
    luaL_error(m->L, "invalid capture index %%%d", l + 1);
  size_t n = (size_t)m->cap[l].len;
  if ((size_t)(m->end - s) < n || memcmp(m->cap[l].at, s, n) != 0) return NULL;
  return s + n;
}

static bool frontier(Match *m, const char *s, const char *p, const char *ep) {
  int before = s == m->src ? 0 : (unsigned char)s[-1], after = s == m->end ? 0 : (unsigned char)*s;
  return !in_set(before, p, ep - 1) && in_set(after, p, ep - 1);
}

/* ---- the matcher ---- */
/* One single-character item with its suffix.  Sets *next when matching goes on in the caller's
 * loop. */
static const char *item(Match *m, const char *s, const char *p, const char **next_p,
                        const char **next_s) {
  const char *ep = class_end(m, p);
  char suffix = ep < m->pat_end ? *ep : 0;
  switch (suffix) {
    case '*': return longest(m, s, p, ep);
    case '+': return single(m, s, p, ep) ? longest(m, s + 1, p, ep) : NULL;
    case '-': return shortest(m, s, p, ep);
    case '?': {
      const char *r = single(m, s, p, ep) ? do_match(m, s + 1, ep + 1) : NULL;
      if (r) return r;
      *next_p = ep + 1;
      *next_s = s;
      return NULL;
    }
    default:
      if (!single(m, s, p, ep)) return NULL;
      *next_p = ep;
      *next_s = s + 1;
      return NULL;
  }
}

static const char *match_here(Match *m, const char *s, const char *p) {
  while (p < m->pat_end) {
    vm_poll(m->L);
    const char *next_p = NULL, *next_s = NULL;
    if (*p == '(') {
      bool position = p + 1 < m->pat_end && p[1] == ')';
      return position ? open_capture(m, s, p + 2, POSITION) : open_capture(m, s, p + 1, OPEN);
    }
    if (*p == ')') return close_capture(m, s, p + 1);
    if (*p == '$' && p + 1 == m->pat_end) return s == m->end ? s : NULL;
    if (*p == '%' && p + 1 < m->pat_end && p[1] == 'b') {
      if (!(next_s = balanced(m, s, p + 2))) return NULL;
      next_p = p + 4;
    } else if (*p == '%' && p + 1 < m->pat_end && p[1] == 'f') {
      const char *set = p + 2;
      if (set >= m->pat_end || *set != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
      next_p = class_end(m, set);
      next_s = s;
      if (!frontier(m, s, set, next_p)) return NULL;
    } else if (*p == '%' && p + 1 < m->pat_end && isdigit((unsigned char)p[1])) {
      if (!(next_s = back_reference(m, s, (unsigned char)p[1]))) return NULL;
      next_p = p + 2;
    } else {
      const char *r = item(m, s, p, &next_p, &next_s);
      if (!next_p) return r ? r : NULL;
      if (r) return r;
    }
    p = next_p;
    s = next_s;
  }
  return s;
}

static const char *do_match(Match *m, const char *s, const char *p) {
  if (++m->depth > MAX_DEPTH) luaL_error(m->L, "pattern too complex");
  const char *r = match_here(m, s, p);
  m->depth--;
  return r;
}

static const char *match_at(Match *m, const char *s, const char *p) {
  m->depth = m->ncap = 0;
  return do_match(m, s, p);
}

/* ---- results ---- */
/* Capture l as a string (or position) pushed; without captures number 0 is the whole match s..e. */
static void push_capture(Match *m, int l, const char *s, const char *e) {
  if (l >= m->ncap) {
    if (l != 0) luaL_error(m->L, "invalid capture index %%%d", l + 1);
    lua_pushlstring(m->L, s, (size_t)(e - s));
    return;
  }
  ptrdiff_t n = m->cap[l].len;
  if (n == OPEN) luaL_error(m->L, "unfinished capture");
  if (n == POSITION) lua_pushinteger(m->L, m->cap[l].at - m->src + 1);
  else lua_pushlstring(m->L, m->cap[l].at, (size_t)n);
}

static int push_captures(Match *m, const char *s, const char *e) {
  int n = m->ncap == 0 && s ? 1 : m->ncap;
  luaL_checkstack(m->L, n, "too many captures");
  for (int i = 0; i < n; i++) push_capture(m, i, s, e);
  return n;
}

static void start(Match *m, lua_State *L, const char *s, size_t ns, const char *p, size_t np) {
  m->L = L;
  m->src = s;
  m->end = s + ns;
  m->pat_end = p + np;
}

/* An initial position as a 0-based offset. */
static size_t offset(lua_Integer pos, size_t len) {
  if (pos > 0) return (size_t)pos - 1;
  if (pos == 0 || pos < -(lua_Integer)len) return 0;
  return len + (size_t)pos;
}

static int find_or_match(lua_State *L, bool find) {
  size_t ns, np;
  const char *s = luaL_checklstring(L, 1, &ns), *p = luaL_checklstring(L, 2, &np);
  size_t init = offset(luaL_optinteger(L, 3, 1), ns);
  if (init > ns) return luaL_pushfail(L), 1;
  if (find && (lua_toboolean(L, 4) || (!memchr(p, 0, np) && !strpbrk(p, "^$*+?.([%-")))) {
    const char *r = np == 0 ? s + init : memmem(s + init, ns - init, p, np);
    if (!r) return luaL_pushfail(L), 1;
    lua_pushinteger(L, r - s + 1);
    lua_pushinteger(L, r - s + (lua_Integer)np);
    return 2;
  }
  Match m;
  bool anchor = np > 0 && *p == '^';
  start(&m, L, s, ns, p, np);
  p += anchor;
  const char *at = s + init;
  do {
    vm_poll(L);
    const char *e = match_at(&m, at, p);
    if (!e) continue;
    if (!find) return push_captures(&m, at, e);
    lua_pushinteger(L, at - s + 1);
    lua_pushinteger(L, e - s);
    return 2 + push_captures(&m, NULL, NULL);
  } while (at++ < m.end && !anchor);
  return luaL_pushfail(L), 1;
}

static int l_find(lua_State *L) { return find_or_match(L, true); }
static int l_match(lua_State *L) { return find_or_match(L, false); }

/* ---- gmatch: upvalues string, pattern, next offset, end of the last match or -1 ---- */
static int next_match(lua_State *L) {
  size_t ns, np;
  Match m;
  const char *s = lua_tolstring(L, lua_upvalueindex(1), &ns),
             *p = lua_tolstring(L, lua_upvalueindex(2), &np);
  size_t from = (size_t)lua_tointeger(L, lua_upvalueindex(3));
  lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
  start(&m, L, s, ns, p, np);
  for (; from <= ns; from++) {
    vm_poll(L);
    const char *e = match_at(&m, s + from, p);
    if (!e || e - s == last) continue;
    lua_pushinteger(L, e - s);
    lua_copy(L, -1, lua_upvalueindex(3));
    lua_replace(L, lua_upvalueindex(4));
    return push_captures(&m, s + from, e);
  }
  lua_pushinteger(L, (lua_Integer)ns + 1);
  lua_replace(L, lua_upvalueindex(3));
  return 0;
}

static int l_gmatch(lua_State *L) {
  size_t ns;
  luaL_checklstring(L, 1, &ns);
  luaL_checkstring(L, 2);
  size_t init = offset(luaL_optinteger(L, 3, 1), ns);
  lua_settop(L, 2);
  lua_pushinteger(L, (lua_Integer)(init > ns ? ns + 1 : init));
  lua_pushinteger(L, -1);
  lua_pushcclosure(L, next_match, 4);
  return 1;
}

/* ---- gsub ---- */
/* Adds the replacement text of argument 3 with its %0..%9. */
static void add_text(Match *m, luaL_Buffer *b, const char *s, const char *e) {
  lua_State *L = m->L;
  size_t n;
  const char *r = lua_tolstring(L, 3, &n), *rend = r + n, *q;
  for (; (q = memchr(r, '%', (size_t)(rend - r))) != NULL; r = q + 2) {
    luaL_addlstring(b, r, (size_t)(q - r));
    int c = q + 1 < rend ? (unsigned char)q[1] : 0;
    if (c == '%') luaL_addchar(b, '%');
    else if (c == '0') luaL_addlstring(b, s, (size_t)(e - s));
    else if (isdigit(c)) {
      push_capture(m, c - '1', s, e);
      luaL_tolstring(L, -1, NULL);         /* a position capture is a number */
      lua_remove(L, -2);
      luaL_addvalue(b);
    } else luaL_error(L, "invalid use of '%c' in replacement string", '%');
  }
  luaL_addlstring(b, r, (size_t)(rend - r));
}

/* Adds what replaces the match s..e; false when that is the match itself. */
static bool add_replacement(Match *m, luaL_Buffer *b, const char *s, const char *e, int type) {
  lua_State *L = m->L;
  if (type == LUA_TFUNCTION) {
    lua_pushvalue(L, 3);
    lua_call(L, push_captures(m, s, e), 1);
  } else if (type == LUA_TTABLE) {
    push_capture(m, 0, s, e);
    lua_gettable(L, 3);
  } else {
    add_text(m, b, s, e);
    return true;
  }
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    luaL_addlstring(b, s, (size_t)(e - s));
    return false;
  }
  if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
  luaL_addvalue(b);
  return true;
}

static int l_gsub(lua_State *L) {
  size_t ns, np;
  const char *s = luaL_checklstring(L, 1, &ns), *p = luaL_checklstring(L, 2, &np), *last = NULL;
  int type = lua_type(L, 3);
  lua_Integer max = luaL_optinteger(L, 4, (lua_Integer)ns + 1), n = 0;
  luaL_argexpected(
      L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE,
      3, "string/function/table");
  bool anchor = np > 0 && *p == '^', changed = false;
  Match m;
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  start(&m, L, s, ns, p, np);
  p += anchor;
  while (n < max) {
    vm_poll(L);
    const char *e = match_at(&m, s, p);
    if (e && e != last) {
      n++;
      changed = add_replacement(&m, &b, s, e, type) || changed;
      s = last = e;
    } else if (s < m.end) luaL_addchar(&b, *s++);
    else break;
    if (anchor) break;
  }
  if (changed) {
    luaL_addlstring(&b, s, (size_t)(m.end - s));
    luaL_pushresult(&b);
  } else lua_pushvalue(L, 1);
  lua_pushinteger(L, n);
  return 2;
}

/* ---- rep ---- */
static int l_rep(lua_State *L) {
  size_t n, nsep;
  const char *s = luaL_checklstring(L, 1, &n);
  lua_Integer times = luaL_checkinteger(L, 2);
  const char *sep = luaL_optlstring(L, 3, "", &nsep);
  if (times <= 0) return lua_pushliteral(L, ""), 1;
  const size_t limit = (sizeof(size_t) < sizeof(int)) ? SIZE_MAX : (size_t)INT_MAX;
  if (n + nsep < n || n + nsep > limit / (size_t)times)
    return luaL_error(L, "resulting string too large");
  size_t total = (size_t)times * n + (size_t)(times - 1) * nsep;
  luaL_Buffer b;
  char *p = luaL_buffinitsize(L, &b, total);
  for (lua_Integer i = 0; i < times; i++) {
    if ((i & 4095) == 0) vm_poll(L);
    memcpy(p, s, n);
    p += n;
    if (i + 1 < times && nsep) {
      memcpy(p, sep, nsep);
      p += nsep;
    }
  }
  luaL_pushresultsize(&b, total);
  return 1;
}

void vm_open_strings(lua_State *L) {
  static const luaL_Reg fns[] = {{"find", l_find}, {"match", l_match}, {"gmatch", l_gmatch},
                                 {"gsub", l_gsub}, {"rep", l_rep},     {NULL, NULL}};
  if (lua_getglobal(L, LUA_STRLIBNAME) == LUA_TTABLE) luaL_setfuncs(L, fns, 0);
  lua_pop(L, 1);
}
