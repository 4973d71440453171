"""Threads that want the interpreter lock while something odd happens to them or to their process.

In: what (plain, fork, end, filter, keep, greenlets, duty), and for `two` the other interpreter. Out: a listener whose port is
printed; each connection is answered with a line.
"""
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading
import time

WHAT = sys.argv[1]
keep_lock_and_sleep = ctypes.PyDLL(None).usleep
release_lock_and_sleep = ctypes.CDLL(None).usleep


def compute(steps):
    total = 0
    for step in range(steps):
        total += step * step
    return total


def compute_for_ever():
    while True:
        compute(2_000)


def compute_for_a_moment():
    """Long enough that others wait for the lock when the thread ends, and have made it give the lock up before."""
    end = time.monotonic() + 0.012
    while time.monotonic() < end:
        compute(500)


def start(work, count=1):
    for _ in range(count):
        threading.Thread(target=work, daemon=True).start()


def fork_again_and_again():
    while True:
        child = os.fork()
        if child == 0:
            compute(2_000)
            os._exit(0)
        os.waitpid(child, 0)


def start_threads_that_end():
    while True:
        threads = [threading.Thread(target=compute_for_a_moment) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def kill_for_calls_of_probes():
    """What containers do with system calls that they do not know, harder: uretprobe and uprobe kill, whatever is newer than
    460 fails."""

    class Instruction(ctypes.Structure):
        _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint)]

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Instruction))]

    kill, fail, allow = 0x80000000, 0x00050001, 0x7FFF0000
    steps = [(0x20, 0, 0, 0), (0x15, 3, 0, 335), (0x15, 2, 0, 336), (0x35, 2, 0, 460), (6, 0, 0, allow), (6, 0, 0, kill), (6, 0, 0, fail)]
    array = (Instruction * len(steps))(*(Instruction(*step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    program = Program(len(steps), array)
    assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0, os.strerror(ctypes.get_errno())


def keep_the_lock():
    while True:
        keep_lock_and_sleep(400_000)
        release_lock_and_sleep(1_000)


def run_queue_ns():
    with open("/proc/thread-self/schedstat", "rb") as file:
        return int(file.read().split()[1])


HOLD_US, SLEEP_US, TURNS = 11_000, 2_000, 60
BOTH = threading.Barrier(2)


def oversleep_ns(count=21):
    """By how much a sleep is longer than asked for on this machine, as a rule: the slack of its timers, and waking."""
    over = []
    for _ in range(count):
        begun = time.monotonic_ns()
        keep_lock_and_sleep(SLEEP_US)
        over.append(time.monotonic_ns() - begun - SLEEP_US * 1000)
    return sorted(over)[count // 2]


def duty(results, over_ns):
    """Keeps the lock for 11 ms and sleeps for 2 ms without it, by turns with another thread that does the same: the rest of its
    time it waits."""
    BOTH.wait()
    queue, begun = run_queue_ns(), time.monotonic_ns()
    for _ in range(TURNS):
        keep_lock_and_sleep(HOLD_US)
        release_lock_and_sleep(SLEEP_US)
    wall = time.monotonic_ns() - begun
    results.append(
        {
            "tid": threading.get_native_id(),
            "wall_ns": wall,
            "waited_ns": wall - TURNS * ((HOLD_US + SLEEP_US) * 1000 + 2 * over_ns),
            "run_queue_ns": run_queue_ns() - queue,
        }
    )


def run_duty():
    results, over_ns = [], oversleep_ns()
    threads = [threading.Thread(target=duty, args=(results, over_ns)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return json.dumps(results).encode()


def answer(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall((run_duty() if WHAT == "duty" else b"ok") + b"\n")


if WHAT == "greenlets":
    import gevent
    import gevent.server

    def serve(connection, _address):
        compute(500)
        connection.sendall(b"ok\n")

    def compute_and_yield():
        while True:
            compute(2_000)
            gevent.sleep(0)

    server = gevent.server.StreamServer(("127.0.0.1", 0), serve)
    server.start()
    start(compute_for_ever)
    for _ in range(2):
        gevent.spawn(compute_and_yield)
        gevent.get_hub().threadpool.spawn(compute_for_ever)
    print(server.server_port, flush=True)
    gevent.wait()

listener = socket.create_server(("127.0.0.1", 0))
if WHAT == "filter":
    kill_for_calls_of_probes()
if WHAT != "duty":
    start(compute_for_ever, 2)
if WHAT == "fork":
    start(fork_again_and_again)
elif WHAT == "end":
    start(start_threads_that_end)
elif WHAT == "keep":
    start(keep_the_lock)
elif WHAT == "two":
    child = subprocess.Popen([sys.argv[2], __file__, "plain"], stdout=subprocess.DEVNULL)
print(listener.getsockname()[1], flush=True)
answer(listener)
