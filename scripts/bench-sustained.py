"""What a recorder sustains: guests that run for many times as long as the buffers of the tail last,
recorded and with --fly-blind in turn, beside the compressor alone on the same bytes in the same run.

Usage: bench-sustained.py CAPTURE_BUILD ZSTD_RATE TESTDATA [WORKLOAD]

ZSTD_RATE is the example `zstd_rate` of the crate `segment`. WORKLOAD (write, copy, python, work)
keeps one. It takes some 20 GB on the disk and a quarter of an hour. ROUNDS and SECONDS are variables
of the environment.
"""

import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = int(os.environ.get("ROUNDS", 3))
SECONDS = int(os.environ.get("SECONDS", 10))
# What a guest writes again and again: many times what the compressor's window holds.
PAYLOAD = 64 << 20
COPIED = 1 << 30
MB = 1e6


class Log:
    """What the footers of a log's segments say (segment/FORMAT.md)."""

    HEADER = 128

    def __init__(self, home):
        self.batches = self.raw_batches = self.records = self.raw_bytes = self.stall_ns = 0
        segments = sorted(Path(home).rglob("*.seg"))
        self.stored = sum(path.stat().st_size for path in segments)
        for path in segments:
            self.footer(path)

    def footer(self, path):
        with open(path, "rb") as file:
            file.seek(-16, os.SEEK_END)
            length, _, magic = struct.unpack("<II8s", file.read(16))
            assert magic == b"TCSEAL\r\n", path
            file.seek(-16 - length, os.SEEK_END)
            index = file.read(length)
        (count,) = struct.unpack_from("<I", index, 8)
        at = 12
        for _ in range(count):
            header = index[at + 8 : at + 8 + self.HEADER]
            stored, _, literals = struct.unpack_from("<III", header, 88)
            self.batches += 1
            # What does not shrink is stored as it is, too.
            self.raw_batches += literals > 0 and stored == literals
            self.records += struct.unpack_from("<I", header, 16)[0]
            self.raw_bytes += struct.unpack_from("<Q", header, 120)[0]
            at += 8 + self.HEADER
        end = json.loads(index[at + 4 :]).get("end")
        if end:
            self.stall_ns = end["stall_ns"]


class Run:
    """One run of a guest: its line, how long it took as a whole, its memory, its log."""

    def __init__(self, binary, work, blind, dirs, module, args):
        # What the run before left to be written is not this one's to wait for.
        os.sync()
        home = work / "home"
        shutil.rmtree(home / ".timecraft", ignore_errors=True)
        env = dict(os.environ, HOME=str(home), XDG_CACHE_HOME=str(work / "cache"))
        grants = [part for host, guest in dirs for part in ("--dir", f"{host}::{guest}")]
        command = [binary, "run", *(["--fly-blind"] if blind else []), *grants, str(module), *args]
        since = time.perf_counter()
        # To a file: a pipe that nobody reads could fill.
        with open(work / "output", "w+") as output:
            child = subprocess.Popen(command, env=env, stdout=output)
            samples = []
            while True:
                ended, status, usage = os.wait4(child.pid, os.WNOHANG)
                self.seconds = time.perf_counter() - since
                if ended:
                    break
                samples.append((self.seconds, memory(child.pid)))
                time.sleep(0.002 if self.seconds < 1 else 0.02)
            child.returncode = os.waitstatus_to_exitcode(status)
            assert child.returncode == 0, command
            # Of all threads: what others do on the machine disturbs it less than the time.
            self.cpu = usage.ru_utime + usage.ru_stime
            output.seek(0)
            line = output.read()
        words = (word.partition("=") for word in line.split())
        self.guest = {key: int(value) for key, _, value in words if value.isdigit()}
        # At two seconds, and the most after that.
        late = [kib for at, kib in samples if at >= 2 and kib > 0]
        self.memory = (late[0] / 1024, max(late) / 1024) if late else None
        self.log = None if blind else Log(home)
        shutil.rmtree(home, ignore_errors=True)


def memory(pid):
    """Resident memory in KiB, the tail's included."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmRSS")), 0)
    except OSError:
        return 0


def median(values):
    return statistics.median(values)


def pairs(runs):
    return [(runs(blind=True), runs(blind=False)) for _ in range(ROUNDS)]


def memory_of(runs):
    seen = [run.memory for run in runs if run.memory]
    if not seen:
        return "-"
    return f"{median(at for at, _ in seen):.0f} / {max(most for _, most in seen):.0f}"


def logs_of(runs):
    """Tail buffers filled, payload batches that were stored raw, and the wait for the log."""
    buffers = min(run.log.raw_bytes for run in runs) >> 20
    raw = median(run.log.raw_batches / run.log.batches for run in runs)
    stall = median(run.log.stall_ns / 1e9 / run.seconds for run in runs)
    return f"{buffers} | {100 * raw:.0f}% | {100 * stall:.0f}%"


def zstd_alone(zstd_rate, path, seconds=2, target=None):
    """How many bytes zstd makes of a file, and bytes a second; with a target, to the same disk."""
    command = [zstd_rate, path, str(seconds), *([target] if target else [])]
    made, rate = subprocess.check_output(command, text=True).split()
    return int(made), float(rate)


def payloads(work, testdata):
    """A text and a file of noise, as often as they fit into what is copied."""
    sources = sorted(testdata.parent.rglob("*.rs")) + sorted(testdata.parent.rglob("*.c"))
    text = b"".join(path.read_bytes() for path in sources)
    noise = os.urandom(PAYLOAD)
    text = (text * (PAYLOAD // len(text) + 1))[:PAYLOAD]
    for name, data in (("text", text), ("noise", noise)):
        (work / "data" / name).write_bytes(data)
        with open(work / "data" / f"{name}.large", "wb") as file:
            for _ in range(COPIED // PAYLOAD):
                file.write(data)
    return ["text", "noise"]


def writes(run, zstd_rate, data, names):
    print("\n| writes of | blind, MB/s | recorded, MB/s | recorded, calls/s | time, recorded / blind "
          "| zstd alone, MB/s | zstd to the disk, MB/s | recorded / zstd | recorded / zstd to the disk "
          "| log / zstd | p99.9 blind, us | p99.9 recorded, us "
          "| longest, ms | buffers | raw | waiting | memory at 2 s / most, MiB |")
    print("|---" * 17 + "|")
    for name in names:
        for size in (64, 4096, 65536):
            rates, disk, rounds = [], [], []
            for _ in range(ROUNDS):
                rates.append(zstd_alone(zstd_rate, data / name))
                os.sync()
                disk.append(zstd_alone(zstd_rate, data / name, 4, data / "out")[1])
                (data / "out").unlink()
                args = ["write", f"/data/{name}", str(size)]
                rounds.append((
                    run(True, "guests/steady.wasm", [*args, str(min(SECONDS, 4)), "/data/out"]),
                    run(False, "guests/steady.wasm", [*args, str(SECONDS), "/data/out"]),
                ))
            rate = lambda r: size * r.guest["rounds"] / r.guest["ns"] * 1e9
            zstd = median(r for _, r in rates)
            recorded = [r for _, r in rounds]
            # The guest has read its payload first, which is in the log as well.
            stored = lambda r: r.log.stored / (size * r.guest["rounds"] + PAYLOAD) * PAYLOAD
            print(
                f"| {size} bytes, {name} | {median(rate(b) for b, _ in rounds) / MB:.0f} "
                f"| {median(map(rate, recorded)) / MB:.0f} "
                f"| {median(2 * rate(r) / size for r in recorded):.0f} "
                f"| {median(rate(b) / rate(r) for b, r in rounds):.2f} | {zstd / MB:.0f} "
                f"| {median(disk) / MB:.0f} "
                f"| {median(rate(r) / z for (_, r), (_, z) in zip(rounds, rates)):.2f} "
                f"| {median(rate(r) / z for (_, r), z in zip(rounds, disk)):.2f} "
                f"| {median(stored(r) / m for r, (m, _) in zip(recorded, rates)):.2f} "
                f"| {median(b.guest['p999'] / 1e3 for b, _ in rounds):.1f} "
                f"| {median(r.guest['p999'] / 1e3 for r in recorded):.1f} "
                f"| {median(r.guest['max'] / 1e6 for r in recorded):.0f} "
                f"| {logs_of(recorded)} | {memory_of(recorded)} |",
                flush=True,
            )


def whole_runs(run, cases):
    print("\n| guest | blind, s | recorded, s | recorded / blind | goal | CPU, recorded / blind "
          "| log, MB | log / zstd "
          "| buffers | raw | waiting | memory at 2 s / most, MiB |")
    print("|---" * 12 + "|")
    for name, (module, args, goal, made) in cases.items():
        run(True, module, args)  # compiles, fills the caches
        rounds = pairs(lambda blind: run(blind, module, args))
        recorded = [r for _, r in rounds]
        # Where the guest has a clock, starting it is not measured.
        took = lambda r: r.guest["ns"] / 1e9 if "ns" in r.guest else r.seconds
        stored = median(r.log.stored for r in recorded)
        print(
            f"| {name} | {median(took(b) for b, _ in rounds):.2f} | {median(map(took, recorded)):.2f} "
            f"| {median(took(r) / took(b) for b, r in rounds):.3f} | {goal} "
            f"| {median(r.cpu / b.cpu for b, r in rounds):.3f} | {stored / MB:.0f} "
            f"| {f'{stored / made:.2f}' if made else '-'} | {logs_of(recorded)} | {memory_of(recorded)} |",
            flush=True,
        )


def main():
    binary, zstd_rate, testdata, *only = sys.argv[1:]
    testdata = Path(testdata).resolve()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        data = work / "data"
        data.mkdir()
        dirs = [(data, "/data"), (testdata / "python", "/script")]

        def run(blind, module, args):
            return Run(binary, work, blind, dirs, testdata / module, args)

        wanted = lambda name: not only or name in only
        names = payloads(work, testdata) if wanted("write") or wanted("copy") else []
        cases = {}
        if wanted("copy"):
            for name in names:
                made, _ = zstd_alone(zstd_rate, data / f"{name}.large", 0)
                for piece in (4, 64):
                    args = [f"/data/{name}.large", "/data/out", str(piece << 10)]
                    case = f"copy of 1 GiB of {name} by {piece} KiB"
                    cases[case] = ("guests/copy.wasm", args, "2.0", made)
        if wanted("python"):
            again = ("import runpy, sys\nsys.argv[1:] = ['/data']\n"
                     "for _ in range(4000): runpy.run_path('/script/script.py', run_name='script')")
            cases["CPython, script.py 4000 times"] = ("build/python/python.wasm", ["-c", again], "1.05", None)
        if wanted("work"):
            # The fastest of some, so that the work is no shorter on a machine that does other things.
            spins = 20_000_000
            spin = min(
                run(True, "guests/steady.wasm", ["spin", str(spins)]).guest["ns"] for _ in range(5)
            )
            work_10_us = round(10_000 * spins / spin)
            args = ["work", "/data/small", str(SECONDS * 50_000), str(work_10_us)]
            cases["64 bytes written and read, 10 us of work before each"] = (
                "guests/steady.wasm", args, "1.02", None)
        if wanted("write"):
            writes(run, zstd_rate, data, names)
        if cases:
            whole_runs(run, cases)


if __name__ == "__main__":
    main()
