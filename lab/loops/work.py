"""What a request of each kind does, and notes, on any server.

In: a note, and calls of the server's own loop: `sleep`, `ask`, `in_thread`; ports by the environment
variables PORT and BACK_END_PORT. Out: the steps in the note; chunks of a response that is streamed.
"""

import asyncio
import functools
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

PORT = int(os.environ.get("PORT", "0"))
BACK_END = ("127.0.0.1", int(os.environ.get("BACK_END_PORT", "0")))
QUESTION = b"ask\n"
BODY = b"hello " * 20

SECONDS = 0.02
CHUNKS, SECONDS_BETWEEN_CHUNKS = 3, 0.01


def spin(count):
    """Computes."""
    total = 0
    for number in range(count):
        total += number & 7
    return total


@functools.cache
def rounds(trial=100_000):
    """Rounds that take SECONDS of CPU time here: found at the first request, before anything is watched."""
    least = min(cpu_seconds(trial) for _ in range(5))
    return int(trial * SECONDS / least)


def cpu_seconds(count):
    """CPU time of this thread for so many rounds."""
    begin = time.thread_time()
    spin(count)
    return time.thread_time() - begin


def compute(note):
    """Computes on this thread."""
    count = rounds()
    with note.step("compute") as step:
        begin = time.thread_time_ns()
        spin(count)
        step["cpu_ns"] = time.thread_time_ns() - begin


def block(note):
    """Sleeps with the thread: nobody else runs on it meanwhile."""
    with note.step("block"):
        time.sleep(SECONDS)


def sleep_in_thread(note):
    """What a thread of a pool does for a request."""
    with note.step("thread"):
        time.sleep(SECONDS)


class Asyncio:
    """Calls of asyncio, and of uvloop."""

    sleep = staticmethod(asyncio.sleep)

    @staticmethod
    async def ask():
        """The back end's answer."""
        reader, writer = await asyncio.open_connection(*BACK_END)
        writer.write(QUESTION)
        answer = await reader.readline()
        writer.close()
        return answer

    @staticmethod
    async def in_thread(function, argument):
        """Runs a function on a thread of the loop's executor."""
        await asyncio.get_running_loop().run_in_executor(None, function, argument)


class Blocking:
    """Calls that block their thread."""

    sleep = staticmethod(time.sleep)
    # What the application notes while it sleeps.
    sleeping = "block"
    pool = ThreadPoolExecutor(4)

    @staticmethod
    def ask():
        """The back end's answer."""
        with socket.create_connection(BACK_END) as connection:
            connection.sendall(QUESTION)
            return connection.makefile("rb").readline()

    @classmethod
    def in_thread(cls, function, argument):
        """Runs a function on a thread of the pool."""
        cls.pool.submit(function, argument).result()


async def act(note, loop=Asyncio):
    """Does what the request is for, on a loop of coroutines; `stream` is left to the caller."""
    if note.kind == "compute":
        compute(note)
    elif note.kind == "block":
        block(note)
    elif note.kind == "sleep":
        with note.step("sleep"):
            await loop.sleep(SECONDS)
    elif note.kind == "ask":
        with note.step("ask") as step:
            step["answered_ns"] = int(await loop.ask())
    elif note.kind == "thread":
        with note.step("pool"):
            await loop.in_thread(sleep_in_thread, note)


def act_blocking(note, calls=Blocking):
    """Does what the request is for, without coroutines; `stream` is left to the caller."""
    if note.kind == "compute":
        compute(note)
    elif note.kind == "block":
        block(note)
    elif note.kind == "sleep":
        with note.step(calls.sleeping):
            calls.sleep(SECONDS)
    elif note.kind == "ask":
        with note.step("ask") as step:
            step["answered_ns"] = int(calls.ask())
    elif note.kind == "thread":
        with note.step("pool"):
            calls.in_thread(sleep_in_thread, note)


async def chunks(note, loop=Asyncio):
    """Pieces of a response, with a sleep between them."""
    for number in range(CHUNKS):
        if number:
            with note.step("sleep"):
                await loop.sleep(SECONDS_BETWEEN_CHUNKS)
        yield BODY
    note.finish()


def chunks_blocking(note, calls=Blocking):
    """Pieces of a response, with a sleep between them."""
    for number in range(CHUNKS):
        if number:
            with note.step(calls.sleeping):
                calls.sleep(SECONDS_BETWEEN_CHUNKS)
        yield BODY
    note.finish()
