"""Threads that compute in functions with names of other alphabets, the second at the very address at which the first was.

In: seconds for each function. Out: a listener to which nobody connects; "ready" on standard output, and at the end how many code
objects were made until one had the address of the first.
"""
import socket
import sys
import threading
import time

SECONDS = float(sys.argv[1])
# All of one size, and so of one kind of memory: Latin, Cyrillic, and beyond the basic plane.
NAMES = ["Zählen", "Считай"]
FILE = "/srv/𝒜pp/été.py"
SOURCE = """
def {name}(end, now):
    value = 1
    while now() < end:
        for _ in range(1500):
            value = (value * 1103515245 + 12345) & 0x7FFFFFFF
"""


def make(name):
    """The function, and the address of its code object."""
    place = {}
    exec(compile(SOURCE.format(name=name), FILE, "exec"), place)
    return place[name]


def run(function):
    end = time.monotonic() + SECONDS
    threads = [threading.Thread(target=function, args=(end, time.monotonic)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


listener = socket.create_server(("127.0.0.1", 0))
print("ready", flush=True)
sys.stdin.readline()
function = make(NAMES[0])
address = id(function.__code__)
run(function)
del function
others = []
function = make(NAMES[1])
while id(function.__code__) != address and len(others) < 10_000:
    others.append(function)
    function = make(NAMES[1])
print(len(others) if id(function.__code__) == address else "never", flush=True)
run(function)
sys.stdin.readline()
