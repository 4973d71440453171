"""`demo_app` under the eyes of a witness that needs nothing of the server: one JSON line for each request.

In, from the environment: what `demo_app` takes, and REQUEST_LOG, the file to append to. Out: `app`, which answers as
`demo_app` does. A line holds `method`, `path`, `status`, `pid`, `tid`, and by CLOCK_MONOTONIC `start_ns` (the application
is called), `called_ns` by the wall clock at the same moment, `request_start` (the header X-Request-Start, where there is
one), `returned_ns` (it has returned the response's iterable) and `end_ns` (the server closes that). Where the
application raises, the server answers by itself afterwards: the latter two are null then.
"""

import demo_app
import witness

app = witness.requests(demo_app.app)
