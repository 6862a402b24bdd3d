"""Whole runs of guests: `timecraft run` against `wasmtime run`, in turn, and the median of the pairs.

Usage: bench-runs.py TIMECRAFT WASMTIME TESTDATA
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
    "-W", "epoch-interruption=y", "-W", "nan-canonicalization=y",
    "-W", "relaxed-simd-deterministic=y", "-W", "threads=n", "-W", "max-wasm-stack=8388608",
    "-C", "cache=y",
]


def seconds(command, env):
    start = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    timecraft, wasmtime, testdata = sys.argv[1:]
    guests = Path(testdata).resolve()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        env = dict(os.environ, HOME=str(work), XDG_CACHE_HOME=str(work / "cache"))
        (work / "data").mkdir()
        (work / "data/in").write_bytes(os.urandom(1 << 20) * 64)
        data = str(work / "data")
        runs = {
            "start-up (hello)": ("guests/hello.wasm", []),
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
            commands = {
                "wasmtime": [wasmtime, "run", *ENGINE, *dirs_w, module, *args],
                "blind": [timecraft, "run", "--fly-blind", *dirs_t, module, *args],
                "recorded": [timecraft, "run", *dirs_t, module, *args],
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


if __name__ == "__main__":
    main()
