"""Coroutines that sleep on a loop that one of them keeps busy now and then, and note when they were due.

In: how many sleep, how often each. Out: `ready`, with the loop running; once a line came in, the work, then a line of
JSON: for each sleep its task (the address of its context), the moment at which it was due at the earliest and the one
at which it went on; and from when to when the loop was busy, all in nanoseconds.
"""

import asyncio
import contextvars
import gc
import json
import sys
import time

BUSY_SECONDS = 0.03
# Sleeps come due while the loop is busy, and while it waits.
SLEEPS_SECONDS = (0.004, 0.011, 0.017)

mine = contextvars.ContextVar("mine")


def own_context(number):
    """The context in which a task runs, as the garbage collector lists it: nobody has made a copy yet."""
    (context,) = [
        thing for thing in gc.get_objects() if type(thing) is contextvars.Context and thing.get(mine) == number
    ]
    return context


async def sleep(context, seconds, sleeps):
    due_ns = time.monotonic_ns() + int(seconds * 1e9)
    await asyncio.sleep(seconds)
    sleeps.append({"task": id(context), "due_ns": due_ns, "resumed_ns": time.monotonic_ns()})


async def sleeper(number, rounds, sleeps):
    mine.set(number)
    context = own_context(number)
    for turn in range(rounds):
        await sleep(context, SLEEPS_SECONDS[(number + turn) % len(SLEEPS_SECONDS)], sleeps)
    return context


async def keep_busy(number, rounds, sleeps, busy):
    mine.set(number)
    context = own_context(number)
    for _ in range(rounds):
        await sleep(context, SLEEPS_SECONDS[-1], sleeps)
        begin_ns = time.monotonic_ns()
        time.sleep(BUSY_SECONDS)
        busy.append([begin_ns, time.monotonic_ns()])
    return context


async def main():
    count, rounds = map(int, sys.argv[1:3])
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    sleeps, busy = [], []
    work = [sleeper(number, rounds, sleeps) for number in range(count)]
    contexts = await asyncio.gather(keep_busy(count, rounds, sleeps, busy), *work)
    print(json.dumps({"sleeps": sleeps, "busy": busy}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    del contexts


asyncio.run(main())
