"""Flask with SQLAlchemy on PostgreSQL, and with Redis: routes that each ask a store in one known way. greenlet is loaded, as it is
wherever SQLAlchemy is installed with its asyncio extra, and runs nothing.

In, from the environment: DATABASE_IS (which variable has host, or directory, and port of PostgreSQL), REDIS (host:port), POOL (connections of each pool, none beyond), and what
`witness` takes. Out: responses; for each request how long the store took (`backend`) and how long it was for a connection (`lock`).

/postgres/MS/ID    one query of MS
/redis/MS/ID       one question that Redis answers after MS
/both/MS/ID        one after the other
/keys/MS/ID        31 questions to Redis of MS each
/fast/ID           nothing
"""

import os

import flask
import greenlet  # noqa: F401
import redis
import sqlalchemy

import witness

POOL = int(os.environ["POOL"])
HOST, PORT = os.environ[os.environ["DATABASE_IS"]].rsplit(":", 1)
# Autocommit: a query is one question, none to begin and to end a transaction.
engine = sqlalchemy.create_engine(
    sqlalchemy.URL.create("postgresql+psycopg", "postgres", host=HOST, port=int(PORT), database="postgres"),
    pool_size=POOL, max_overflow=0, pool_timeout=30, isolation_level="AUTOCOMMIT",
    # psycopg asks once more where it prepares a query that it knows.
    connect_args={"prepare_threshold": None},
)
REDIS_HOST, REDIS_PORT = os.environ["REDIS"].rsplit(":", 1)
store = redis.Redis(connection_pool=redis.BlockingConnectionPool(max_connections=POOL, timeout=30, host=REDIS_HOST, port=int(REDIS_PORT)))
QUESTIONS = 31

application = flask.Flask(__name__)


def ask_postgres(work, milliseconds):
    with work.of("lock"):
        connection = engine.connect()
    with connection:
        query = sqlalchemy.text("select pg_sleep(:seconds)")
        with work.of("backend"):
            connection.execute(query, {"seconds": milliseconds / 1000})


def ask_redis(work, milliseconds):
    # No replica will ever have it: Redis answers when the time is over.
    with work.of("backend"):
        store.wait(1, int(milliseconds))


@application.get("/postgres/<float:milliseconds>/<unique>")
@application.get("/postgres/<int:milliseconds>/<unique>")
def postgres(milliseconds, unique):
    work = witness.Work(unique)
    ask_postgres(work, milliseconds)
    work.note()
    return "from PostgreSQL\n"


@application.get("/redis/<int:milliseconds>/<unique>")
def from_redis(milliseconds, unique):
    work = witness.Work(unique)
    ask_redis(work, milliseconds)
    work.note()
    return "from Redis\n"


@application.get("/both/<int:milliseconds>/<unique>")
def both(milliseconds, unique):
    work = witness.Work(unique)
    ask_postgres(work, milliseconds)
    ask_redis(work, milliseconds)
    work.note()
    return "from both\n"


@application.get("/keys/<int:milliseconds>/<unique>")
def keys(milliseconds, unique):
    work = witness.Work(unique)
    for _ in range(QUESTIONS):
        ask_redis(work, milliseconds)
    work.note()
    return "many keys\n"


@application.get("/fast/<unique>")
def fast(unique):
    return "hello\n"


def connect():
    """Every connection of both pools is made before the first request: none pays for it."""
    taken = [engine.connect() for _ in range(POOL)]
    pool = store.connection_pool
    connections = [pool.get_connection() for _ in range(POOL)]
    for connection in taken:
        connection.close()
    for connection in connections:
        pool.release(connection)


connect()
app = witness.requests(application)
witness.ready()
