/* media.c: the Lua modules `image` (PNG, JPEG) and `audio` (WAV).
 *
 *   local x = image.load("a.png", {mode = "RGB"})     -- uint8 [C, H, W];  image.save(x, "b.png")
 *   local wave, rate = audio.load("a.wav")            -- float32 [channels, frames];
 * audio.save("b.wav", wave, rate) */
#include "audio/wav.h"
#include "formats.h"
#include "image/image.h"
#include <string.h>

/* ---- images ---- */
static int picture_gc(lua_State *L) {
  img_free(lua_touserdata(L, 1));
  return 0;
}

static picture *new_picture(lua_State *L) {
  picture *p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = (picture){.width = 0};
  if (luaL_newmetatable(L, "moth.picture"))
    lua_pushcfunction(L, picture_gc), lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  return p;
}

/* Channel k of a pixel in another mode: gray by ITU-R 601 as libpng and libjpeg weigh it. */
static uint8_t channel(const uint8_t *px, int have, int want, int k) {
  bool colour = have >= 3, alpha = have == 2 || have == 4;
  if (want == have) return px[k];
  if ((want == 2 && k == 1) || (want == 4 && k == 3)) return alpha ? px[have - 1] : 255;
  if (want <= 2)
    return colour ? (uint8_t)((19595 * px[0] + 38470 * px[1] + 7471 * px[2] + 32768) >> 16) : px[0];
  return colour ? px[k] : px[0];
}

/* A picture as uint8 [channels, height, width]. */
static Tensor *picture_tensor(Ctx *c, const picture *pic, int want) {
  int64_t shape[3] = {want, pic->height, pic->width}, plane = shape[1] * shape[2];
  Tensor *x = mt_new(c, mt_il(shape, 3), MT_uint8, MT_CPU);
  if (!x) return NULL;
  uint8_t *to = mt_data(x);
  for (int k = 0; k < want; k++)
    for (int64_t i = 0; i < plane; i++)
      to[k * plane + i] = channel(pic->data + i * pic->channels, pic->channels, want, k);
  return x;
}

/* "UNCHANGED" and the others are torchvision's names. */
static int channels_of_mode(lua_State *L, int i) {
  static const char *const names[] = {"UNCHANGED", "GRAY", "GRAY_ALPHA", "RGB",
                                      "RGB_ALPHA", "RGBA", NULL};
  int k = 0;
  if (lua_istable(L, i)) lua_getfield(L, i, "mode");
  else lua_pushvalue(L, i);
  if (!lua_isnil(L, -1)) {
    const char *s = luaL_checkstring(L, -1);
    while (names[k] && strcmp(names[k], s)) k++;
    if (!names[k])
      luaL_error(L, "image: mode '%s' is not UNCHANGED, GRAY, GRAY_ALPHA, RGB or RGB_ALPHA", s);
  }
  lua_pop(L, 1);
  return k == 5 ? 4 : k;
}

static int push_picture(lua_State *L, const picture *pic, int want) {
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  vm_pushtensor(L, picture_tensor(c, pic, want ? want : pic->channels));
  return vm_leave(L, c, sc, 1);
}

static int image_load(lua_State *L) {
  const char *path = vm_check_path(L, 1);
  sys_err e = {{0}, 0};
  lua_settop(L, 2);
  int want = channels_of_mode(L, 2);
  picture *pic = new_picture(L);
  sys_map *m = sys_map_open(path, &e);
  bool ok = m && img_read(pic, m->data, m->size, &e);
  if (m) sys_map_close(m);
  if (!ok) return luaL_error(L, m ? "%s: %s" : "%s%s", m ? path : "", e.msg);
  return push_picture(L, pic, want);
}

/* decode(bytes[, mode]) */
static int image_decode(lua_State *L) {
  size_t n;
  const char *s = luaL_checklstring(L, 1, &n);
  sys_err e = {{0}, 0};
  lua_settop(L, 2);
  int want = channels_of_mode(L, 2);
  picture *pic = new_picture(L);
  if (!img_read(pic, (const uint8_t *)s, n, &e)) return luaL_error(L, "%s", e.msg);
  return push_picture(L, pic, want);
}

/* Bytes of a tensor [C, H, W] or [H, W]: uint8 as it is, floats from [0, 1]. */
static bool fill_picture(Ctx *c, picture *pic, Tensor *x) {
  bool flat = x->ndim == 2;
  if (x->ndim != 3 && !flat)
    return mt_fail(c, "image.save: expected [C, H, W] or [H, W], got %s", mt_shape_str(c, x)),
           false;
  int64_t ch = flat ? 1 : x->size[0], h = x->size[x->ndim - 2], w = x->size[x->ndim - 1];
  if (ch < 1 || ch > 4 || h < 1 || w < 1 || h > IMG_MAX_SIDE || w > IMG_MAX_SIDE)
    return mt_fail(c, "image.save: expected 1 to 4 channels and sides of 1 to 65535, got %s",
                   mt_shape_str(c, x)),
           false;
  bool real = mt_is_float(x->dtype);
  if (!real && x->dtype != MT_uint8)
    return mt_fail(c, "image.save: expected uint8, or floats in [0, 1]"), false;
  x = mt_contig_as(c, x, real ? MT_float32 : MT_uint8);
  if (!x) return false;
  pic->width = (uint32_t)w, pic->height = (uint32_t)h, pic->channels = (int)ch;
  if (!(pic->data = mt_malloc((size_t)(ch * h * w)))) return mt_nomem(c), false;
  const uint8_t *b = mt_data(x);
  const float *f = mt_data(x);
  for (int64_t i = 0; i < h * w; i++)
    for (int64_t k = 0; k < ch; k++) {
      int64_t at = k * h * w + i;
      float v = real ? f[at] * 255.0f + 0.5f : 0;
      pic->data[i * ch + k] = !real ? b[at] : v >= 255 ? 255 : v > 0 ? (uint8_t)v : 0;
    }
  return true;
}

/* save(tensor, path) */
static int image_save(lua_State *L) {
  Tensor *x = vm_checktensor(L, 1);
  const char *path = vm_check_path(L, 2);
  sys_err e = {{0}, 0};
  picture *pic = new_picture(L);
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  bool mode = c->grad_mode;
  c->grad_mode = false;
  if (fill_picture(c, pic, x)) img_save_png(path, pic, &e);
  c->grad_mode = mode;
  vm_check_saved(L, c, sc, &e);
  return 0;
}

int luaopen_image(lua_State *L) {
  static const luaL_Reg fns[] = {
      {"load", image_load}, {"decode", image_decode}, {"save", image_save}, {NULL, NULL}};
  luaL_newlib(L, fns);
  return 1;
}

/* ---- audio ---- */
static int map_gc(lua_State *L) {
  sys_map **m = lua_touserdata(L, 1);
  sys_map_close(*m);
  *m = NULL;
  return 0;
}

static Tensor *wave_tensor(Ctx *c, const wav *w) {
  int64_t shape[2] = {w->channels, (int64_t)w->frames};
  Tensor *x = mt_new(c, mt_il(shape, 2), MT_float32, MT_CPU);
  for (int k = 0; x && k < w->channels; k++)
    wav_read(w, k, (float *)mt_data(x) + (uint64_t)k * w->frames, 0, w->frames);
  return x;
}

static int audio_load(lua_State *L) {
  const char *path = vm_check_path(L, 1);
  sys_err e = {{0}, 0};
  wav w;
  sys_map **m = lua_newuserdatauv(L, sizeof *m, 0);
  *m = NULL;
  if (luaL_newmetatable(L, "moth.map")) lua_pushcfunction(L, map_gc), lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  if (!(*m = sys_map_open(path, &e))) return luaL_error(L, "%s", e.msg);
  if (!wav_parse(&w, (*m)->data, (*m)->size, &e)) return luaL_error(L, "%s: %s", path, e.msg);
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  vm_pushtensor(L, wave_tensor(c, &w));
  vm_leave(L, c, sc, 0);
  lua_pushinteger(L, w.rate);
  return 2;
}

/* save(path, waveform, sample_rate[, {encoding = "PCM_F"}]), torchaudio's order */
static int audio_save(lua_State *L) {
  const char *path = vm_check_path(L, 1);
  Tensor *x = vm_checktensor(L, 2);
  lua_Integer rate = luaL_checkinteger(L, 3);
  bool as_float = false;
  sys_err e = {{0}, 0};
  if (lua_istable(L, 4)) {
    lua_getfield(L, 4, "encoding");
    as_float = lua_isstring(L, -1) && !strcmp(lua_tostring(L, -1), "PCM_F");
  }
  Ctx *c = vm_ctx(L);
  Scope sc = mt_open(c);
  bool mode = c->grad_mode;
  c->grad_mode = false;
  if (rate < 1 || rate > INT32_MAX)
    mt_fail(c, "audio.save: a sample rate of %lld", (long long)rate);
  else if (x->ndim != 1 && x->ndim != 2)
    mt_fail(c, "audio.save: expected [channels, frames], got %s", mt_shape_str(c, x));
  else if (!mt_is_float(x->dtype)) mt_fail(c, "audio.save: expected floats in [-1, 1]");
  else if ((x = mt_contig_as(c, x, MT_float32)) != NULL) {
    int64_t channels = x->ndim == 2 ? x->size[0] : 1;
    if (channels < 1 || channels > 65535)
      mt_fail(c, "audio.save: %lld channels", (long long)channels);
    else
      wav_save(path, mt_data(x), (int)channels, (uint64_t)x->size[x->ndim - 1], (uint32_t)rate,
               as_float, &e);
  }
  c->grad_mode = mode;
  vm_check_saved(L, c, sc, &e);
  return 0;
}

int luaopen_audio(lua_State *L) {
  static const luaL_Reg fns[] = {{"load", audio_load}, {"save", audio_save}, {NULL, NULL}};
  luaL_newlib(L, fns);
  return 1;
}
