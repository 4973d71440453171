"""cheroot with TLS, which its command line does not offer.

In: `--bind HOST:PORT`, `--threads N`, `--timeout SECONDS` for which it keeps idle connections, `--certfile`, `--keyfile`. Out: a server of `witnessed:app` until it is ended.
"""

import argparse
import signal

from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server

import witnessed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bind", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--timeout", type=float, default=10)
    parser.add_argument("--certfile", required=True)
    parser.add_argument("--keyfile", required=True)
    arguments = parser.parse_args()
    host, _, port = arguments.bind.rpartition(":")
    server = Server((host, int(port)), witnessed.app, numthreads=arguments.threads, timeout=arguments.timeout)
    server.ssl_adapter = BuiltinSSLAdapter(arguments.certfile, arguments.keyfile)
    signal.signal(signal.SIGTERM, lambda *_: server.stop())
    server.start()


if __name__ == "__main__":
    main()
