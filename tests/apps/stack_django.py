"""Django on PostgreSQL with psycopg's pool: routes that each ask the database in one known way.

In, from the environment: DATABASE_IS (which variable has host, or directory, and port of PostgreSQL), POOL (connections of the pool), and what `witness` takes. Out: responses;
for each request how long its queries took (`backend`) and how long it was for a connection (`lock`), by its own clock.

/postgres/MS/ID    one query of MS
/rows/ID           a query for the rows, and one for each of the thirty: the relation takes 1 ms to look at
/joined/ID         the same rows by one query
/sleep/MS/ID       time.sleep (noted as `sleep`)
/fast/ID           nothing
"""

import os
import time

import django
from django.conf import settings

import witness

HOST, PORT = os.environ[os.environ["DATABASE_IS"]].rsplit(":", 1)
POOL = int(os.environ["POOL"])
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a test",
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": HOST,
            "PORT": PORT,
            "OPTIONS": {"pool": {"min_size": POOL, "max_size": POOL, "timeout": 30}},
        }
    },
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402


class Owner(models.Model):
    name = models.TextField()

    class Meta:
        app_label = "stack"
        db_table = "owner"
        managed = False


class Item(models.Model):
    owner = models.ForeignKey(Owner, on_delete=models.DO_NOTHING)

    class Meta:
        app_label = "stack"
        db_table = "item"
        managed = False


def at_work(view):
    """The view with its connection taken first and its queries noted."""

    def noting(request, unique, **arguments):
        work = witness.Work(unique)

        def note(execute, sql, parameters, many, context):
            with work.of("backend"):
                return execute(sql, parameters, many, context)

        with work.of("lock"):
            connection.ensure_connection()
        with connection.execute_wrapper(note):
            answer = view(**arguments)
        work.note()
        return HttpResponse(answer + "\n")

    return noting


@at_work
def postgres(milliseconds):
    with connection.cursor() as cursor:
        cursor.execute("select pg_sleep(%s)", [milliseconds / 1000])
    return "from PostgreSQL"


@at_work
def rows():
    return " ".join(item.owner.name for item in Item.objects.all())


@at_work
def joined():
    return " ".join(item.owner.name for item in Item.objects.select_related("owner"))


def sleep(request, milliseconds, unique):
    work = witness.Work(unique)
    with work.of("sleep"):
        time.sleep(milliseconds / 1000)
    work.note()
    return HttpResponse("slept\n")


def fast(request, unique):
    return HttpResponse("hello\n")


urlpatterns = [
    path("postgres/<int:milliseconds>/<unique>", postgres),
    path("rows/<unique>", rows),
    path("joined/<unique>", joined),
    path("sleep/<int:milliseconds>/<unique>", sleep),
    path("fast/<unique>", fast),
]

# The pool makes its connections in threads of its own: all of them are there before the first request.
connection.ensure_connection()
connection.close()
connection.pool.wait()
app = witness.requests(get_wsgi_application())
witness.ready()
