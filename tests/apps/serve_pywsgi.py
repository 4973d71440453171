"""`demo_app`, or another application, on gevent's own server.

In: host, port, the file for its access log, and the module of the application where it is another. Out: responses, until it is ended.
"""

from gevent import monkey

monkey.patch_all()

import importlib  # noqa: E402
import sys  # noqa: E402

from gevent.pywsgi import WSGIServer  # noqa: E402

application = importlib.import_module(sys.argv[4] if len(sys.argv) > 4 else "demo_app").app
with open(sys.argv[3], "a", buffering=1, encoding="utf-8") as log:
    WSGIServer((sys.argv[1], int(sys.argv[2])), application, log=log, error_log=sys.stderr).serve_forever()
