"""`demo_app` for Twisted's threads, under the eyes of a witness at the reactor's sockets.

In, from the environment: what `demo_app` and `socket_witness` take. Out: `app`.
"""

import socket_witness
from demo_app import app

__all__ = ["app"]

socket_witness.watch()
