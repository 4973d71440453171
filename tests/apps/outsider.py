"""A process beside the server, which the server waits for again and again.

In: `lock PATH HOLD_MS FREE_MS` (locks a file), `database PATH HOLD_MS FREE_MS` (the write lock of an SQLite database, which it makes),
`open PATH EVERY_MS` (opens a named pipe for writing, for who waits to read), `drain PATH EVERY_MS` (reads from a full pipe),
`stop PID,… HOLD_MS FREE_MS` (stops processes and lets them go on). NOTES_DIRECTORY from the environment. Out: a line `ready`; notes of when
it held or had stopped what. It ends after a minute, whatever happens, and lets go on what it has stopped.
"""

import fcntl
import os
import signal
import sqlite3
import sys
import time

from notes import ENTER, LEAVE, Notes

# Its step in notes.
OUTSIDE = 12
LONGEST_SECONDS = 60
PIPE_BYTES = 65536


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


KINDS = {"lock": lock, "database": database, "open": open_pipe, "drain": drain, "stop": stop}


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
