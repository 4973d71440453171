"""`witnessed` in a daemon of mod_wsgi that keeps count of itself: what its metrics interface says, as one more route.

In, from the environment: what `witnessed` takes, and METRICS_LOG, the file to append to. Out: `app`. A request for
`/metrics` appends what `mod_wsgi.request_metrics()` says of this process since it was asked last, as one line of JSON.
"""

import json
import os

import mod_wsgi  # Apache's module brings it
import witnessed

mod_wsgi.start_recording_metrics()


def app(environ, start_response):
    if not environ["PATH_INFO"].startswith("/metrics"):
        return witnessed.app(environ, start_response)
    with open(os.environ["METRICS_LOG"], "a", encoding="ascii") as log:
        log.write(json.dumps(mod_wsgi.request_metrics()) + "\n")
    start_response("204 No Content", [])
    return []
