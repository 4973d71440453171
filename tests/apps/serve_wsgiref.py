"""`witnessed.app` on wsgiref's server.

In: host and port. Out: answers until it is ended.
"""

import sys
from wsgiref.simple_server import make_server

import witnessed

make_server(sys.argv[1], int(sys.argv[2]), witnessed.app).serve_forever()
