"""Threads that want the interpreter lock for ever, in an interpreter that ends.

In: how many seconds its end takes. Out: a listener to which nobody connects, "ready" on standard output; once its input is closed
it competes with them for a while, and then the interpreter begins to end, and tells when that was and which threads wanted the
lock, as a line of JSON. What these threads do then is the version's affair: from 3.14 on they hang until the process is gone,
before they ended.
"""
import json
import os
import socket
import sys
import threading
import time


def compute(seconds=float("inf")):
    """Until this thread has had a CPU for so long."""
    value = 1
    while time.thread_time() < seconds:
        for _ in range(1500):
            value = (value * 1103515245 + 12345) & 0x7FFFFFFF


class Last:
    """Goes with the modules, when the other threads may no longer run."""

    def __init__(self, tids):
        self.told = b'{"tids": %s, "ending_ns": ' % json.dumps(tids).encode()

    def __del__(self, seconds=float(sys.argv[1]), sleep=time.sleep, now=time.monotonic_ns, write=os.write):
        write(1, b"%s%d}\n" % (self.told, now()))
        sleep(seconds)


listener = socket.create_server(("127.0.0.1", 0))
threads = [threading.Thread(target=compute, daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
# Not in this module, which lives as long as the frames of its functions do.
sys.modules["last"] = Last([thread.native_id for thread in threads])
print("ready", flush=True)
sys.stdin.read()
compute(time.thread_time() + 0.1)
