"""Threads that want the interpreter lock, in any CPython from 3.8 on, with nothing but its standard library.

In: kind of work (cpu, mixed, calls), number of threads. Out: a process with a listener, so that it passes for a server, until
it is ended.
"""
import os
import socket
import sys
import threading
import time


def compute(steps):
    total = 0
    for step in range(steps):
        total += step * step
    return total


def cpu():
    while True:
        compute(2_000)


def mixed():
    """Computes and sleeps by turns, and sends bytes to itself."""
    ours, theirs = socket.socketpair()
    while True:
        compute(3_000)
        ours.send(b"x" * 64)
        theirs.recv(64)
        compute(200)
        time.sleep(0.0005)


def calls():
    """Short calls that give the lock up, most of them such as no profiler of requests looks at."""
    with open(os.devnull, "rb") as file:
        while True:
            for _ in range(50):
                os.stat("/")
                os.lseek(file.fileno(), 0, 0)
            compute(500)


listener = socket.create_server(("127.0.0.1", 0))
work = {"cpu": cpu, "mixed": mixed, "calls": calls}[sys.argv[1]]
for _ in range(int(sys.argv[2])):
    threading.Thread(target=work, daemon=True).start()
print(listener.getsockname()[1], flush=True)
threading.Event().wait()
