"""`composed:app` under a server that this program starts itself.

In: which one (`waitress`, `cheroot`), host, port, threads. Out: answers until it is ended.
"""

import sys

from composed import app


def main(which, host, port, threads):
    if which == "waitress":
        import waitress

        waitress.serve(app, host=host, port=port, threads=threads, _quiet=True)
    else:
        from cheroot.wsgi import Server

        Server((host, port), app, numthreads=threads).start()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
