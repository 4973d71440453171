"""As much of HTTP/1.1 and WSGI as a small server of the tests needs.

In: bytes of a connection. Out: whole requests as WSGI environments, and what an application answers as bytes.
"""

import io
import sys


class Requests:
    """Takes bytes as they come, and gives requests as they are whole: heads, and bodies of a length that is said."""

    def __init__(self):
        self.bytes = b""

    def take(self, received):
        """The environment of the request that is whole now, if one is."""
        self.bytes += received
        head, end, rest = self.bytes.partition(b"\r\n\r\n")
        if not end:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = [line.split(":", 1) for line in lines]
        headers = {name.strip().upper().replace("-", "_"): value.strip() for name, value in fields}
        length = int(headers.get("CONTENT_LENGTH", "0"))
        if len(rest) < length:
            return None
        self.bytes = rest[length:]
        method, target, protocol = first.split(" ")
        path, _, query = target.partition("?")
        environ = {f"HTTP_{name}": value for name, value in headers.items()}
        return environ | {
            "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query,
            "SERVER_NAME": "localhost", "SERVER_PORT": "0", "SERVER_PROTOCOL": protocol,
            "CONTENT_TYPE": headers.get("CONTENT_TYPE", ""), "CONTENT_LENGTH": str(length),
            "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(rest[:length]),
            "wsgi.errors": sys.stderr, "wsgi.multithread": False, "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }


def answer(application, environ):
    """The whole response, with its length said."""
    said = {}

    def start_response(status, headers, exc_info=None):
        said["status"], said["headers"] = status, headers

    body = b""
    try:
        result = application(environ, start_response)
        try:
            body = b"".join(result)
        finally:
            getattr(result, "close", lambda: None)()
    except Exception:
        said["status"], said["headers"], body = "500 Internal Server Error", [], b"failed\n"
    headers = [(name, value) for name, value in said["headers"] if name.lower() != "content-length"]
    if not said["status"].startswith(("204", "304")):
        headers.append(("Content-Length", str(len(body))))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    is_head = environ["REQUEST_METHOD"] == "HEAD"
    return f"HTTP/1.1 {said['status']}\r\n{head}\r\n".encode("latin-1") + (b"" if is_head else body)
