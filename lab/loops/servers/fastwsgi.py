"""fastwsgi: WSGI in C on libuv, one request at a time.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

import fastwsgi
from work import PORT
from wsgi_application import blocking

if __name__ == "__main__":
    fastwsgi.run(wsgi_app=blocking, host="127.0.0.1", port=PORT)
