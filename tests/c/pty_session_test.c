/* pty_session_test.c: a session on a pseudo-terminal: results, locals, errors, completion, help,
 * commands, history and how a session ends. */
#define _GNU_SOURCE
#include "pty.h"

static void t_echo(void) {
  keys("1 + 1\r");
  expect("2");
  keys("x = {1, 2, a = 'b'}\rx\r");
  expect("{ 1, 2, a = \"b\" }");
  keys("7 * 6;\r_ + 100000\r");
  expect("100042");
  keys("'a', 'b'\r");
  expect("\"b\"");
  keys("_1 + 40000\r");
  expect("40002");
  expect_prompt();
}

static void t_locals(void) {
  keys("local n = 10\rlocal function inc() n = n + 1 return n end\rinc()\r");
  expect("11");
  keys("n * 1000\r");
  expect("11000");
  keys("local n = 5; local k <const> = 7\rinc() * 100\r");
  expect("1200");                          /* inc keeps its own n */
  keys("n + k\r");
  expect("12");
  keys("k = 1\r");
  expect("attempt to assign to const variable 'k'");
  keys("local a, b = 3; error('boom')\ra * 700\r");
  expect("2100");
  expect_prompt();
}

static void t_errors(void) {
  keys("strng.rep('x', 3)\r");
  expect("attempt to index a nil value (global 'strng') (did you mean 'string'?)");
  expect("^~~~~");
  keys("('x'):rpe(3)\r");
  expect("method 'rpe'");
  keys("t = {value = 1}; t.valeu.x = 1\r");
  expect("did you mean 'value'?");
  keys("function outer() error('deep') end\router()\r");
  expect("called from [");
  expect_prompt();
}

static void t_complete(void) {
  keys("string.for\t");
  settle();
  expect("string.format");
  keys("\025math.s\t");
  expect("sqrt");
  keys("\t");
  settle();
  expect("moth> math.sin");
  keys("\033");
  settle();
  keys("\025math.sq\t");
  settle();
  expect("moth> math.sqrt");
  keys("(16)\r");
  expect("4.0");
  keys("whi\t");
  settle();
  expect("moth> while");
  keys("\025mine = {first = 1, fist = 2}\rmine.fi\t");
  expect("fist");
  keys("\033");
  settle();
  keys("\025require 'repl.sug\t");
  settle();
  expect("require 'repl.suggest");
  keys("\025");
  expect_prompt();
}

static void t_hint(void) {
  keys("string.find(");
  expect("find(s, pattern, init=1, plain=false)");
  keys("\025function mul(left, right) return left * right end\r");
  expect_prompt();
  keys("mul(");
  expect("mul(left, right)");
  settle();
  keys("\025");
  expect_prompt();
  lacks("mul(left, right)\n");
}

static void t_torch_hints(void) {
  keys("x = torch.randn(3, 4)\r");
  expect_prompt();
  keys("x:softmax(");
  expect("softmax(dim");
  keys("\025torch.zeros(2, {dtype = torch.fl\t");
  settle();
  expect("float");
  lacks("floor");
  keys("\033");
  settle();
  keys("\025x:sum(1, {k\t");
  settle();
  expect("{keepdim =");
  keys("\025nn.Lin\t");
  settle();
  expect("nn.Linear");
  keys("\025");
  expect_prompt();
}

/* API.md's own examples, line by line as one would paste them. */
static void t_contract(void) {
  static const char *const lines[] = {
      "x = torch.ones(2, 3)",
      "x:sum(1, {keepdim = true})",
      "torch.zeros(2, 3, {dtype = torch.float64})",
      "torch.tensor({{1, 2}, {3, 4}})",
      "torch.sum{x, dim = -1, keepdim = true}",
      "a, b = x, x",
      "torch.cat{a, b, dim = 1}",
      "torch.tensor{{1, 2}, dtype = torch.int64}",
      "local values, indices = x:max(1)",
      "values",
      "indices",
      "x.shape[':-1'] .. {3}",
      "x.shape == {2, 3}",
      "#x",
      "torch.complex(1, 2)",
      "torch.device('cpu')",
      "x['1:3, ..., None, ::2'].shape",
      "x[{0, ':'}]",
      "x[torch.slice(1, 2)]",
      "x['0, :'] = 1",
      "x[x:gt(0)] = 2",
      "x:eq(0)",
      "x:any():item()",
      "torch.no_grad(function() return x + 1 end)",
      "local _ <close> = torch.no_grad()",
      "local Exp = torch.autograd.Function:extend('Exp')",
      "function Exp.forward(ctx, v) local y = v:exp() ctx:save_for_backward(y) return y end",
      "function Exp.backward(ctx, g) local y = ctx:saved_tensors() return g * y end",
      "v = torch.ones(2, {requires_grad = true})",
      "Exp.apply(v):sum():backward()",
      "v.grad",
      "local Net = nn.Module:extend('Net')",
      "function Net:init(d) self.fc = nn.Linear(d, d) self.w = nn.Parameter(torch.ones(d)) end",
      "function Net:forward(x) return self.fc(x) * self.w end",
      "net = Net(8)",
      "net(torch.ones(1, 8)).shape",
      "for name, p in net:named_parameters() do print(name, p.shape) end",
      "nn.Sequential{{'fc', nn.Linear(2, 2)}, {'act', nn.ReLU()}}",
      "sd = net:state_dict()",
      "net:load_state_dict(sd, {strict = true})",
      "opt = optim.AdamW(net:parameters(), {lr = 1e-3})",
      "opt:zero_grad()",
      "json = require 'json'",
      "json.decode('[1, null]')[2] == json.null"};
  for (size_t i = 0; i < sizeof lines / sizeof lines[0] && !case_failed; i++) {
    keys("\014");
    settle();
    keys(lines[i]);
    keys("\r");
    expect_prompt();
    if (on_screen("error:")) fail("an error from", lines[i]);
  }
  expect("true");
}

static void t_help(void) {
  keys("?string.rep\r");
  expect("n copies of s");
  keys("string.rep?\r");
  expect_prompt();
  keys("help(string.upper)\r");
  expect("letters made capital");
  keys("apropos \"bytecode\"\r");
  expect("string.dump");
  keys("?nosuchthing\r");
  expect("nothing is documented under 'nosuchthing'");
  expect_prompt();
}

static void t_commands(void) {
  keys("who_a = 5\r%who\r");
  expect("who_a");
  keys("%time 1 + 1\r");
  expect("(CPU");
  keys("%tme 1\r");
  expect("did you mean %time?");
  keys("!echo shell-$((1+1))\r");
  expect("shell-2");
  keys("%mem\r");
  expect("Lua ");
  char text[200];
  snprintf(text, sizeof text,
           "local sv = 12\r%%save %s/s.lua\rsv = 1\r%%restore %s/s.lua\rsv * 100\r", tmp, tmp);
  keys(text);
  expect("1200");
  expect_prompt();
}

static void t_exit(void) {
  keys("\004");
  if (wait_exit(5000) != 0) fail("status of ^D is not", "0");
  stop();
  start();
  keys("os.exit(7)\r");
  if (wait_exit(5000) != 7) fail("status is not", "7");
}

static void t_hangup(void) {
  keys("x = 1\r");
  settle();
  close(master);
  master = -1;
  int status;
  for (int i = 0; i < 500; i++) {
    if (waitpid(child, &status, WNOHANG) == child) {
      child = 0;
      return;
    }
    usleep(10000);
  }
  fail("still running after the terminal", "closed");
}

/* The terminal goes away while Lua or C works, also inside pcall. */
static void t_hangup_running(void) {
  static const char *const work[] = {
      "while true do end\r", "while true do pcall(error) end\r", "while true do print(1) end\r",
      "y = torch.randn(3000, 3000); while true do x = y:matmul(y) end\r"};
  for (size_t i = 0; i < sizeof work / sizeof work[0]; i++) {
    if (i) start();
    keys("before = 1\r");
    expect_prompt();
    keys(work[i]);
    usleep(100000);
    close(master);
    master = -1;
    int status = 0, k = 0;
    while (waitpid(child, &status, WNOHANG) != child && ++k < 1000) usleep(10000);
    if (k >= 1000) return fail("still running after the terminal closed:", work[i]);
    child = 0;
    if (WIFSIGNALED(status) && WTERMSIG(status) != SIGHUP) fail("died badly of", work[i]);
  }
  TermBuf h = history_text();
  if (!strstr(h.s, "before = 1\n")) fail("history lost", h.s);
  term_buf_free(&h);
}

static void t_kill(void) {
  keys("precious = 4711\r");
  expect_prompt();
  kill(child, SIGKILL);
  stop();
  TermBuf h = history_text();
  if (!strstr(h.s, "precious = 4711\n")) fail("history lost", h.s);
  term_buf_free(&h);
  start();
  keys("prec");
  expect("precious = 4711");
}

static void t_full_disk(void) {
  stop();
  const char *env[] = {"MOTH_HISTORY=/dev/full", NULL};
  start_with(24, 80, env);
  expect("moth>");
  keys("1 + 1\r");
  expect("history is not being saved");
  keys("20 + 22\r");
  expect("42");
  keys("\033[A\033[A");
  settle();
  expect("moth> 1 + 1");
}

/* Writes a file into the folder of this run; returns nothing, the tests see what is missing. */
static void write_file(const char *name, const char *text) {
  char path[160];
  snprintf(path, sizeof path, "%s/%s", tmp, name);
  FILE *f = fopen(path, "w");
  if (!f) return;
  fputs(text, f);
  fclose(f);
}

static void t_edit(void) {
  write_file("editor", "#!/bin/sh\necho 'edited_here = 6 * 7' >> \"$1\"\n");
  char editor[96];
  snprintf(editor, sizeof editor, "EDITOR=sh %s/editor", tmp);
  stop();
  const char *env[] = {editor, NULL};
  start_with(24, 80, env);
  expect("moth>");
  keys("%edit\r");
  expect("edited_here");
  keys("edited_here + 1\r");
  expect("43");
  keys("typed = 1\030");                          /* ^X: the block being typed */
  expect("edited_here = 6 * 7");
  keys("\rtyped + edited_here\r");
  expect("43");
  expect_prompt();
}

static void t_reload(void) {
  char text[200];
  write_file("fresh.lua", "return { value = 'old one' }\n");
  snprintf(text, sizeof text, "package.path = '%s/?.lua;' .. package.path\r", tmp);
  keys(text);
  keys("fresh = require 'fresh'; keep = fresh; fresh.value\r");
  expect("old one");
  write_file("fresh.lua", "return { value = 'new one' }\n");
  keys("%reload fresh\r");
  expect("loaded fresh");
  keys("keep.value\r");
  expect("new one");
  write_file("fresh.lua", "return {\n");
  keys("%reload fresh\r");
  expect("error");
  keys("keep.value .. '!'\r");
  expect("new one!");
  keys("%reload nosuch\r");
  expect("no module 'nosuch'");
  expect_prompt();
}

static void t_measuring(void) {
  keys("x = torch.ones(4)\r%timeit x + 1\r");
  expect("1 tensor allocated");
  expect("per call, median");
  expect_prompt();
  keys("%prof for i = 1, 50 do y = x * 2 end\r");
  expect("mul");
  expect_prompt();
  char text[160];
  snprintf(text, sizeof text, "%%prof -t %s/trace.json y = x * 2\r", tmp);
  keys(text);
  expect("can be opened in");
  snprintf(text, sizeof text, "#require('json').load('%s/trace.json').traceEvents > 0\r", tmp);
  keys(text);
  expect("true");
  keys("%history\r");
  expect("%prof for i");
  keys("%tour\r");
  expect_prompt();
}

/* The first minute of a person who knows PyTorch: what is typed is no Lua yet. */
static void t_python(void) {
  keys("import torch\r");
  expect("torch, nn, F and optim are there already");
  keys("x = torch.arange(12):view(3, 4)\rx[1:3]\r");
  expect("write  x[\"1:3\"]");
  keys("for i in range(3):\r"); /* Enter does not wait for the end of such a block */
  expect("write  for i = 0, 2 do ... end");
  keys("x.sum(dim=1)\r");
  expect("write  x:sum({dim = 1})");
  keys("x:sum({dim = 1})\r");
  expect("tensor([ 6, 22, 38])");
  keys("x[3]\r");
  expect("indices begin at 0: 0 to 2");
  keys("v = x['1:']\rv\r");
  expect("view of x");
  keys("torch.manual_seed(0)\r'quiet'\r");
  expect("quiet");
  lacks("initial_seed");
  expect_prompt();
}

/* Eight sessions write their histories at once: no entry is lost or mixed. */
static void t_parallel(void) {
  enum { SESSIONS = 8, ENTRIES = 12 };
  pid_t pids[SESSIONS];
  stop();
  fflush(stdout);
  for (int k = 0; k < SESSIONS; k++) {
    pids[k] = fork();
    if (pids[k]) continue;
    char text[64];
    case_failed = false;
    start();
    for (int i = 0; i < ENTRIES; i++) {
      snprintf(text, sizeof text, "parallel_%d_%d = 1\r", k, i);
      keys(text);
    }
    keys("'end' .. 'ed'\r");
    expect("ended");
    stop(); /* kill -9: what was entered is there all the same */
    _exit(case_failed);
  }
  for (int k = 0; k < SESSIONS; k++) {
    int status = 0;
    waitpid(pids[k], &status, 0);
    if (status != 0) fail("a session of eight", "failed");
  }
  TermBuf b = history_text();
  for (int k = 0; k < SESSIONS; k++) {
    for (int i = 0; i < ENTRIES; i++) {
      char want[64];
      snprintf(want, sizeof want, "parallel_%d_%d = 1\n", k, i);
      if (!strstr(b.s, want)) fail("lost from the history", want);
    }
  }
  term_buf_free(&b);
}

int main(int argc, char **argv) {
  static const PtyCase cases[] = {
      {"echo", t_echo},
      {"locals", t_locals},
      {"errors", t_errors},
      {"complete", t_complete},
      {"hint", t_hint},
      {"torch_hints", t_torch_hints},
      {"contract", t_contract},
      {"help", t_help},
      {"commands", t_commands},
      {"exit", t_exit},
      {"hangup", t_hangup},
      {"hangup_running", t_hangup_running},
      {"kill", t_kill},
      {"full_disk", t_full_disk},
      {"edit", t_edit},
      {"reload", t_reload},
      {"measuring", t_measuring},
      {"python", t_python},
      {"parallel", t_parallel}};
  return pty_run(cases, sizeof cases / sizeof cases[0], argc > 1 ? argv[1] : NULL);
}
