"""The applications of the benchmark. Their work is fixed, not timed: what is slowed down takes longer.

In: BENCH_PIECES, the amount of work of `/work` (the benchmark calibrates it to about 5 ms). Out: `/` says hello; `/work`
renders a page: rows from a table, JSON, and now and then a look at a file, as an ordinary application does.

As a program: `bench_app.py --calibrate` prints the nanoseconds of one piece of work.
"""

import json
import os
import sys
import time

PIECES = int(os.environ.get("BENCH_PIECES", "20"))
ROWS = [{"id": number, "name": f"item {number}", "price": number * 1.19} for number in range(60)]
HERE = os.path.abspath(__file__)


def piece(number):
    rows = sorted(ROWS, key=lambda row: (row["id"] * 7919 + number) % 61)
    text = "".join(f"<li>{row['name']}: {row['price']:.2f}</li>" for row in rows)
    return len(text) + len(json.loads(json.dumps(rows)))


def work():
    total = 0
    for number in range(PIECES):
        total += piece(number)
        if number % 5 == 0:
            with open(HERE, "rb") as file:
                total += len(file.read(512))
    return total


def app(environ, start_response):
    body = b"hello, world\n"
    if environ["PATH_INFO"].startswith("/work"):
        body = b"%d\n" % work()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = app


def calibrate():
    best = None
    for _ in range(20):
        start = time.perf_counter_ns()
        for number in range(20):
            piece(number)
        taken = (time.perf_counter_ns() - start) // 20
        best = taken if best is None else min(best, taken)
    print(best)


if __name__ == "__main__" and sys.argv[1:] == ["--calibrate"]:
    calibrate()
