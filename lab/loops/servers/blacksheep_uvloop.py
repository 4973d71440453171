"""blacksheep under uvicorn, on uvloop: to compare sanic with a server that is known.

In: PORT and BACK_END_PORT, of the environment. Out: responses, and notes, until it is ended.
"""

from servers.blacksheep import serve

if __name__ == "__main__":
    serve("uvloop")
