"""Notes of what threads do, by CLOCK_MONOTONIC, in a mapped file: one costs no system call.

In: a directory on a file system in memory. Out: a file `notes-PID` of records of 24 bytes, little endian: time in ns, number of the request (0: none),
thread, step, what (`ENTER`, `GOT`, `LEAVE`), two bytes of nothing. The first record without a time is the end.
"""

import itertools
import mmap
import os
import struct
import threading
import time

ENTER, GOT, LEAVE = 0, 1, 2
RECORD = struct.Struct("<QQIBBxx")
MOST = 131_072


class Notes:
    """A file of notes; a call notes one."""

    def __init__(self, directory):
        with open(os.path.join(directory, f"notes-{os.getpid()}"), "w+b") as file:
            file.truncate(MOST * RECORD.size)
            self.mapping = mmap.mmap(file.fileno(), 0)
        # All of its pages are there before a request comes.
        self.mapping[:] = bytes(len(self.mapping))
        self.places = itertools.count(0, RECORD.size)

    def __call__(self, number, step, what):
        RECORD.pack_into(self.mapping, next(self.places), time.monotonic_ns(), number, threading.get_native_id(), step, what)
