#!/usr/bin/env bash
# Unpacks the interpreters of other Debian releases, with their C libraries, under .tools/interpreters, for `make
# gil-matrix`, installs bpftrace, which is its witness, and builds three of which Debian has the source alone: one without interpreter lock, in .tools/free-threaded
# (ten minutes, once), one with musl, in .tools/musl (three minutes, once), and one as uv installs it, in .tools/like-uv (eleven minutes, once). One of pyenv's is laid out as conda lays its own out, in .tools/conda-like. Nothing else is installed; apt's own state is not touched. What cannot be had is named, and the matrix goes on
# without it.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '[interpreters] %s\n' "$*" >&2; }
if ! command -v bpftrace >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing bpftrace"
    apt-get -qq update || true
    SYSTEMD_OFFLINE=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends bpftrace >/dev/null \
        || say "could not install bpftrace"
fi
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { say "no apt here"; exit 0; }
site=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(SITE)' | grep -E '/debian/?$' | sort -u | head -n 1)}
key=/usr/share/keyrings/debian-archive-keyring.gpg
[ -n "$site" ] && [ -f "$key" ] || { say "no Debian mirror, or no keyring of Debian's"; exit 0; }

# TYPE SUITE: a place for apt of its own, in $state and $options
prepare() {
    state=$(mktemp -d)
    mkdir -p "$state"/{etc,lists/partial,cache/archives/partial}
    : > "$state/status"
    printf 'Types: %s\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$1" "$site" "$2" "$key" > "$state/etc/s.sources"
    options=(-o Dir::Etc::sourcelist="$state/etc/s.sources" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::State::lists="$state/lists" -o Dir::Cache="$state/cache" -o Dir::State::status="$state/status"
        -o APT::Sandbox::User=root -o Acquire::Languages=none)
    apt-get "${options[@]}" -qq update
}

# SUITE VERSION
fetch() {
    local suite=$1 version=$2 place=$PWD/.tools/interpreters/$1-$2 state options
    [ -e "$place/usr/bin/python$version" ] && return
    say "fetching Python $version of $suite"
    mkdir -p "$place"
    prepare deb "$suite"
    (cd "$state" && apt-get "${options[@]}" -qq download "python$version-minimal" "libpython$version-minimal" \
        "libpython$version-stdlib" libc6 libexpat1 zlib1g libssl3t64 libffi8 libbz2-1.0 liblzma5 libzstd1)
    for package in "$state"/*.deb; do dpkg-deb -x "$package" "$place"; done
    rm -rf "$state"
}

# SUITE VERSION: Debian's debug build, with the files of the usual one that it shares
fetch_debug() {
    local suite=$1 version=$2 place=$PWD/.tools/interpreters/$1-$2-debug state options
    [ -e "$place/usr/bin/python${version}d" ] && return
    say "fetching the debug build of Python $version of $suite"
    mkdir -p "$place"
    prepare deb "$suite"
    (cd "$state" && apt-get "${options[@]}" -qq download "python$version-dbg" "libpython$version-dbg" \
        "libpython$version-minimal" "libpython$version-stdlib" libc6 libexpat1 zlib1g libssl3 libffi8 libbz2-1.0 liblzma5)
    for package in "$state"/*.deb; do dpkg-deb -x "$package" "$place"; done
    # bookworm's packages have libraries beside /usr too.
    if [ -d "$place/lib" ]; then cp -a "$place/lib/." "$place/usr/lib/"; fi
    # With the symbols of both builds, 200 MB that nothing here reads.
    rm -rf "$state" "$place/lib" "$place/lib64" "$place/usr/lib/debug"
}

# VERSION: as conda and uv lay them out. A small program in bin finds its library in lib, wherever both are.
lay_out_like_conda() {
    local version=$1 place=$PWD/.tools/conda-like from
    [ -e "$place/bin/python" ] && return
    from=$(ls -d "$HOME/.pyenv/versions/$version".* 2>/dev/null | sort -V | tail -n 1)
    [ -n "$from" ] && [ -e "$from/lib/libpython$version.so.1.0" ] && command -v cc >/dev/null || return
    say "laying out Python $version like conda"
    rm -rf "$place"
    mkdir -p "$place/bin" "$place/lib"
    # bpftrace puts no probe at an address within a symbol.
    strip --strip-all -o "$place/lib/libpython$version.so.1.0" "$from/lib/libpython$version.so.1.0"
    ln -s "$from/lib/python$version" "$place/lib/python$version"
    printf 'int Py_BytesMain(int, char **);\nint main(int count, char **words) { return Py_BytesMain(count, words); }\n' \
        | cc -x c - -x none "$place/lib/libpython$version.so.1.0" -Wl,-rpath,'$ORIGIN/../lib' -o "$place/bin/python"
}

# SUITE VERSION
build_free_threaded() {
    local suite=$1 version=$2 place=$PWD/.tools/free-threaded state options
    [ -e "$place/bin/python${version}t" ] && return
    command -v cc >/dev/null && command -v make >/dev/null && command -v xz >/dev/null || return
    say "building Python $version of $suite without interpreter lock"
    prepare deb-src "$suite"
    (cd "$state" && apt-get "${options[@]}" -qq source --download-only "python$version" \
        && tar -xf "python${version}"_*.orig.tar.xz && cd [Pp]ython*/ \
        && ./configure --quiet --disable-gil --disable-test-modules --without-ensurepip --prefix="$place" >configure.log 2>&1 \
        && nice make -j"$(nproc)" >make.log 2>&1 && make install >install.log 2>&1 \
        && strip --strip-all "$place/bin/python${version}t") || return
    rm -rf "$state"
}

# SUITE VERSION: with musl, which comes without the headers of other libraries: no ssl, no zlib
build_musl() {
    local suite=$1 version=$2 place=$PWD/.tools/musl state options compiler
    [ -e "$place/bin/python$version" ] && return
    if ! command -v musl-gcc >/dev/null && [ "$(id -u)" = 0 ]; then
        SYSTEMD_OFFLINE=1 DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends musl-tools >/dev/null || return
    fi
    command -v musl-gcc >/dev/null && command -v make >/dev/null && command -v xz >/dev/null || return
    say "building Python $version of $suite with musl"
    prepare deb-src "$suite"
    compiler=$state/musl-cc
    # musl-gcc names glibc's triplet where it is asked for its own, and configure refuses that.
    printf '#!/bin/sh\ncase "$*" in *print-multiarch*) echo %s-linux-musl; exit ;; esac\nexec musl-gcc "$@"\n' "$(uname -m)" > "$compiler"
    chmod +x "$compiler"
    (cd "$state" && apt-get "${options[@]}" -qq source --download-only "python$version" \
        && tar -xf "python${version}"_*.orig.tar.xz && cd [Pp]ython*/ \
        && PKG_CONFIG=/bin/false CC=$compiler ./configure --quiet --disable-test-modules --without-ensurepip \
            --prefix="$place" >configure.log 2>&1 \
        && nice make -j"$(nproc)" >make.log 2>&1 && make install >install.log 2>&1 \
        && strip --strip-all "$place/bin/python$version") || return
    rm -rf "$state"
}

# SUITE VERSION: as python-build-standalone builds those that uv installs (its cpython-unix/build-cpython.sh): by clang, with profiles, link-time optimization and
# BOLT, frame pointers, and library and modules within the program, which is stripped. The profiles are of a few tests, as its own are of more.
build_like_uv() {
    local suite=$1 version=$2 place=$PWD/.tools/like-uv llvm=19 state options packages skip
    [ -e "$place/bin/python$version" ] && return
    [ "$(uname -m)" = x86_64 ] && command -v make >/dev/null && command -v xz >/dev/null || return
    say "building Python $version of $suite as those are built that uv installs"
    prepare deb-src "$suite"
    packages=(clang-$llvm libclang-cpp$llvm libllvm$llvm libclang-common-$llvm-dev libclang-rt-$llvm-dev lld-$llvm llvm-$llvm bolt-$llvm libbolt-$llvm-dev)
    # BOLT 19 must not touch these: they jump to where labels point (configure's own default).
    skip=-skip-funcs=_PyEval_EvalFrameDefault,sre_ucs1_match/1,sre_ucs2_match/1,sre_ucs4_match/1
    # The compiler is this system's, unpacked beside the source.
    (cd "$state" && mkdir -p debs llvm && (cd debs && apt-get -qq download "${packages[@]}") 2>/dev/null \
        && for package in debs/*.deb; do dpkg-deb -x "$package" llvm; done \
        && export PATH="$state/llvm/usr/lib/llvm-$llvm/bin:$PATH" \
        && export LD_LIBRARY_PATH="$state/llvm/usr/lib/llvm-$llvm/lib:$state/llvm/usr/lib/x86_64-linux-gnu" \
        && export PROFILE_TASK="-m test --pgo test_array test_collections test_functools test_itertools test_json test_re test_struct" \
        && apt-get "${options[@]}" -qq source --download-only "python$version" \
        && tar -xf "python${version}"_*.orig.tar.xz && cd [Pp]ython*/ \
        && CC=clang CXX=clang++ MODULE_BUILDTYPE=static \
            CFLAGS="-fPIC -fno-omit-frame-pointer -mno-omit-leaf-frame-pointer -fstack-protector -fstack-clash-protection -g0" \
            LDFLAGS="-fuse-ld=lld -Wl,--exclude-libs,ALL -Wl,-z,relro -Wl,-z,now" \
            BOLT_COMMON_FLAGS="$skip" BOLT_INSTRUMENT_FLAGS="$skip" BOLT_APPLY_FLAGS="$skip -reorder-blocks=ext-tsp \
                -reorder-functions=cdsort -split-functions -split-strategy=cdsplit -icf=1 -inline-all -split-eh \
                -reorder-functions-use-hot-size -peepholes=none -jump-tables=aggressive -inline-ap -indirect-call-promotion=all \
                -dyno-stats -frame-opt=hot" \
            ./configure --quiet --enable-optimizations --with-lto=thin --enable-bolt --disable-test-modules --without-ensurepip --prefix="$place" \
            >configure.log 2>&1 \
        && nice make -j"$(nproc)" >make.log 2>&1 && make install >install.log 2>&1 \
        && llvm-strip --strip-all "$place/bin/python$version") || return
    rm -rf "$state"
}

fetch trixie 3.13 || say "no Python 3.13 of trixie"
fetch sid 3.14 || say "no Python 3.14 of sid"
fetch sid 3.15 || say "no Python 3.15 of sid"
fetch_debug bookworm 3.11 || say "no debug build of Python 3.11"
lay_out_like_conda 3.12 || say "no Python 3.12 of pyenv with a shared library"
build_musl trixie 3.13 || say "no Python 3.13 with musl"
build_like_uv trixie 3.13 || say "no Python 3.13 as uv installs it"
build_free_threaded trixie 3.13 || say "no Python 3.13 without interpreter lock"
