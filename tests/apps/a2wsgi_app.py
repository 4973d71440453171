"""`demo_app` as an ASGI application, by a2wsgi, under the eyes of a witness at the loop's sockets: the WSGI application runs in a
pool of threads.

In, from the environment: WSGI_THREADS (threads of the pool, 10 if not said), and what `socket_witness` takes. Out:
`application`.
"""

import os

import socket_witness
from a2wsgi import WSGIMiddleware
from demo_app import app

application = WSGIMiddleware(app, workers=int(os.environ.get("WSGI_THREADS", "10")))
socket_witness.watch()
