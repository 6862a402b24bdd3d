#!/bin/sh
# Installs the programs of other projects that the tests talk to, and what watches them, from Debian's
# packages. What is there already, of whatever version, is left alone, so this is cheap to call every
# time; what is missing is installed at the versions of Debian 12, with which the tests were written.
# Where that cannot be done here, it says what to do. No service is started.
set -eu

# COMMAND PACKAGE VERSION
parts='
nginx        nginx           1.22.1-*
redis-server redis-server    5:7.0.15-*
dnsmasq      dnsmasq-base    2.90-*
wrk          wrk             4.1.0-*
h2load       nghttp2-client  1.52.0-*
curl         curl            7.88.1-*
openssl      openssl         3.0.*
tcpdump      tcpdump         4.99.3-*
tshark       tshark          4.0.17-*
'
grpc='python3-grpcio=1.51.1-*'

# Debian puts servers where only root looks for them.
PATH=$PATH:/usr/sbin:/sbin

missing=$(
    echo "$parts" | while read -r command package version; do
        [ -z "$command" ] || command -v "$command" >/dev/null || printf '%s=%s ' "$package" "$version"
    done
    /usr/bin/python3 -c 'import grpc' 2>/dev/null || printf '%s' "$grpc"
)
[ -n "$missing" ] || exit 0

fail() {
    cat >&2 <<END
setup-tests.sh: $1
The tests need these packages of Debian 12 (other versions will probably do):
    $missing
Install them, or run this as root on Debian 12.
END
    exit 1
}

command -v apt-get >/dev/null || fail "there is no apt-get on this machine"
if [ "$(id -u)" -eq 0 ]; then
    root=
elif sudo -n true 2>/dev/null; then
    root='sudo -n'
else
    fail "packages are missing, and only root can install them"
fi

# A package's service would take the very ports that people use. Debian asks this file first.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $root tee "$policy" >/dev/null
    $root chmod 755 "$policy"
    trap '$root rm -f "$policy"' EXIT INT TERM
fi

echo "setup-tests.sh: installing $missing" >&2
$root apt-get update -qq || fail "apt-get could not update: see its message above"
# tshark asks whether everybody may capture; nobody is there to answer.
# shellcheck disable=SC2086 # a word a package
set -f
$root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends $missing >/dev/null ||
    fail "apt-get could not install them: see its message above"
