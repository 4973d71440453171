"""`witnessed` as an ASGI application, by a2wsgi: the WSGI application runs in a pool of threads.

In, from the environment: WSGI_THREADS (threads of the pool, 10 if not said). Out: `application`.
"""

import os

from a2wsgi import WSGIMiddleware
from witnessed import app

application = WSGIMiddleware(app, workers=int(os.environ.get("WSGI_THREADS", "10")))
