"""Answers at once: whatever a request waits for is not the application's.

In: any request. Out: `app`.
"""

from witness import ready


def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]


ready()
