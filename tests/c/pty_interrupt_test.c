/* pty_interrupt_test.c: Ctrl-C on a pseudo-terminal: from every kind of work the prompt comes back
 * and the session is whole. */
#define _GNU_SOURCE
#include "pty.h"

static void interrupt_of(const char *code) {
  keys("kept = 12345\r");
  expect_prompt();
  keys(code);
  usleep(250000);
  pump(0);
  keys("\003");                            /* after a print the row's end may break the word */
  if (!wait_limit("interrupted", 3000) && !wait_limit("moth>", 10000)) fail("deaf to ^C:", code);
  expect_prompt();
  keys("kept + 1\r");
  expect("12346");
  expect_prompt();
  keys("\014");                            /* a clean screen for the next */
  settle();
}

static void t_interrupt(void) {
  interrupt_of("while true do end\r");
  interrupt_of("string.find(string.rep('a', 100000), '.*b')\r");
  interrupt_of("while true do pcall(function() while true do end end) end\r");
  interrupt_of("coroutine.wrap(function() while true do end end)()\r");
  interrupt_of(
      "t = {} for i = 1, 3e6 do t[i] = (i * 7919) % 1000003 end while true do table.sort(t) end\r");
  interrupt_of("io.read()\r");
  interrupt_of("while true do string.rep('x', 1000, 'y') end\r");
  interrupt_of("while true do print('line') end\r");
  interrupt_of("(('x'):rep(3e7)):gsub('.', '%0%0')\r");
}

/* Inside ops, files and prints: kernels poll, products are cut, a load is given up. */
static void t_tensor_interrupts(void) {
  char text[256];
  keys("big = torch.randn(2000, 2000); img = torch.randn(8, 32, 128, 128); w = torch.randn(32, 32, "
       "5, 5)\r");
  expect_prompt();
  interrupt_of("while true do local y = big:matmul(big) end\r");
  interrupt_of("while true do local y = big:sort() end\r");
  interrupt_of("while true do local y = F.conv2d(img, w) end\r");
  interrupt_of("l = torch.randn(500, 500, {requires_grad = true}); while true do "
               "(l:matmul(l)):exp():sum():backward() end\r");
  interrupt_of("while true do local y = torch.linalg.svd(big) end\r");
  interrupt_of("while true do print(big) end\r");
  interrupt_of("while true do pcall(function() big:cumsum(0):exp():sum() end) end\r");
  snprintf(text, sizeof text,
           "torch.save({a = big}, '%s/big.safetensors'); torch.save(big, '%s/big.pt')\r", tmp, tmp);
  keys(text);
  expect_prompt();
  snprintf(text, sizeof text,
           "while true do local y = torch.load('%s/big.safetensors').a:clone() local z = "
           "torch.load('%s/big.pt') end\r",
           tmp, tmp);
  interrupt_of(text);
  interrupt_of("for line in io.lines('/dev/zero', 1 << 20) do kept_line = #line end\r");
  interrupt_of("sys = require 'sys'; io.popen('sleep 30'):read('a')\r");
  keys("big:shape_or_not()\r");
  expect("error");
  keys("big.shape\r");
  expect("torch.Size([2000, 2000])");
}

/* Interrupts at random moments of random work; $PTY_INTERRUPTS says how many (30).  Nothing is
 * lost. */
static void t_random_interrupts(void) {
  static const char *const work[] = {
    "while true do local t = {} for i = 1, 100 do t[i] = {i} end end\r",
    "while true do string.find(string.rep('a', 5000), '.*b') end\r",
    "while true do local t = {} for i = 1, 5000 do t[i] = -i end table.sort(t) end\r",
    "while true do pcall(error, 'x') end\r",
    "while true do coroutine.wrap(function() coroutine.yield(1) end)() end\r",
    "while true do x = torch.randn(300, 300):add(1):mul(2) end\r",
    "while true do x = torch.ones(200, 200):matmul(torch.ones(200, 200)) end\r",
    "while true do print(('x'):rep(50)) end\r",
    "while true do load('return ' .. ('1 + '):rep(1000) .. '1')() end\r",
    "while true do local s = 'x' for i = 1, 1000 do s = s:gsub('x', 'xx', 1) end end\r"};
  const char *wanted = getenv("PTY_INTERRUPTS");
  int n = wanted ? atoi(wanted) : 30;
  long worst = 0;
  unsigned seed = 42;
  keys("kept = {}; for i = 1, 100 do kept[i] = i end\r");
  for (int i = 0; i < n && !case_failed; i++) {
    seed = seed * 1664525u + 1013904223u;
    keys(work[(seed >> 8) % (sizeof work / sizeof work[0])]);
    long until = now_ms() + 30 + (long)((seed >> 16) % 60);
    while (now_ms() < until) pump(2);
    long from = now_ms();
    keys("\003");
    /* the prompt is drawn in colour after the word */
    while (!(on_screen("interrupted") && strcmp(last_row(), "moth>") == 0) &&
           now_ms() - from < 5000)
      pump(5);
    long took = now_ms() - from;
    if (took > worst) worst = took;
    if (took >= 5000) fail("no prompt after interrupt of", work[(seed >> 8) % 10]);
    keys("\014");
    pump(20);
  }
  keys("table.concat(kept, '') == table.concat(kept) and #kept * 100\r");
  expect("10000");
  if (wanted) printf("%d interrupts, the slowest answer took %ld ms\n", n, worst);
}

int main(int argc, char **argv) {
  static const PtyCase cases[] = {
      {"interrupt", t_interrupt},
      {"tensor_interrupts", t_tensor_interrupts},
      {"random_interrupts", t_random_interrupts}};
  return pty_run(cases, sizeof cases / sizeof cases[0], argc > 1 ? argv[1] : NULL);
}
