#!/bin/sh
# The capture build, `--no-default-features`, is for hosts that only record.
#   capture-build.sh tree   fails where Arrow, DataFusion or tokio are in its dependencies
#   capture-build.sh size   builds it in release and fails where it is 20 MB or more, stripped
set -eu
cd "$(dirname "$0")/.."
case ${1:-} in
tree)
    tree=$(cargo tree --locked -p timecraft --no-default-features -e normal --prefix none)
    if heavy=$(printf '%s\n' "$tree" | grep -E '^(arrow|datafusion|parquet|tokio)(-[a-z-]+)? v'); then
        printf 'error: the capture build must not depend on:\n%s\n' "$heavy" >&2
        exit 1
    fi
    echo "the capture build has neither Arrow nor DataFusion nor tokio"
    ;;
size)
    target=${CARGO_TARGET_DIR:-target}
    # A folder of its own: the same package with other features would be built over and over.
    CARGO_TARGET_DIR=$target/capture cargo build --locked --release -p timecraft --no-default-features
    binary=$target/capture/timecraft-stripped
    strip -o "$binary" "$target/capture/release/timecraft"
    size=$(wc -c <"$binary")
    echo "the capture build has $size bytes, stripped"
    if [ "$size" -ge 20000000 ]; then
        echo "error: that is not under 20 MB" >&2
        exit 1
    fi
    ;;
*)
    echo "usage: capture-build.sh tree|size" >&2
    exit 2
    ;;
esac
