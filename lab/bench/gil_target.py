"""Takes and gives the interpreter lock, for the benchmark.

In: lines on standard input, `WHAT THREADS MILLISECONDS`; WHAT is `gil`. Out: `ready`, then for each line the nanoseconds
of this process's CPU time per acquisition: each thread gives the lock away (`time.sleep(0)`) and takes it again; with one
thread nobody else wants it, with two there is always a second one. It listens, so that wsgi-trace takes it for a server.
"""

import socket
import sys
import threading
import time


def measure(threads, milliseconds):
    counts = [0] * threads
    stop = False

    def loop(index):
        count = 0
        while not stop:
            for _ in range(50):
                time.sleep(0)
            count += 50
        counts[index] = count

    workers = [threading.Thread(target=loop, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    before = time.process_time_ns()
    time.sleep(milliseconds / 1000)
    stop = True
    for worker in workers:
        worker.join()
    return (time.process_time_ns() - before) / max(1, sum(counts))


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    print("ready", flush=True)
    for line in sys.stdin:
        _, threads, milliseconds = line.split()
        print(measure(int(threads), int(milliseconds)), flush=True)
    listener.close()


if __name__ == "__main__":
    main()
