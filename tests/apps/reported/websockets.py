"""WebSockets by a library that serves each in the thread of its request.

In: `socket/ID` is one, all else is answered at once. Out: `app`.
"""

import simple_websocket

from witness import ready


def app(environ, start_response):
    if environ["PATH_INFO"].startswith("/socket"):
        connection = simple_websocket.Server(environ)
        try:
            while True:
                connection.send("echo " + connection.receive())
        except simple_websocket.ConnectionClosed:
            start_response("200 OK", [("Content-Length", "0")])
            return [b""]
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]


ready()
