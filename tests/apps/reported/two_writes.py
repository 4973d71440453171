"""The standard library's server, which sends head and body apart: the second waits for the acknowledgement of the first, and that for 40 ms.

In: HOST PORT; from the environment NODELAY. Out: it serves until it is ended.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from witness import ready


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = bool(os.environ.get("NODELAY"))

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_):
        pass


def main():
    server = ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler)
    ready()
    server.serve_forever()


if __name__ == "__main__":
    main()
