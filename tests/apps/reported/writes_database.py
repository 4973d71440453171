"""Each request writes to one SQLite database, and computes some 10 ms within its transaction; nothing here sleeps.

In, from the environment: DATABASE (a path). Out: `app`.
"""

import os
import sqlite3

from witness import ready

PATH = os.environ["DATABASE"]
LOOPS = 200_000


def connect():
    return sqlite3.connect(PATH, timeout=5, isolation_level=None)


with connect() as first:
    first.execute("CREATE TABLE IF NOT EXISTS t (x)")


def app(environ, start_response):
    connection = connect()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES (1)")
    sum(number * number for number in range(LOOPS))
    connection.execute("COMMIT")
    connection.close()
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]


ready()
