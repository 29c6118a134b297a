/* plot.c: require "plot.raster": the canvas of stdlib/plot for the plots written in Lua.
 *
 *   local c = raster.new(800, 480, "#ffffff")
 *   c:line({x1, y1, x2, y2, ...}, "#1f77b4", 2)   c:text(x, y, "text", "#000000", 12, "centre",
 * "top", up) c:png()  c:sixel()  c:pixels() */
#include "image/image.h"
#include "plot/raster.h"
#include "vm.h"
#include <stdlib.h>
#include <string.h>

static const char canvas_name[] = "plot.canvas";

static plot_canvas *check_canvas(lua_State *L) { return luaL_checkudata(L, 1, canvas_name); }
static int canvas_gc(lua_State *L) {
  plot_free(check_canvas(L));
  return 0;
}

/* "#rrggbb" or "#rrggbbaa" */
static plot_color color(lua_State *L, int i) {
  const char *s = luaL_checkstring(L, i);
  unsigned v[4] = {0, 0, 0, 255};
  size_t n = strlen(s);
  if ((n != 7 && n != 9) || s[0] != '#' || strspn(s + 1, "0123456789abcdefABCDEF") != n - 1)
    luaL_error(L, "a colour is written '#rrggbb' or '#rrggbbaa', got '%s'", s);
  for (size_t k = 0; k < n / 2; k++) {
    char two[3] = {s[1 + 2 * k], s[2 + 2 * k], 0};
    v[k] = (unsigned)strtoul(two, NULL, 16);
  }
  return (plot_color){(uint8_t)v[0], (uint8_t)v[1], (uint8_t)v[2], (uint8_t)v[3]};
}

static int l_new(lua_State *L) {
  lua_Integer w = luaL_checkinteger(L, 1), h = luaL_checkinteger(L, 2);
  plot_color ground = color(L, 3);
  if (w < 1 || h < 1 || w > PLOT_MAX_SIDE || h > PLOT_MAX_SIDE)
    return luaL_error(L, "a picture's sides must be 1 to %d pixels, got %d x %d", PLOT_MAX_SIDE,
                      (int)w, (int)h);
  plot_canvas *c = lua_newuserdatauv(L, sizeof *c, 0);
  memset(c, 0, sizeof *c);
  luaL_setmetatable(L, canvas_name);
  if (!plot_init(c, (int)w, (int)h, ground))
    return luaL_error(L, "not enough memory for a picture");
  return 1;
}

static int c_clip(lua_State *L) {
  plot_canvas *c = check_canvas(L);
  plot_clip(c, luaL_optnumber(L, 2, 0), luaL_optnumber(L, 3, 0), luaL_optnumber(L, 4, c->w),
            luaL_optnumber(L, 5, c->h));
  return 0;
}
static int c_rect(lua_State *L) {
  plot_rect(check_canvas(L), luaL_checknumber(L, 2), luaL_checknumber(L, 3), luaL_checknumber(L, 4),
            luaL_checknumber(L, 5), color(L, 6));
  return 0;
}
static int c_disc(lua_State *L) {
  plot_disc(check_canvas(L), luaL_checknumber(L, 2), luaL_checknumber(L, 3), luaL_checknumber(L, 4),
            color(L, 5));
  return 0;
}

/* A flat list x1, y1, x2, y2, ... as numbers, in a userdata that is left on the stack. */
static double *points(lua_State *L, int i, size_t *n) {
  luaL_checktype(L, i, LUA_TTABLE);
  size_t len = lua_rawlen(L, i);
  double *v = lua_newuserdatauv(L, sizeof *v * (len + 2), 0);
  for (size_t k = 0; k < len; k++) {
    lua_rawgeti(L, i, (lua_Integer)k + 1);
    v[k] = lua_tonumber(L, -1);
    lua_pop(L, 1);
  }
  *n = len / 2;
  return v;
}
static int c_line(lua_State *L) {
  plot_canvas *c = check_canvas(L);
  size_t n;
  plot_color k = color(L, 3);
  double width = luaL_optnumber(L, 4, 1), *v = points(L, 2, &n);
  plot_polyline(c, v, n, width, k);
  return 0;
}
static int c_polygon(lua_State *L) {
  plot_canvas *c = check_canvas(L);
  size_t n;
  plot_color k = color(L, 3);
  double *v = points(L, 2, &n);
  plot_polygon(c, v, n, k);
  return 0;
}

/* text(x, y, text, colour, size, "left|centre|right", "top|middle|bottom", up) */
static int c_text(lua_State *L) {
  static const char *const hs[] = {"left", "centre", "right", NULL}, *const vs[] = {"top", "middle",
                                                                                    "bottom", NULL};
  plot_canvas *c = check_canvas(L);
  plot_color k = color(L, 5);
  double size = luaL_optnumber(L, 6, 12);
  int h = luaL_checkoption(L, 7, "left", hs) - 1, v = luaL_checkoption(L, 8, "top", vs) - 1;
  plot_text(c, luaL_checknumber(L, 2), luaL_checknumber(L, 3), size, h, v, lua_toboolean(L, 9),
            luaL_checkstring(L, 4), k);
  return 0;
}

/* image(rgb, w, h, x0, y0, x1, y1) */
static int c_image(lua_State *L) {
  plot_canvas *c = check_canvas(L);
  size_t n;
  const char *rgb = luaL_checklstring(L, 2, &n);
  lua_Integer w = luaL_checkinteger(L, 3), h = luaL_checkinteger(L, 4);
  if (w < 1 || h < 1 || w > INT16_MAX || h > INT16_MAX || n != (size_t)(3 * w * h))
    return luaL_error(L, "image: %d bytes are no RGB picture of %d x %d", (int)n, (int)w, (int)h);
  plot_image(c, (const uint8_t *)rgb, (int)w, (int)h, luaL_checknumber(L, 5),
             luaL_checknumber(L, 6), luaL_checknumber(L, 7), luaL_checknumber(L, 8));
  return 0;
}

/* ---- the result ---- */
static int push_bytes(lua_State *L, void *p, size_t n) { /* frees p also when Lua has no memory */
  void **box = lua_newuserdatauv(L, sizeof *box, 0);
  *box = p;
  lua_pushlstring(L, p, n);
  mt_free(p);
  return 1;
}
static int c_png(lua_State *L) {
  plot_canvas *c = check_canvas(L);
  picture pic = {(uint32_t)c->w, (uint32_t)c->h, 3, c->px};
  sys_err e = {{0}, 0};
  size_t n;
  uint8_t *png = img_encode_png(&pic, &n, &e);
  if (!png) return luaL_error(L, "%s", e.msg);
  return push_bytes(L, png, n);
}
static int c_sixel(lua_State *L) {
  size_t n;
  char *s = plot_sixel(check_canvas(L), &n);
  if (!s) return luaL_error(L, "not enough memory");
  return push_bytes(L, s, n);
}
static int c_pixels(lua_State *L) {
  plot_canvas *c = check_canvas(L);
  lua_pushlstring(L, (const char *)c->px, 3 * (size_t)c->w * (size_t)c->h);
  lua_pushinteger(L, c->w);
  lua_pushinteger(L, c->h);
  return 3;
}

static int l_text_width(lua_State *L) {
  lua_pushnumber(L, plot_text_width(luaL_checkstring(L, 1), luaL_checknumber(L, 2)));
  return 1;
}
static int l_base64(lua_State *L) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  size_t n;
  const uint8_t *s = (const uint8_t *)luaL_checklstring(L, 1, &n);
  luaL_Buffer b;
  char *o = luaL_buffinitsize(L, &b, (n + 2) / 3 * 4);
  size_t k = 0;
  for (size_t i = 0; i < n; i += 3) {
    uint32_t v = (uint32_t)s[i] << 16 | (i + 1 < n ? (uint32_t)s[i + 1] << 8 : 0) |
                 (i + 2 < n ? s[i + 2] : 0u);
    o[k++] = digits[v >> 18];
    o[k++] = digits[v >> 12 & 63];
    o[k++] = i + 1 < n ? digits[v >> 6 & 63] : '=';
    o[k++] = i + 2 < n ? digits[v & 63] : '=';
  }
  luaL_pushresultsize(&b, k);
  return 1;
}
/* query(text, until, milliseconds): what the terminal answers */
static int l_query(lua_State *L) {
  char out[512];
  const char *until = luaL_checkstring(L, 2);
  size_t n = plot_query(0, luaL_checkstring(L, 1), until[0], (int)luaL_checkinteger(L, 3), out,
                        sizeof out);
  lua_pushlstring(L, out, n);
  return 1;
}

int luaopen_plot_raster(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"clip", c_clip},       {"rect", c_rect},     {"disc", c_disc},   {"line", c_line},
      {"polygon", c_polygon}, {"text", c_text},     {"image", c_image}, {"png", c_png},
      {"sixel", c_sixel},     {"pixels", c_pixels}, {NULL, NULL}};
  static const luaL_Reg fns[] = {{"new", l_new},
                                 {"text_width", l_text_width},
                                 {"base64", l_base64},
                                 {"query", l_query},
                                 {NULL, NULL}};
  luaL_newmetatable(L, canvas_name);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, canvas_gc);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
  luaL_newlib(L, fns);
  return 1;
}
