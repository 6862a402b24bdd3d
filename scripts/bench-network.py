"""Guests that talk: an HTTP server guest under wrk, recorded and with --fly-blind in turn, and the
median of the pairs; then the memory that recording a conversation of a gigabyte takes.

Usage: bench-network.py CAPTURE_BUILD TESTDATA

The guest is `go-serve.wasm` of `make testdata`; wrk and curl come from scripts/setup-tests.sh. It takes
some 6 GB on the disk and ten minutes. ROUNDS and SECONDS are variables of the environment.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROUNDS = int(os.environ.get("ROUNDS", 10))
SECONDS = int(os.environ.get("SECONDS", 10))
GOAL = 0.97
GB = 10**9

# What is asked for, and over how many connections at once.
LOADS = {
    "a line of text": ("/", 64),
    "64 KiB": ("/large?bytes=65536", 64),
    "1 MiB": ("/large?bytes=1048576", 16),
}

# wrk rounds what it prints by itself.
DONE = """
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("done %d %d %d %d\\n", summary.requests, summary.duration,
        latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % listener.getsockname()[1]


class Guest:
    """A server that runs from `with` to the end of its block, where it is asked to end."""

    def __init__(self, binary, testdata, work, blind):
        # What the run before left to be written is not this one's to wait for.
        os.sync()
        home = work / "home"
        shutil.rmtree(home / ".timecraft", ignore_errors=True)
        self.address = free_address()
        self.child = subprocess.Popen(
            [
                binary, "run", *(["--fly-blind"] if blind else []), "--listen", self.address,
                str(testdata / "build/go-serve.wasm"), self.address,
            ],
            env=dict(os.environ, HOME=str(home), XDG_CACHE_HOME=str(work / "cache")),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self):
        line = self.child.stdout.readline()
        assert self.address in line, line
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.child.kill()
            return
        self.curl("/stop")
        self.child.stdout.read()
        assert self.child.wait() == 0

    def url(self, path):
        return f"http://{self.address}{path}"

    def curl(self, path, *args):
        subprocess.run(
            ["curl", "-qsS", "--fail", *args, self.url(path)], check=True, stdout=subprocess.DEVNULL
        )

    def load(self, path, connections, script):
        """Requests a second, and how long one in a hundred took at least, in milliseconds."""
        said = subprocess.run(
            ["wrk", "-t", "1", "-c", str(connections), "-d", f"{SECONDS}s", "--timeout", "30s",
             "-s", str(script), self.url(path)],
            check=True, capture_output=True, text=True,
        ).stdout
        done = next(line for line in said.splitlines() if line.startswith("done "))
        requests, duration, late, errors = (int(n) for n in done.split()[1:])
        assert errors == 0, said
        return requests / (duration / 1e6), late / 1e3

    def memory(self):
        """The most that it had in memory so far, in MiB."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the kernel does not say how much memory a process had")


def throughput(guest, script):
    print(f"\n{ROUNDS} pairs of {SECONDS} s; goal: {GOAL} of the throughput.\n")
    print("| answer | connections | blind, requests/s | recorded, requests/s | recorded / blind "
          "| blind, p99 ms | recorded, p99 ms |")
    print("|---|---|---|---|---|---|---|")
    for name, (path, connections) in LOADS.items():
        rounds = []
        for number in range(ROUNDS):
            pair = {}
            # Which goes first alternates, since what the machine does besides may drift.
            for blind in (True, False) if number % 2 else (False, True):
                with guest(blind) as server:
                    server.curl(path)
                    pair[blind] = server.load(path, connections, script)
            rounds.append(pair)
        median = lambda f: statistics.median(f(r) for r in rounds)
        print(
            f"| {name} | {connections} | {median(lambda r: r[True][0]):.0f} "
            f"| {median(lambda r: r[False][0]):.0f} "
            f"| {median(lambda r: r[False][0] / r[True][0]):.3f} "
            f"| {median(lambda r: r[True][1]):.1f} | {median(lambda r: r[False][1]):.1f} |",
            flush=True,
        )


def memory(guest, work):
    print("\nThe most memory that the process had after so much of one conversation, in MiB.\n")
    print("| conversation | 0.1 GB | 0.5 GB | 1 GB |")
    print("|---|---|---|---|")
    body = work / "body"
    for name in ("sent by the guest", "received and sent back"):
        marks = []
        with guest(False) as server:
            for size in (GB // 10, GB * 4 // 10, GB // 2):
                if name == "sent by the guest":
                    server.curl(f"/large?bytes={size}")
                else:
                    # Half of it each way; a file without a byte on the disk.
                    with open(body, "wb") as file:
                        file.truncate(size // 2)
                    server.curl("/echo", "--expect100-timeout", "0", "-T", str(body), "-X", "POST")
                marks.append(server.memory())
        print(f"| {name} | " + " | ".join(f"{m:.0f}" for m in marks) + " |", flush=True)


def main():
    binary, testdata = sys.argv[1:]
    testdata = Path(testdata).resolve()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        script = work / "done.lua"
        script.write_text(DONE)
        guest = lambda blind: Guest(binary, testdata, work, blind)
        # Compiles the guest, which every run would measure else.
        with guest(True):
            pass
        throughput(guest, script)
        memory(guest, work)


if __name__ == "__main__":
    main()
