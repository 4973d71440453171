"""A thread that keeps the interpreter lock in the C library, and one that wants it back meanwhile, in a line that is known.

In: how often. Out: a listener to which nobody connects; "ready" on standard output; from a line on standard input on it begins; then how
long (ns, by its own clock) the second waited for the lock all together from the end of each sleep on, and for how long the first kept
it from then on at the least. It ends with the next line.
"""
import ctypes
import socket
import sys
import threading
import time

KEPT_MS, SLEPT_MS = 60, 10
CLOCK_MONOTONIC, TIMER_ABSTIME = 1, 1
keep_lock, release_lock = ctypes.PyDLL(None), ctypes.CDLL(None)
asleep, done = threading.Lock(), threading.Lock()


class Moment(ctypes.Structure):
    """`struct timespec`."""

    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def moment(milliseconds):
    end_ns = time.monotonic_ns() + milliseconds * 1_000_000
    return end_ns, ctypes.byref(Moment(*divmod(end_ns, 1_000_000_000)))


def hold(rounds, kept_until):
    for _ in range(rounds):
        asleep.acquire()
        end_ns, until = moment(KEPT_MS)
        keep_lock.clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, until, None)
        kept_until.append(end_ns)
        done.release()


def stand():
    end_ns, until = moment(SLEPT_MS)
    asleep.release()
    release_lock.clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, until, None)
    return end_ns, time.monotonic_ns()


def want(rounds, wanted):
    for _ in range(rounds):
        wanted.append(stand())
        done.acquire()


for lock in (asleep, done):
    lock.acquire()
rounds, kept_until, wanted = int(sys.argv[1]), [], []
listener = socket.create_server(("127.0.0.1", 0))
print("ready", flush=True)
sys.stdin.readline()
threads = [threading.Thread(target=hold, args=(rounds, kept_until)), threading.Thread(target=want, args=(rounds, wanted))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
waited = sum(got_ns - wanted_ns for wanted_ns, got_ns in wanted)
kept = sum(max(0, kept_ns - wanted_ns) for kept_ns, (wanted_ns, _) in zip(kept_until, wanted))
print(waited, kept, flush=True)
sys.stdin.readline()
