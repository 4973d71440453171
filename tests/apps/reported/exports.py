"""One kind of request takes long.

In, from the environment: EXPORT_SECONDS. `export/ID` sleeps for that. Out: `app`.
"""

import os
import time

from witness import ready

SECONDS = float(os.environ["EXPORT_SECONDS"])


def app(environ, start_response):
    if environ["PATH_INFO"].startswith("/export"):
        time.sleep(SECONDS)
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]


ready()
