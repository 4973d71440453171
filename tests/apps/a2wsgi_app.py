"""`demo_app` as an ASGI application, by a2wsgi, under the eyes of a witness: the WSGI application runs in a pool of threads.

In, from the environment: WSGI_THREADS (threads of the pool, 10 if not said), and what `asgi_witness` takes. Out: `application`.
"""

import os

from a2wsgi import WSGIMiddleware
from asgi_witness import witnessed
from demo_app import app

application = witnessed(WSGIMiddleware(app, workers=int(os.environ.get("WSGI_THREADS", "10"))))
