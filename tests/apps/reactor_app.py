"""A Twisted resource whose routes run on the reactor's own thread: `twist web --class reactor_app.Application`.

In, from the environment: READY_FILE and REQUEST_LOG, as `witnessed` takes them. Out: `Application`. A route may be
followed by any unique id.

/fast              a few bytes at once                 /block/MS          time.sleep: blocks the reactor
"""

import os
import threading
import time

import witness
from twisted.web.resource import Resource


class Application(Resource):
    isLeaf = True

    def render(self, request):
        path = request.path.decode("ascii")
        line = {
            "method": request.method.decode("ascii"),
            "path": path,
            "status": 200,
            "pid": os.getpid(),
            "tid": threading.get_native_id(),
            "start_ns": time.monotonic_ns(),
        }
        route, *rest = path.strip("/").split("/")
        if route == "block":
            time.sleep(float(rest[0]) / 1000)
        line["returned_ns"] = line["end_ns"] = time.monotonic_ns()
        witness.log(line)
        return b"done\n"


witness.ready()
