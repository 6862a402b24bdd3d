"""Runs the prebuilt wasm32-wasip1 programs of a checkout of WebAssembly/wasi-testsuite.

Usage: wasi-testsuite.py TIMECRAFT DIR [NAME...]

A program NAME.wasm may have a manifest NAME.json beside it: `args`, `env`, `root` (a folder that the
program gets as its `/`), and what must come of it, `exit_code`, `stdout`, `stderr`. The checkout is
only read: every run gets a copy of its folder. A run must be over within a minute.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TIMEOUT = 60  # seconds
MODES = {"recorded": [], "blind": ["--fly-blind"]}
KNOWN = {"args", "env", "root", "exit_code", "stdout", "stderr"}


def manifest_of(program):
    path = program.with_suffix(".json")
    manifest = json.loads(path.read_text()) if path.exists() else {}
    if unknown := set(manifest) - KNOWN:
        sys.exit(f"error: {path} says what this script does not know: {', '.join(sorted(unknown))}")
    return manifest


def processes(registry):
    return [p for p in registry.glob("processes/*/*") if p.is_dir()]


def run(timecraft, program, manifest, mode, work):
    """Runs a program once; returns why it failed, or nothing."""
    registry = work / "registry"
    # The user's configuration stays out of it; modules are compiled once for both modes.
    env = {"PATH": os.environ.get("PATH", ""), "HOME": str(work)}
    command = [timecraft, "--registry", registry, "run", *MODES[mode]]
    for name, value in manifest.get("env", {}).items():
        command += ["--env", f"{name}={value}"]
    if root := manifest.get("root"):
        copy = work / "root"
        shutil.copytree(program.parent / root, copy, symlinks=True)
        command += ["--dir", f"{copy}::/"]
    command += ["--", program, *manifest.get("args", [])]
    try:
        done = subprocess.run(command, env=env, input=b"", capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"not over after {TIMEOUT} s"
    finally:
        shutil.rmtree(work / "root", ignore_errors=True)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode != (expected := manifest.get("exit_code", 0)):
        said = [line for line in said if "panicked" in line or "error" in line] or said
        return f"exit status {done.returncode}, not {expected}: {' / '.join(said[:3])}"
    for stream, text in ("stdout", done.stdout), ("stderr", done.stderr):
        # What timecraft itself says on standard error is not the program's.
        expected = manifest.get(stream, "").encode()
        if stream in manifest and not (text == expected if stream == "stdout" else expected in text):
            return f"{stream} is {text!r}, not {expected!r}"
    recordings = processes(registry)
    shutil.rmtree(registry, ignore_errors=True)
    if len(recordings) != (mode == "recorded"):
        return f"{len(recordings)} recordings"
    return None


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    timecraft, suite, wanted = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    programs = sorted(suite.resolve().glob("tests/*/testsuite/wasm32-wasip1/*.wasm"))
    programs = [p for p in programs if not wanted or p.stem in wanted]
    if not programs:
        sys.exit(f"error: no programs under {suite}; the branch with built ones is prod/testsuite-base")
    print(f"{'program':52} {'recorded':8} {'blind':8} reason")
    failed = 0
    for program in programs:
        manifest = manifest_of(program)
        with tempfile.TemporaryDirectory() as work:
            reasons = {m: run(timecraft, program, manifest, m, Path(work)) for m in MODES}
        name = f"{program.parts[-4]}/{program.stem}"
        cells = " ".join(f"{'FAIL' if reason else 'ok':8}" for reason in reasons.values())
        print(f"{name:52} {cells} {'; '.join(dict.fromkeys(filter(None, reasons.values())))}".rstrip())
        failed += any(reasons.values())
    print(f"{len(programs) - failed} of {len(programs)} programs pass, recorded and blind")
    sys.exit(1 if failed else 0)


main()
