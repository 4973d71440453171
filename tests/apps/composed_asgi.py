"""`composed:app` as an ASGI application, by a2wsgi: it runs in a pool of threads.

In, from the environment: WSGI_THREADS (threads of the pool), and what `composed` takes. Out: `application`.
"""

import os

from a2wsgi import WSGIMiddleware
from composed import app

application = WSGIMiddleware(app, workers=int(os.environ["WSGI_THREADS"]))
