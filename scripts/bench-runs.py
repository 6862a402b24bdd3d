"""Whole runs of guests: `timecraft run` against `wasmtime run`, in turn, and the median of the pairs;
then queries over ten million recorded calls, on one core.

Usage: bench-runs.py TIMECRAFT CAPTURE_BUILD WASMTIME TESTDATA
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 11

# What timecraft sets that changes what a guest costs (runtime/src/engine.rs), as wasmtime's flags.
ENGINE = [
    # A timeout that never comes: with epoch interruption alone, wasmtime ends the guest at once.
    "-W", "timeout=3600s", "-W", "nan-canonicalization=y",
    "-W", "relaxed-simd-deterministic=y", "-W", "threads=n", "-W", "max-wasm-stack=8388608",
    "-C", "cache=y",
]


def seconds(command, env):
    start = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


QUERIES = [
    "select function, count(*), sum(bytes) from host_calls group by function",
    "select count(*) from host_calls where function = 'fd_write' and fd > 2",
    "select max(duration_ns), sum(elapsed_ns) from host_calls where errno = 0",
    "select count(args) from host_calls where record_offset < 100000",
]


def query(timecraft, env, text, runs=5):
    """Median seconds on one core, and the most memory a run held, in MiB."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        child = subprocess.Popen(
            ["taskset", "-c", "0", timecraft, "sql", text], env=env, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(child.pid, 0)
        assert status == 0, text
        times.append(time.perf_counter() - start)
    return statistics.median(times), usage.ru_maxrss // 1024


def sql_in_place(timecraft, guests, env, data):
    calls = 10_000_000
    module = str(guests / "guests/calls.wasm")
    home = dict(env, HOME=env["HOME"] + "/sql")
    os.makedirs(home["HOME"])
    seconds(
        [timecraft, "run", "--dir", f"{data}::/data", module, "mixed", str(calls), "/data/calls"], home
    )
    stored = sum(f.stat().st_size for f in Path(home["HOME"]).rglob("*.seg"))
    empty, _ = query(timecraft, home, "select 1")
    print(f"\nA log of {calls} calls in {stored >> 20} MiB; `select 1` takes {empty:.3f} s, taken out.\n")
    print("| query | million records a second a core | peak memory, MiB |")
    print("|---|---|---|")
    for text in QUERIES:
        took, memory = query(timecraft, home, text)
        print(f"| `{text}` | {calls / (took - empty) / 1e6:.1f} | {memory} |", flush=True)


def main():
    timecraft, capture, wasmtime, testdata = sys.argv[1:]
    guests = Path(testdata).resolve()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        env = dict(os.environ, HOME=str(work), XDG_CACHE_HOME=str(work / "cache"))
        (work / "data").mkdir()
        (work / "data/in").write_bytes(os.urandom(1 << 20) * 64)
        data = str(work / "data")
        runs = {
            "start-up (hello)": ("guests/hello.wasm", []),
            "start-up (hello), capture build": ("guests/hello.wasm", []),
            "CPU-bound (cpu 200)": ("guests/cpu.wasm", ["200"]),
            "copy of 64 MiB in 4 KiB pieces": ("guests/copy.wasm", ["/data/in", "/data/out"]),
            "a million clock readings": ("guests/calls.wasm", ["clock", "1000000"]),
            "CPython (script.py)": ("build/python/python.wasm", ["/script/script.py", "/data"]),
        }
        print("| guest | wasmtime run, s | blind, s | blind / wasmtime | recorded, s | recorded / blind |")
        print("|---|---|---|---|---|---|")
        for name, (module, args) in runs.items():
            module = str(guests / module)
            script = str(guests / "python")
            dirs_t = ["--dir", f"{data}::/data", "--dir", f"{script}::/script:ro"]
            dirs_w = ["--dir", f"{data}::/data", "--dir", f"{script}::/script"]
            ours = capture if "capture build" in name else timecraft
            commands = {
                "wasmtime": [wasmtime, "run", *ENGINE, *dirs_w, module, *args],
                "blind": [ours, "run", "--fly-blind", *dirs_t, module, *args],
                "recorded": [ours, "run", *dirs_t, module, *args],
            }
            for command in commands.values():
                seconds(command, env)  # compiles, fills the caches
            rounds = [{k: seconds(c, env) for k, c in commands.items()} for _ in range(ROUNDS)]
            median = lambda f: statistics.median(f(r) for r in rounds)
            print(
                f"| {name} | {median(lambda r: r['wasmtime']):.4f} | {median(lambda r: r['blind']):.4f} "
                f"| {median(lambda r: r['blind'] / r['wasmtime']):.2f} "
                f"| {median(lambda r: r['recorded']):.4f} "
                f"| {median(lambda r: r['recorded'] / r['blind']):.2f} |",
                flush=True,
            )
        sql_in_place(timecraft, guests, env, data)


if __name__ == "__main__":
    main()
