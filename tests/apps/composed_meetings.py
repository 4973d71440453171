"""Who meets the leaf of a route of `composed.py`, and when.

In: what the plan says: `who` (`request`, `thread`, `main`), `every` (each so-manieth request), `times` (`null`: always; else `[from, to]` in seconds from this
process's first request on; `to` `null`: `count` times), `pause_ms` and `count` (also of threads of its own). Out: `Meetings`, asked at the leaf; `begin` starts who is no request.
"""

import itertools
import os
import signal
import sys
import threading
import time

# Numbers of who is no request have this bit, and of the server's main thread the next as well.
NOBODY_S, MAIN = 1 << 42, 1 << 43
TURN_SECONDS = 0.02


class Clock:
    """Since this process's first request."""

    def __init__(self):
        self.first, self.is_begun = None, threading.Event()

    def begin(self):
        if self.first is None:
            self.first = time.monotonic()
            self.is_begun.set()

    def seconds(self):
        return time.monotonic() - self.first if self.first else 0.0


CLOCK = Clock()


class Meetings:
    """Asked with a number at the leaf: whether it is met now."""

    def __init__(self, route):
        self.who, self.every, self.times = route.get("who", "request"), route.get("every", 1), route.get("times")
        self.count, self.pause_ms = route.get("count", 1), route.get("pause_ms", 0)
        self.once = itertools.count()

    def turn(self):
        """The number of the time that it is, or of the last."""
        now = CLOCK.seconds()
        return sum(now >= begin for begin, _ in self.times or [[0, None]])

    def is_time(self):
        if self.times is None:
            return True
        begin, end = self.times[max(self.turn() - 1, 0)]
        now = CLOCK.seconds()
        if end is None:
            return now >= begin and next(self.once) < self.count
        return begin <= now < end

    def __call__(self, number):
        if bool(number & NOBODY_S) == (self.who == "request"):
            return False
        return (self.who != "request" or number % self.every == 0) and self.is_time()


def begin(meetings, run, noted):
    """Starts who meets a leaf beside all requests; `run` with a number goes there, `noted` notes a whole turn."""
    if meetings.who == "thread":
        for place in range(meetings.count):
            number = NOBODY_S | os.getpid() << 8 | place
            threading.Thread(target=again_and_again, args=(meetings, noted(run), number), daemon=True).start()
    if meetings.who == "main":
        on_main_thread(meetings, noted(run), NOBODY_S | MAIN | os.getpid())


def again_and_again(meetings, run, number):
    if meetings.times:
        CLOCK.is_begun.wait()
    while True:
        run(number)
        time.sleep(max(meetings.pause_ms / 1000, TURN_SECONDS))


def on_main_thread(meetings, run, number):
    """gunicorn's by its heartbeat, which a worker gives between any two things; any other's by a timer, whose handler runs there."""
    next_ns = 0

    def turn():
        nonlocal next_ns
        if CLOCK.first and time.monotonic_ns() >= next_ns:
            run(number)
            next_ns = time.monotonic_ns() + meetings.pause_ms * 1_000_000

    def alarmed(*_):
        turn()
        # Once more, and not before this is over.
        signal.setitimer(signal.ITIMER_REAL, TURN_SECONDS)

    if "gunicorn" in sys.modules:
        from gunicorn.workers.workertmp import WorkerTmp

        beat = WorkerTmp.notify

        def beat_and_turn(self):
            beat(self)
            # The arbiter has a heartbeat too.
            if os.getpid() == number & 0xFFFFFFFF:
                turn()

        WorkerTmp.notify = beat_and_turn
    else:
        signal.signal(signal.SIGALRM, alarmed)
        signal.setitimer(signal.ITIMER_REAL, TURN_SECONDS)
