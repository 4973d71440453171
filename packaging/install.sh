#!/bin/sh
# Installs wsgi-trace, one static program, from the files that `make dist` makes: wsgi-trace-ARCHITECTURE and SHA256SUMS.
#
# It asks no place but the one it is told, does not call sudo, and writes PREFIX/bin/wsgi-trace alone. What it fetches is
# compared with its checksum, and run once, before it replaces anything. Whatever fails leaves all as it was. A checksum
# finds damaged files; who can change one file at that place can change both: choose one that you trust, over https.
set -u
umask 022

usage() {
    cat <<'END'
Installs wsgi-trace from the files of a release.

Usage: sh install.sh --from URL|DIRECTORY [--prefix DIRECTORY] [--dry-run]
       sh install.sh --uninstall [--prefix DIRECTORY] [--dry-run]

  --from URL|DIRECTORY  where SHA256SUMS and wsgi-trace-ARCHITECTURE are; or the variable WSGI_TRACE_FROM
  --prefix DIRECTORY    installs DIRECTORY/bin/wsgi-trace (default: /usr/local)
  --uninstall           removes that file
  --dry-run             fetches, compares and says what it would do; changes nothing
  --help                this text

Exit codes: 0 done; 2 the command line is not valid or says no place; 3 no program for this machine; 4 a tool is missing
(curl or wget, sha256sum); 5 a file is not there or cannot be fetched; 6 the checksum is wrong or missing; 7 something
cannot be written (no permission, disk full); 8 the program does not run here; 129, 130, 143 a signal
END
}

work=''
made=''
newline='
'

# Leaves nothing behind: neither what was fetched nor directories that were made for it.
clean_up() {
    if [ -n "$work" ]; then rm -rf "$work"; fi
    # The deepest comes first.
    printf '%s' "$made" | while IFS= read -r directory; do rmdir "$directory" 2>/dev/null; done
}

# Ends with an exit code and a sentence.
fail() {
    code=$1
    shift
    printf 'install.sh: %s\n' "$*" >&2
    exit "$code"
}

has() { command -v "$1" >/dev/null 2>&1; }

# The release's name of this machine.
architecture() {
    system=$(uname -s)
    machine=$(uname -m)
    [ "$system" = Linux ] || fail 3 "wsgi-trace runs on Linux alone, and this is $system"
    case $machine in
        x86_64 | aarch64) ;;
        *) fail 3 "there is no wsgi-trace for $machine: it is built for x86_64 and aarch64" ;;
    esac
}

# Makes a directory and what is missing above it, and notes what was made.
make_directory() {
    [ ! -d "$1" ] || return 0
    make_directory "$(dirname "$1")" || return 1
    why=$(mkdir "$1" 2>&1) || return 1
    made="$1
$made"
}

# Refuses a place that cannot be written, before anything is fetched.
need_writable() {
    nearest=$1
    while [ ! -e "$nearest" ]; do nearest=$(dirname "$nearest"); done
    [ -d "$nearest" ] || fail 7 "$nearest is not a directory, so nothing can be installed in $1"
    [ -w "$nearest" ] || fail 7 "$nearest may not be written: run this as root, or name another place with --prefix"
}

# Fetches one file of the release into the working directory.
fetch() {
    case $from in
        http://* | https://*) ;;
        *)
            [ -f "$from/$1" ] || fail 5 "$from has no file $1"
            [ -r "$from/$1" ] || fail 5 "$from/$1 may not be read"
            why=$(cp "$from/$1" "$work/$1" 2>&1) || fail 7 "$1 cannot be written: $why"
            return
            ;;
    esac
    # Beside each the status with which it says that it could not write.
    if has curl; then
        full=23
        why=$(curl -sSfL --connect-timeout 20 -o "$work/$1" "$from/$1" 2>&1)
    elif has wget; then
        full=3
        why=$(wget -q -T 20 -O "$work/$1" "$from/$1" 2>&1)
    else
        fail 4 "neither curl nor wget is here: install one, or fetch the files and give --from their directory"
    fi
    status=$?
    [ "$status" -ne "$full" ] || fail 7 "$1 cannot be written: ${why:-the disk may be full}"
    [ "$status" -eq 0 ] || fail 5 "$from/$1 cannot be fetched: ${why:-it is not there, or nothing answers}"
}

# Compares a file with the line of its name.
compare() {
    wanted=''
    while read -r sum file; do
        if [ "${file#\*}" = "$1" ]; then wanted=$sum; fi
    done <"$work/SHA256SUMS"
    [ -n "$wanted" ] || fail 6 "SHA256SUMS has no checksum of $1: nothing was installed"
    found=$(sha256sum <"$work/$1") || fail 6 "the checksum of $1 cannot be computed: nothing was installed"
    [ "${found%% *}" = "$wanted" ] ||
        fail 6 "$1 has the checksum ${found%% *} and not $wanted: nothing was installed"
}

install_it() {
    architecture
    name=wsgi-trace-$machine
    has sha256sum || fail 4 "sha256sum is not here, so nothing could be compared: install coreutils"
    [ ! -d "$target" ] || fail 7 "$target is a directory"
    need_writable "$bin"
    place=${TMPDIR:-/tmp}
    # Where the program will be: a rename within a directory is one step.
    if [ "$dry_run" = no ]; then place=$bin && { make_directory "$bin" || fail 7 "$bin cannot be made: $why"; }; fi
    work=$(mktemp -d "$place/.wsgi-trace.XXXXXX" 2>/dev/null) || fail 7 "nothing can be written in $place"
    fetch SHA256SUMS
    fetch "$name"
    compare "$name"
    if [ "$dry_run" = yes ]; then echo "would install $from/$name as $target; nothing was changed" && return; fi
    chmod 755 "$work/$name"
    says=$("$work/$name" --version 2>&1) || fail 8 "$name does not run here, so nothing was installed: ${says##*"$newline"}"
    why=$(mv -f "$work/$name" "$target" 2>&1) || fail 7 "$target cannot be written: $why"
    made=''
    echo "installed $says as $target"
    case :${PATH:-}: in *:"$bin":*) ;; *) echo "$bin is not on the PATH: call it by its whole name" ;; esac
}

uninstall() {
    if [ ! -f "$target" ] && [ ! -L "$target" ]; then echo "$target is not there: nothing to remove" && return; fi
    need_writable "$bin"
    if [ "$dry_run" = yes ]; then echo "would remove $target; nothing was changed" && return; fi
    why=$(rm -f "$target" 2>&1) || fail 7 "$target cannot be removed: $why"
    echo "removed $target"
}

main() {
    from=${WSGI_TRACE_FROM:-} prefix=/usr/local dry_run=no task=install_it
    while [ $# -gt 0 ]; do
        case $1 in
            --from | --prefix)
                [ -n "${2:-}" ] || fail 2 "$1 needs a value; --help has more"
                if [ "$1" = --from ]; then from=$2; else prefix=$2; fi
                shift
                ;;
            --uninstall) task=uninstall ;;
            --dry-run) dry_run=yes ;;
            --help) usage && exit ;;
            *) fail 2 "$1 is not known here; --help has what is" ;;
        esac
        shift
    done
    case $task$from in
        install_it) fail 2 "--from must say where the release's files are, an address or a directory: it knows no public place" ;;
        install_ithttp://* | install_ithttps://*) ;;
        install_it*://*) fail 2 "$from is neither a directory nor an address that begins with https:// or http://" ;;
    esac
    case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
    from=${from%/} bin=${prefix%/}/bin
    target=$bin/wsgi-trace
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    "$task"
}

# At the end: a script that was cut on its way does nothing.
main "$@"
