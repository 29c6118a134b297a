/* pty_figures.c: the prompt's times on a pseudo-terminal (make prompt-figures); a measurement, no
 * test. */
#define _GNU_SOURCE
#include "pty.h"

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}
static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}
static void show(const char *what, double *v, size_t n) {
  qsort(v, n, sizeof *v, by_value);
  printf("%-28s median %7.2f ms  p99 %7.2f ms  max %7.2f ms\n", what, v[n / 2] / 1e3,
         v[n * 99 / 100] / 1e3, v[n - 1] / 1e3);
}

/* Time from a key to the first byte of the answer. */
static double answer_to(const char *key) {
  double from = now_us();
  keys(key);
  pump(2000);
  double took = now_us() - from;
  while (pump(1)) {}
  return took;
}

static void measure(void) {
  static double v[2000];
  size_t n = 0;
  for (int i = 0; i < 30; i++) {
    double from = now_us();
    start_with(24, 80, NULL);
    while (!on_screen("moth>")) pump(100);
    v[n++] = now_us() - from;
    stop();
  }
  show("start to prompt", v, n);
  start();
  const char *text = "local total = string.format('%d', 12) .. tostring(math.floor(x:sum()))";
  for (n = 0; n < 2000;) {
    for (const char *p = text; *p && n < 2000; p++) v[n++] = answer_to((char[]){*p, 0});
    keys("\025");
    settle();
  }
  show("key to echo", v, n);
  static const char *const owners[] = {"torch.", "nn.", "F.", "string.", "optim."};
  keys("x = torch.ones(2)\r");
  settle();
  for (n = 0; n < 520; n++) { /* 500 and more prefixes: owner and two letters, or a global */
    char prefix[16];
    snprintf(prefix, sizeof prefix, "%s%c%s", n % 6 == 5 ? "x:" : owners[n % 6 % 5],
             'a' + (int)(n / 6 % 26),
             n / 156 == 0   ? ""
             : n / 156 == 1 ? "e"
             : n / 156 == 2 ? "o"
                            : "i");
    keys(prefix);
    while (pump(5)) {}
    v[n] = answer_to("\t");
    keys("\033");
    while (pump(60)) {}
    keys("\025");
    while (pump(5)) {}
  }
  show("TAB to list", v, n);
  stop();
}

/* From ^C to the prompt, for each kind of work: the worst of a few presses. */
static void measure_interrupts(void) {
  static const struct { const char *name, *code;
  } work[] = {{"Lua loop", "while true do end\r"},
              {"pcall loop", "while true do pcall(error) end\r"},
              {"string.find bomb", "string.find(string.rep('a', 300000), '.*b')\r"},
              {"gsub of 30 MB", "while true do (('x'):rep(3e7)):gsub('.', '%0%0') end\r"},
              {"table.sort", "while true do local t = {} for i = 1, 3e6 do t[i] = (i * 7919) % "
                             "1000003 end table.sort(t) end\r"},
              {"matmul 6000", "while true do y = big:matmul(big) end\r"},
              {"sort 36e6", "while true do y = big:view(-1):sort() end\r"},
              {"conv2d", "while true do y = F.conv2d(img, w) end\r"},
              {"backward", "l = torch.randn(2000, 2000, {requires_grad = true}); while true do "
                           "(l:matmul(l)):exp():sum():backward() end\r"},
              {"svd", "while true do y = torch.linalg.svd(big['0:1500, 0:1500']) end\r"},
              {"file load", "while true do local z = torch.load(PATH .. '/big.pt') end\r"},
              {"file save", "while true do torch.save(big, PATH .. '/b2.pt') end\r"},
              {"print", "while true do print(big) end\r"},
              {"print of lines", "while true do print(('x'):rep(100)) end\r"}};
  char text[256];
  start();
  snprintf(text, sizeof text,
           "PATH = '%s'; big = torch.randn(6000, 6000); img = torch.randn(16, 64, 128, 128)\r",
           tmp);
  keys(text);
  expect_prompt();
  keys("w = torch.randn(64, 64, 5, 5); torch.save(big, PATH .. '/big.pt')\r");
  expect_prompt();
  settle();
  for (size_t i = 0; i < sizeof work / sizeof work[0]; i++) {
    double worst = 0;
    for (int k = 0; k < 5; k++) {
      keys("\014");
      expect_prompt();
      keys(work[i].code);
      double until = now_us() + 400e3 + 130e3 * k;
      while (now_us() < until) pump(5);
      double from = now_us();
      keys("\003");
      while (strcmp(last_row(), "moth>") != 0 &&
             now_us() - from < 5e6)
        pump(1);
      double took = now_us() - from;
      if (took > worst) worst = took;
    }
    printf("^C in %-22s %7.1f ms at most\n", work[i].name, worst / 1e3);
    fflush(stdout);
  }
  stop();
}

int main(void) {
  if (!pty_begin()) return 1;
  measure();
  measure_interrupts();
  pty_end();
  return 0;
}
