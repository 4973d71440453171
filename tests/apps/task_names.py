"""Tasks on one loop, each with descriptors of its own, that note what tells them from one another.

In: `asyncio` (`asyncio-greenlet`: in a program that has loaded greenlets), `uvloop`, `gevent`, `eventlet` or `threads` (each with a loop, and a task, of its own), how many tasks, how often each makes its calls, how many other threads compute
meanwhile. Out: `ready`; once a line came in, the work, then a line of JSON: for each task its descriptors and its address, by means of its
own: of a context the object's, as the garbage collector lists it; of a greenlet the first chunk of its frames, found in
the thread's own state.
"""

import ctypes
import json
import socket
import sys
import threading


def pair():
    """A socket to write to and one to read from: both are one task's alone."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)


def step(ours, theirs):
    ours.send(b"x")
    theirs.recv(1)


def deep(depth, ours, theirs):
    if depth:
        return deep(depth - 1, ours, theirs)
    return step(ours, theirs)


def state_words():
    get = ctypes.pythonapi.PyThreadState_Get
    get.restype = ctypes.c_void_p
    return get()


def word(address):
    return ctypes.c_uint64.from_address(address).value


def find_chunk():
    """Where a thread's state has the chunk of its frames: an address, then two in the chunk, the last of which is its end by its own
    length."""
    state = state_words()
    for at in range(0, 600, 8):
        chunk, top, end = (word(state + at + 8 * place) for place in range(3))
        if chunk and chunk % 4096 == 0 and chunk < top <= end and 0 < end - chunk <= 1 << 20:
            if word(chunk) == 0 and word(chunk + 8) == end - chunk:
                return at
    raise RuntimeError("no chunk of frames")


def first_chunk(at):
    chunk = word(state_words() + at)
    while word(chunk):
        chunk = word(chunk)
    return chunk


def on_asyncio(count, rounds, use_uvloop):
    import asyncio
    import contextvars
    import gc

    mine = contextvars.ContextVar("mine")

    async def task(number):
        mine.set(number)
        # Nobody has made a copy yet.
        is_it = lambda thing: type(thing) is contextvars.Context and thing.get(mine) == number
        (context,) = [thing for thing in gc.get_objects() if is_it(thing)]
        ours, theirs = pair()
        for turn in range(rounds):
            deep(turn % 3 * 100, ours, theirs)
            await asyncio.sleep(0.0005 * (number % 3))
        return [ours, theirs], id(context), context

    async def main():
        return await asyncio.gather(*(task(number) for number in range(count)))

    if use_uvloop:
        import uvloop

        uvloop.install()
    return lambda: asyncio.run(main())


def on_greenlets(count, rounds, spawn, wait, sleep):
    at = find_chunk()

    def task(number):
        ours, theirs = pair()
        for turn in range(rounds):
            deep(turn % 3 * 250, ours, theirs)
            sleep(0.0005 * (number % 3))
        return [ours, theirs], first_chunk(at), None

    return lambda: [wait(greenlet) for greenlet in [spawn(task, number) for number in range(count)]]


def on_threads(count, rounds):
    import select

    at = find_chunk()

    def task(number, notes):
        ours, theirs = pair()
        with select.epoll() as loop:
            for turn in range(rounds):
                loop.poll(0.0005 * (number % 3))
                deep(turn % 3 * 250, ours, theirs)
        notes[number] = [ours, theirs], first_chunk(at), None

    def run():
        notes = [None] * count
        threads = [threading.Thread(target=task, args=(number, notes)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return notes

    return run


def main():
    kind, count, rounds, threads = sys.argv[1], *map(int, sys.argv[2:5])
    if kind == "asyncio-greenlet":
        import greenlet  # noqa: F401
    if kind in ("asyncio", "asyncio-greenlet", "uvloop"):
        run = on_asyncio(count, rounds, kind == "uvloop")
    elif kind == "threads":
        run = on_threads(count, rounds)
    elif kind == "gevent":
        import gevent

        run = on_greenlets(count, rounds, gevent.spawn, lambda one: one.get(), gevent.sleep)
    else:
        import eventlet

        # Without anything to wait for its hub would only sleep: a server's waits for its listener.
        idle = pair()
        eventlet.spawn(eventlet.hubs.trampoline, idle[0], read=True)

        run = on_greenlets(count, rounds, eventlet.spawn, lambda one: one.wait(), eventlet.sleep)
    over = threading.Event()

    def compute():
        while not over.is_set():
            sum(range(2000))

    print("ready", flush=True)
    sys.stdin.readline()
    others = [threading.Thread(target=compute) for _ in range(threads)]
    for other in others:
        other.start()
    notes = run()
    over.set()
    for other in others:
        other.join()
    tasks = [{"fds": [end.fileno() for end in ends], "task": task} for ends, task, _ in notes]
    print(json.dumps(tasks), flush=True)
    sys.stdin.readline()


main()
