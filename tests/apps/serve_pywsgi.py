"""`demo_app` on gevent's own server.

In: host, port, the file for its access log. Out: responses, until it is ended.
"""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

from gevent.pywsgi import WSGIServer  # noqa: E402

import demo_app  # noqa: E402

with open(sys.argv[3], "a", buffering=1, encoding="utf-8") as log:
    WSGIServer((sys.argv[1], int(sys.argv[2])), demo_app.app, log=log, error_log=sys.stderr).serve_forever()
