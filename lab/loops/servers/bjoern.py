"""bjoern: WSGI in C on libev, one request at a time.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

import bjoern
from work import PORT
from wsgi_application import blocking

if __name__ == "__main__":
    bjoern.run(blocking, "127.0.0.1", PORT)
