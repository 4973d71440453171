"""How long the function that takes the interpreter lock takes where nobody else wants the lock, at most, in nanoseconds.

In: nothing. Out: one number: by how much a call of C that gives the lock up is dearer than the same call that keeps it.
"""

import ctypes
import time


def best_ns(function):
    best = None
    for _ in range(40):
        start = time.perf_counter_ns()
        for _ in range(2000):
            function()
        took = (time.perf_counter_ns() - start) / 2000
        best = took if best is None else min(best, took)
    return best


print(max(0, round(best_ns(ctypes.CDLL(None).abs) - best_ns(ctypes.PyDLL(None).abs))))
