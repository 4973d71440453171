"""A process beside the server, which the server waits for again and again.

In: `lock PATH HOLD_MS FREE_MS` (locks a file), `keep PATH HOLD_MS FREE_MS` (a file is there), `database PATH HOLD_MS FREE_MS` (the write lock of an SQLite database, which it makes),
`open PATH EVERY_MS` (opens a named pipe for writing, for who waits to read), `drain PATH EVERY_MS` (reads from a full pipe),
`stop PID,… HOLD_MS FREE_MS` (stops processes and lets them go on), `trace …` the same by ptrace, `freeze CGROUP HOLD_MS FREE_MS` (freezes a
group of processes), `stall MOUNT HOLD_MS FREE_MS` (freezes a file system), `compute` (takes a CPU), `ask_endless HOST:PORT/ROUTE HOLD_MS FREE_MS COUNT` (opens requests that do
not end before it leaves). NOTES_DIRECTORY from the environment. Out: a line `ready`; notes of when
it held or had stopped what. It ends after a minute, whatever happens, and lets go on what it has stopped.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import sqlite3
import sys
import threading
import time

from notes import ENTER, LEAVE, Notes

# Its step in notes.
OUTSIDE = 12
LONGEST_SECONDS = 60
PIPE_BYTES = 65536
# ptrace(2)
DETACH, SEIZE, INTERRUPT = 17, 0x4206, 0x4207
WAIT_FOR_ALL = 0x40000000
# FIFREEZE and FITHAW of linux/fs.h
FREEZE_FILE_SYSTEM, THAW_FILE_SYSTEM = 0xC0045877, 0xC0045878
# As in `composed.py`.
ENDLESS = 1 << 41


class Over(Exception):
    """It is asked to end."""


def hold(notes, hold_ms):
    notes(0, OUTSIDE, ENTER)
    time.sleep(hold_ms / 1000)
    notes(0, OUTSIDE, LEAVE)


def lock(notes, path, hold_ms, free_ms):
    with open(path, "w+b") as file:
        yield
        while True:
            fcntl.flock(file, fcntl.LOCK_EX)
            hold(notes, hold_ms)
            fcntl.flock(file, fcntl.LOCK_UN)
            time.sleep(free_ms / 1000)
            yield


def keep_file(notes, path, hold_ms, free_ms):
    yield
    while True:
        with open(path, "w", encoding="ascii"):
            hold(notes, hold_ms)
        os.unlink(path)
        time.sleep(free_ms / 1000)
        yield


def database(notes, path, hold_ms, free_ms):
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute("CREATE TABLE t (x)")
    yield
    while True:
        connection.execute("BEGIN IMMEDIATE")
        hold(notes, hold_ms)
        connection.execute("COMMIT")
        time.sleep(free_ms / 1000)
        yield


def open_pipe(_, path, every_ms):
    os.mkfifo(path)
    yield
    while True:
        time.sleep(every_ms / 1000)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            pass  # Nobody waits to read.
        yield


def drain(_, path, every_ms):
    os.mkfifo(path)
    # For both: it is never at its end, and its other end can be opened at any time.
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    yield
    while True:
        time.sleep(every_ms / 1000)
        try:
            os.read(descriptor, PIPE_BYTES)
        except BlockingIOError:
            pass
        yield


def stop(notes, pids, hold_ms, free_ms):
    pids = [int(pid) for pid in pids.split(",")]
    yield
    try:
        while True:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            hold(notes, hold_ms)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            time.sleep(free_ms / 1000)
            yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long


def seize(pid, seized):
    """Stops each thread of a process, those too that begin meanwhile."""
    while new := [int(tid) for tid in os.listdir(f"/proc/{pid}/task") if int(tid) not in seized]:
        for tid in new:
            if LIBC.ptrace(SEIZE, tid, None, None) == 0 and LIBC.ptrace(INTERRUPT, tid, None, None) == 0:
                os.waitpid(tid, WAIT_FOR_ALL)
            seized.add(tid)


def trace(notes, pids, hold_ms, free_ms):
    yield
    while True:
        seized = set()
        try:
            for pid in pids.split(","):
                seize(pid, seized)
            hold(notes, hold_ms)
        finally:
            for tid in seized:
                LIBC.ptrace(DETACH, tid, None, None)
        time.sleep(free_ms / 1000)
        yield


def freeze(notes, group, hold_ms, free_ms):
    def tell(is_frozen):
        with open(os.path.join(group, "cgroup.freeze"), "w", encoding="ascii") as file:
            file.write(str(int(is_frozen)))

    yield
    while True:
        try:
            tell(True)
            hold(notes, hold_ms)
        finally:
            tell(False)
        time.sleep(free_ms / 1000)
        yield


def stall(notes, mount, hold_ms, free_ms):
    if not os.path.ismount(mount):
        raise SystemExit(f"{mount} is no file system of its own")
    descriptor = os.open(mount, os.O_RDONLY)
    yield
    while True:
        fcntl.ioctl(descriptor, FREEZE_FILE_SYSTEM, 0)
        try:
            hold(notes, hold_ms)
        finally:
            fcntl.ioctl(descriptor, THAW_FILE_SYSTEM, 0)
        time.sleep(free_ms / 1000)
        yield


def read_all(connection):
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


def ask_endless(notes, where, hold_ms, free_ms, count):
    address, route = where.split("/")
    host, port = address.rsplit(":", 1)
    number = ENDLESS
    yield
    while True:
        connections = [socket.create_connection((host, int(port))) for _ in range(int(count))]
        for connection in connections:
            number += 1
            connection.sendall(
                b"GET /%s/%d HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % (route.encode(), number)
            )
            threading.Thread(target=read_all, args=(connection,), daemon=True).start()
        hold(notes, hold_ms)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        time.sleep(free_ms / 1000)
        yield


def compute_all_the_time(_, _what):
    yield
    while True:
        for _ in range(100_000):
            pass
        yield


KINDS = {
    "compute": compute_all_the_time,
    "lock": lock,
    "database": database,
    "keep": keep_file,
    "open": open_pipe,
    "drain": drain,
    "stop": stop,
    "trace": trace,
    "freeze": freeze,
    "stall": stall,
    "ask_endless": ask_endless,
}


def end(*_):
    raise Over


def main():
    kind, what, *times = sys.argv[1:]
    signal.signal(signal.SIGTERM, end)
    turns = KINDS[kind](Notes(os.environ["NOTES_DIRECTORY"]), what, *map(float, times))
    next(turns)
    print("ready", flush=True)
    over = time.monotonic() + LONGEST_SECONDS
    try:
        while time.monotonic() < over:
            next(turns)
    except (Over, ProcessLookupError):
        turns.close()


if __name__ == "__main__":
    main()
