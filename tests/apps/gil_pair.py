"""Two threads that keep each other waiting for the interpreter lock, in a process that looks like a server.

In: how many seconds. Out: a listening socket to which nobody connects; "ready" on standard output once both threads run.
"""

import socket
import sys
import threading
import time

END = time.monotonic() + float(sys.argv[1])


def compute():
    value = 1
    while time.monotonic() < END:
        for _ in range(1500):
            value = (value * 1103515245 + 12345) & 0x7FFFFFFF


listener = socket.create_server(("127.0.0.1", 0))
threads = [threading.Thread(target=compute) for _ in range(2)]
for thread in threads:
    thread.start()
print("ready", flush=True)
for thread in threads:
    thread.join()
