"""Logs 2 kB for each request to standard error, which is a named pipe that somebody else reads.

In, from the environment: LOG_PIPE; QUEUED (a thread of its own writes, and requests only hand over). Out: `app`.
"""

import logging
import logging.handlers
import os
import queue
import sys

from witness import ready

os.dup2(os.open(os.environ["LOG_PIPE"], os.O_WRONLY), 2)
LINE = "x" * 2000
handler = logging.StreamHandler(sys.stderr)
if os.environ.get("QUEUED"):
    lines = queue.SimpleQueue()
    logging.handlers.QueueListener(lines, handler).start()
    handler = logging.handlers.QueueHandler(lines)
logging.basicConfig(handlers=[handler], level=logging.INFO, format="%(asctime)s %(threadName)s %(message)s")


def app(environ, start_response):
    logging.info("request %s %s", environ["PATH_INFO"], LINE)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]


ready()
