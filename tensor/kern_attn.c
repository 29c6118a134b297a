/* kern_attn.c: row kernels of attention and recurrent cells (see kern_attn.h): plain loops that
 * vectorise. */
#include "kern_attn.h"
#include "kern_exp.h"

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define VEC _Pragma("GCC ivdep")
enum { LANES = 32 };

static float soft(int64_t n, float *s, float old, float *sum) {
  float m = mt_largest_f32(n, s, old);
  int64_t i = 0;
  if (m == -INFINITY) {
    for (; i < n && s[i] == m; i++) ;
    if (i == n) { memset(s, 0, sizeof(float) * (size_t)n); *sum = 0; return m; }
    m = 0;                                           /* a nan among -inf */
  }
  *sum = mt_powers_f32(n, s, m, s, 0);
  return m;
}

static void times(int64_t n, float *y, const float *x, float a) {
  VEC for (int64_t i = 0; i < n; i++) y[i] = x[i] * a;
}
static void scale_rows(int64_t rows, int64_t n, const float *x, int64_t xs, const float *by,
                       float *y, int64_t ys) {
  for (int64_t r = 0; r < rows; r++) {
    const float *from = x + r * xs, a = by[r];
    float *to = y + r * ys;
    VEC for (int64_t i = 0; i < n; i++) to[i] = from[i] * a;
  }
}
static void add(int64_t n, float *x, const float *y) {
  VEC for (int64_t i = 0; i < n; i++) x[i] += y[i];
}
static float dot(int64_t n, const float *x, const float *y) {
  float acc[LANES] = {0}, t = 0;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) for (int l = 0; l < LANES; l++) acc[l] += x[i + l] * y[i + l];
  for (; i < n; i++) t += x[i] * y[i];
  for (int l = 0; l < LANES; l++) t += acc[l];
  return t;
}
static void grad(int64_t n, float *s, float *dp, float lse, float d) {
  VEC for (int64_t i = 0; i < n; i++) {
    float p = mt_exp_biasf_(s[i] - lse, 0);
    s[i] = p;
    dp[i] = p * (dp[i] - d);
  }
}

/* 1 / (1 + e^-x); beyond +-87 it is 1 or as good as 0. */
MT_VM float gate(float x) {
  float y = x > 87.f ? 87.f : x;
  y = y < -87.f ? -87.f : y;
  return 1.f / (1.f + mt_exp_midf_(-y));
}
static void lstm(int64_t n, float *g, const float *c0, float *c, float *h) {
  VEC for (int64_t i = 0; i < n; i++) {
    float a = gate(g[i]), f = gate(g[n + i]), u = mt_tanhf(g[2 * n + i]), o = gate(g[3 * n + i]);
    float v = f * c0[i] + a * u;
    g[i] = a; g[n + i] = f; g[2 * n + i] = u; g[3 * n + i] = o;
    c[i] = v;
    h[i] = o * mt_tanhf(v);
  }
}
static void lstm_grad(int64_t n, const float *g, const float *c0, const float *c, const float *dh,
                      float *dc, float *dg) {
  VEC for (int64_t i = 0; i < n; i++) {
    float a = g[i], f = g[n + i], u = g[2 * n + i], o = g[3 * n + i], t = mt_tanhf(c[i]);
    float d = dc[i] + dh[i] * o * (1.f - t * t);
    dg[i] = d * u * a * (1.f - a);
    dg[n + i] = d * c0[i] * f * (1.f - f);
    dg[2 * n + i] = d * a * (1.f - u * u);
    dg[3 * n + i] = dh[i] * t * o * (1.f - o);
    dc[i] = d * f;
  }
}
static void gru(int64_t n, const float *x, const float *r, const float *bn, const float *h0,
                float *g, float *h) {
  VEC for (int64_t i = 0; i < n; i++) {
    float a = gate(x[i] + r[i]), z = gate(x[n + i] + r[n + i]), q = r[2 * n + i] + bn[i];
    float u = mt_tanhf(x[2 * n + i] + a * q);
    g[i] = a; g[n + i] = z; g[2 * n + i] = u; g[3 * n + i] = q;
    h[i] = (1.f - z) * u + z * h0[i];
  }
}
static void gru_grad(int64_t n, const float *g, const float *h0, float *dh, float *dx, float *dr) {
  VEC for (int64_t i = 0; i < n; i++) {
    float a = g[i], z = g[n + i], u = g[2 * n + i], q = g[3 * n + i];
    float dn = dh[i] * (1.f - z) * (1.f - u * u), da = dn * q * a * (1.f - a),
          dz = dh[i] * (h0[i] - u) * z * (1.f - z);
    dx[i] = da; dx[n + i] = dz; dx[2 * n + i] = dn;
    dr[i] = da; dr[n + i] = dz; dr[2 * n + i] = dn * a;
    dh[i] *= z;
  }
}
static void tanh_(int64_t n, float *x) {
  VEC for (int64_t i = 0; i < n; i++) x[i] = mt_tanhf(x[i]);
}
static void relu_(int64_t n, float *x) {
  VEC for (int64_t i = 0; i < n; i++) x[i] = x[i] > 0 || x[i] != x[i] ? x[i] : 0;
}
static void tanh_grad(int64_t n, const float *y, const float *dy, float *dx) {
  VEC for (int64_t i = 0; i < n; i++) dx[i] = dy[i] * (1.f - y[i] * y[i]);
}
static void relu_grad(int64_t n, const float *y, const float *dy, float *dx) {
  VEC for (int64_t i = 0; i < n; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
}

const MtSeqKerns CAT(mt_seq_kerns_, KLEVEL) = {
    soft, times,    scale_rows, add,   dot,   grad,      lstm,
    lstm_grad, gru, gru_grad,   tanh_, relu_, tanh_grad, relu_grad};
