"""FastAPI with plain functions, whose threads each want a connection of a pool and then one more turn of a thread to give it back.

In, from the environment: DATABASE (a path), POOL_SIZE, POOL_TIMEOUT in seconds; WITHIN (a session ends with the function that uses it).
Threads: 8. Out: `application`.
"""

import contextlib
import os
import time

import anyio.to_thread
from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import QueuePool, create_engine, text
from sqlalchemy.orm import Session

from witness import ready

THREADS = 8
ENGINE = create_engine(
    "sqlite:///" + os.environ["DATABASE"],
    poolclass=QueuePool,
    pool_size=int(os.environ["POOL_SIZE"]),
    max_overflow=0,
    pool_timeout=float(os.environ["POOL_TIMEOUT"]),
    connect_args={"check_same_thread": False},
)


@contextlib.asynccontextmanager
async def lifespan(_):
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


class Answer(BaseModel):
    one: int


def session():
    with Session(ENGINE) as opened:
        yield opened


def select(opened):
    one = opened.execute(text("select 1")).scalar()
    time.sleep(0.005)
    return {"one": one}


application = FastAPI(lifespan=lifespan)


if os.environ.get("WITHIN"):

    @application.get("/item/{number}", response_model=Answer)
    def item(number: int):
        with Session(ENGINE) as opened:
            return select(opened)

else:

    @application.get("/item/{number}", response_model=Answer)
    def item(number: int, opened: Session = Depends(session)):
        # From here on it has a connection, until its response is made in another turn of a thread.
        return select(opened)


ready()
