"""Pairs of threads that keep each other waiting for the interpreter lock and end after a moment, one pair after the other.

In: how many pairs; a line on standard input, from which they begin. Out: a listening socket to which nobody connects; "ready", then for each
pair the numbers that its threads have in the /proc that is mounted here, then "done" on standard output.
"""

import os
import socket
import sys
import threading
import time

LIFE_S = 0.2


def compute(until, tids):
    tids.append(os.readlink("/proc/thread-self").rsplit("/", 1)[1])
    value = 1
    while time.monotonic() < until:
        for _ in range(1500):
            value = (value * 1103515245 + 12345) & 0x7FFFFFFF


listener = socket.create_server(("127.0.0.1", 0))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[1])):
    tids = []
    until = time.monotonic() + LIFE_S
    threads = [threading.Thread(target=compute, args=(until, tids)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*tids, flush=True)
print("done", flush=True)
