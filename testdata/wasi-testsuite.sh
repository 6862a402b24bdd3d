#!/bin/sh
# Runs the WASI preview 1 programs of a checkout of WebAssembly/wasi-testsuite, recorded and with
# --fly-blind, prints a table, and fails where one of them does.
# Usage: [TIMECRAFT=BINARY] wasi-testsuite.sh DIR [NAME...]
set -eu
[ $# -ge 1 ] || { echo "usage: $0 DIR [NAME...]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${TIMECRAFT:-}" ]; then
    # The build that only records is enough, and the fastest to have.
    target=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/timecraft/target}
    export CARGO_TARGET_DIR="$target"
    cargo build --manifest-path "$here/../Cargo.toml" --locked -q -p timecraft --no-default-features
    TIMECRAFT=$target/debug/timecraft
fi
exec python3 "$here/wasi-testsuite.py" "$TIMECRAFT" "$@"
