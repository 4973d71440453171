#!/usr/bin/env bash
# Installs what `make bench` compares with: Debian packages (as root), Python tools under .tools/bench. Idempotent; what
# cannot be installed is named here and in the tables, and the benchmark goes on without it.
set -euo pipefail
cd "$(dirname "$0")/.."

py_spy=$(sed -n 's/^py-spy *= *"\(.*\)"/\1/p' xtask/pins.toml)
telemetry=$(sed -n 's/^mod_wsgi-telemetry *= *"\(.*\)"/\1/p' xtask/pins.toml)
tools=.tools/bench

say() { printf '[bench] %s\n' "$*" >&2; }

packages=()
need() { command -v "$1" >/dev/null || packages+=("$2"); }
need wrk wrk
need strace strace
need perf linux-perf
need bpftrace bpftrace
need redis-server redis-server
need redis-benchmark redis-tools
need valgrind valgrind
if [ ${#packages[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing ${packages[*]}"
    apt-get -qq update || true
    # One by one: one that this distribution lacks must not keep the others away.
    for package in "${packages[@]}"; do
        SYSTEMD_OFFLINE=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$package" >/dev/null \
            || say "could not install $package"
    done
elif [ ${#packages[@]} -gt 0 ]; then
    say "without ${packages[*]}; for them run  sudo apt-get install ${packages[*]}"
fi

# NAME PYTHON PACKAGE...: a virtual environment of its own.
environment() {
    local venv=$tools/$1 python=$2 stamp
    shift 2
    stamp="$("$python" --version) $*"
    if [ "$(cat "$venv/stamp" 2>/dev/null)" != "$stamp" ]; then
        say "installing $*"
        if "$python" -m venv --clear "$venv" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; then
            printf '%s\n' "$stamp" >"$venv/stamp"
        else
            say "could not install $*"
        fi
    fi
}
mkdir -p "$tools"
environment venv python3 "py-spy==$py_spy"
mod_wsgi=$(grep '^mod_wsgi==' tests/requirements-apache.txt)
[ ! -x /usr/bin/apxs ] || environment venv-apache /usr/bin/python3 "$mod_wsgi" "mod_wsgi-telemetry==$telemetry"
