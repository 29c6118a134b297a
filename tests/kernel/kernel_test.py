"""The notebook kernel under a real Jupyter client: make kernel-test (needs jupyter_client and nbconvert)."""
import json, os, subprocess, sys, tempfile, time

moth = os.path.abspath(sys.argv[1])
home = tempfile.mkdtemp(prefix="moth-kernel-")
os.environ["JUPYTER_DATA_DIR"] = home
os.environ["JUPYTER_RUNTIME_DIR"] = os.path.join(home, "runtime")
passed = failed = 0


def test(name):
    def run(fn):
        global passed, failed
        try:
            fn()
            passed += 1
        except Exception as e:                      # one failing case must not hide the others
            failed += 1
            print(f"FAIL {name}: {type(e).__name__}: {e}")
    return run


def check(cond, what=""):
    if not cond:
        raise AssertionError(what)


subprocess.check_call([moth, "kernel", "install"], stdout=subprocess.DEVNULL)
subprocess.check_call([moth, "kernel", "install", "--name", "moth-signal", "--interrupt-mode", "signal"], stdout=subprocess.DEVNULL)
from jupyter_client.manager import start_new_kernel
import nbformat
from nbconvert.preprocessors import ExecutePreprocessor


def execute(kc, code, **kw):
    """Reply and outputs of one cell."""
    outputs = []
    reply = kc.execute_interactive(code, timeout=20, output_hook=lambda m: outputs.append((m["msg_type"], m["content"])), **kw)
    return reply["content"], outputs


for name in ("moth", "moth-signal"):
    km, kc = start_new_kernel(kernel_name=name, startup_timeout=20)

    @test(f"{name}: kernel_info")
    def _():
        info = kc.kernel_info(reply=True, timeout=10)["content"]
        check(info["implementation"] == "moth" and info["language_info"]["file_extension"] == ".lua")

    @test(f"{name}: results, streams, locals that live on")
    def _():
        r, out = execute(kc, "local x = torch.arange(3)\nprint('hi')\nx * 2")
        check(r["status"] == "ok", r)
        check(("stream", {"name": "stdout", "text": "hi\n"}) in out, out)
        result = [c for k, c in out if k == "execute_result"][0]
        check("tensor([0, 2, 4])" in result["data"]["text/plain"], result)
        r, out = execute(kc, "x:sum():item();")
        check(r["status"] == "ok" and not [1 for k, _ in out if k == "execute_result"], out)
        r, out = execute(kc, "io.stderr:write('oops')  io.write(1, ' ', 2)  os.execute('echo from a child')")
        text = {c["name"]: c["text"] for k, c in out if k == "stream"}
        check(text["stderr"] == "oops", out)
        check("from a child" in "".join(c["text"] for k, c in out if k == "stream"), out)

    @test(f"{name}: errors with traceback")
    def _():
        r, out = execute(kc, "local function f() return nothing.x end\nf()")
        check(r["status"] == "error" and r["traceback"], r)
        check("nothing" in r["evalue"], r)
        check([1 for k, c in out if k == "error"], out)
        r, out = execute(kc, "x = = 1")
        check(r["status"] == "error", r)

    @test(f"{name}: pictures and HTML")
    def _():
        r, out = execute(kc, "require('plot').line({1, 2, 3}, {title = 't'})")
        data = [c for k, c in out if k == "display_data"][0]["data"]
        import base64
        check(base64.b64decode(data["image/png"]).startswith(b"\x89PNG"), "png")
        check(data["image/svg+xml"].startswith("<svg"), "svg")
        r, out = execute(kc, "display.html('<b>bold</b>')  display.svg('<svg/>')  display(5)")
        kinds = [set(c["data"]) for k, c in out if k == "display_data"]
        check({"text/html", "text/plain"} in kinds and {"image/svg+xml", "text/plain"} in kinds, kinds)
        r, out = execute(kc, "require('plot').figure{}:line({1, 2})")
        check("image/png" in [c for k, c in out if k == "execute_result"][0]["data"])

    @test(f"{name}: complete, inspect, is_complete, history")
    def _():
        c = kc.complete("torch.sof", reply=True, timeout=10)["content"]
        check("softmax" in c["matches"] and c["cursor_start"] == 6 and c["cursor_end"] == 9, c)
        c = kc.complete("s = 'é'; torch.sof", reply=True, timeout=10)["content"]
        check("softmax" in c["matches"] and c["cursor_start"] == 15, c)
        i = kc.inspect("torch.softmax(", 9, reply=True, timeout=10)["content"]
        check(i["found"] and "softmax" in i["data"]["text/plain"], i)
        i = kc.inspect("no_such_thing_at_all", 3, reply=True, timeout=10)["content"]
        check(i["status"] == "ok" and not i["found"], i)
        for code, want in (("x = 1", "complete"), ("for i = 1, 2 do", "incomplete"), ("x = = 1", "invalid")):
            mid = kc.is_complete(code)
            m = kc.get_shell_msg(timeout=10)
            check(m["parent_header"]["msg_id"] == mid)
            s = m["content"]["status"]
            check(s == want, (code, s))
        h = kc.history(hist_access_type="tail", n=5, reply=True, timeout=10)["content"]["history"]
        check(h and h[-1][2].startswith("require('plot').figure"), h)

    @test(f"{name}: input")
    def _():
        def answer(m):
            kc.input("forty-two")
        r, out = execute(kc, "print('got ' .. io.read())", allow_stdin=True, stdin_hook=answer)
        check(any("got forty-two" in c.get("text", "") for k, c in out), out)

    @test(f"{name}: interrupt")
    def _():
        for code in ("while true do end", "local a = torch.randn(3000, 3000); while true do a = a:matmul(a) end", "pcall(function() while true do end end)"):
            mid = kc.execute(code)
            time.sleep(0.7)
            start = time.time()
            km.interrupt_kernel()
            while True:
                m = kc.get_shell_msg(timeout=10)
                if m["parent_header"]["msg_id"] == mid:
                    break
            took = time.time() - start
            check(m["content"]["status"] == "error", m["content"])
            check(took < 2, f"{took:.2f} s")
        r, out = execute(kc, "x:numel()")
        check([c for k, c in out if k == "execute_result"][0]["data"]["text/plain"] == "3", out)

    @test(f"{name}: heartbeat while busy")
    def _():
        mid = kc.execute("local t = os.clock() while os.clock() - t < 2 do end")
        time.sleep(0.3)
        check(kc.is_alive() and kc.hb_channel.is_beating())
        kc.get_shell_msg(timeout=10)

    kc.stop_channels()
    km.shutdown_kernel(now=False)

    @test(f"{name}: shutdown")
    def _():
        check(not km.is_alive())


@test("a wrong signature is ignored")
def _():
    from jupyter_client import KernelManager
    km = KernelManager(kernel_name="moth")
    km.start_kernel()
    kc = km.client()
    kc.start_channels()
    kc.wait_for_ready(timeout=20)
    good = kc.session.key
    kc.session.key = b"not the key"
    kc.execute("evil = 1")
    kc.session.key = good
    time.sleep(0.3)
    r = kc.execute_interactive("if evil then error('ran') end", timeout=10, output_hook=lambda m: None)
    check(r["content"]["status"] == "ok", r["content"])
    kc.stop_channels()
    km.shutdown_kernel(now=True)


@test("nbconvert runs our notebook")
def _():
    here = os.path.dirname(os.path.abspath(__file__))
    nb = nbformat.read(os.path.join(here, "tour.ipynb"), as_version=4)
    ExecutePreprocessor(timeout=60, kernel_name="moth").preprocess(nb, {"metadata": {"path": home}})
    outputs = [o for c in nb.cells if c.cell_type == "code" for o in c.outputs]
    check(any(o.output_type == "execute_result" for o in outputs))
    check(any("image/png" in o.get("data", {}) for o in outputs))


@test("jupyter nbconvert --execute, the command")
def _():
    here = os.path.dirname(os.path.abspath(__file__))
    r = subprocess.run([sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--stdout", os.path.join(here, "tour.ipynb")],
                       capture_output=True, timeout=120)
    check(r.returncode == 0, r.stderr[-500:])
    check(b"image/png" in r.stdout and b"tensor(" in r.stdout)


print(f"{passed} passed, {failed} failed")
sys.exit(1 if failed else 0)
