"""`hanging` as an ASGI application, by a2wsgi, in three threads. In: what `hanging` takes. Out: `app`."""

from a2wsgi import WSGIMiddleware
from hanging import app as hanging

app = WSGIMiddleware(hanging, workers=3)
