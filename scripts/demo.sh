#!/bin/sh
# Records a real guest, a C program that walks a file tree, and asks three questions about the run.
# Usage: demo.sh TIMECRAFT
set -eu
timecraft=$1
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

say() { printf '\n\033[1m%s\033[0m\n' "$1"; }
[ -t 1 ] || say() { printf '\n%s\n' "$1"; }
run() {
    printf '$ timecraft %s\n' "$*"
    "$timecraft" --registry "$work/registry" "$@"
}
cd "$root"

say "A C program, compiled to WebAssembly, walks testdata/c. It sees that folder and nothing else."
run run --name demo --dir testdata/c::/src:ro testdata/guests/tree.wasm /src

say "1. What ran, and how did it end?"
run sql "select name, module_name, status, exit_code, records, stored_bytes from processes"

say "2. What did it ask of its host, how often, and how long did that take?"
run sql "select function, count(*) as calls, sum(bytes) as bytes, sum(duration_ns) / 1000 as microseconds
         from host_calls group by function order by calls desc, function limit 8"

say "3. What did it print, and when?"
run sql "select record_offset, stream, line, text from log_lines order by record_offset desc limit 5"

say "Every host call of the run is in the log. More: README.md"
