"""An application whose import takes long.

In, from the environment: IMPORT_UNTIL, a file for which the import waits. It says that it is ready before: its server is to be watched
meanwhile. Out: `app`, which answers at once.
"""

import os
import time

from witness import ready

ready()
while not os.path.exists(os.environ["IMPORT_UNTIL"]):
    time.sleep(0.05)


def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "3")])
    return [b"ok\n"]
