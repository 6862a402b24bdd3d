#!/bin/sh
# Prints the tables of BENCHMARKS.md. A release build from nothing takes half an hour on two cores.
# The guests are those of `make testdata`; `wasmtime run`, of the same version as the engine in
# Cargo.lock, is built beside them.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
engine=$(cargo metadata --locked --format-version 1 |
    python3 -c 'import json, sys
print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "wasmtime"))')

echo "## Machine"
printf '%s, %s cores, %s, Linux %s, %s\n' \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)" "$(nproc)" \
    "$(awk '/MemTotal/ {printf "%d GiB", $2 / 1048576}' /proc/meminfo)" \
    "$(uname -r)" "$(df --output=fstype "${TMPDIR:-/tmp}" | tail -1)"

echo "## What recording adds to a call"
cargo bench --locked -q -p timecraft-runtime --bench calls 2>/dev/null
echo "## The log alone"
cargo bench --locked -q -p timecraft-segment --bench log
echo "## HTTP/1"
cargo bench --locked -q -p timecraft-udfs --bench http
echo "## HTTP/2"
cargo bench --locked -q -p timecraft-udfs --bench http2
echo "## Decoding DNS, rows built, one core"
cargo bench --locked -q -p timecraft-udfs --bench dns
echo "## Whole runs, against wasmtime run, and SQL in place"
cargo build --locked -q --release -p timecraft
scripts/capture-build.sh size
tools=$target/bench-tools
[ "$("$tools/bin/wasmtime" --version 2>/dev/null | cut -d' ' -f2)" = "$engine" ] ||
    CARGO_TARGET_DIR=$target/bench-tools/target cargo install -q --locked --root "$tools" \
        --version "$engine" --no-default-features --features run,cranelift,cache wasmtime-cli
python3 scripts/bench-runs.py "$target/release/timecraft" \
    "$target/capture/timecraft-stripped" "$tools/bin/wasmtime" testdata
echo "## What is sustained"
cargo build --locked -q --release -p timecraft-segment --example zstd_rate
python3 scripts/bench-sustained.py "$target/capture/timecraft-stripped" \
    "$target/release/examples/zstd_rate" testdata
echo "## Guests that talk"
scripts/setup-tests.sh
python3 scripts/bench-network.py "$target/capture/timecraft-stripped" testdata
