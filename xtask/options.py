#!/usr/bin/env python3
"""Lists every option that each server has, by version, so that a test can refuse advice that names one which does not exist.

In: wheels and source archives of the servers, as the package index that pip is configured for has them; they are read as
text: nothing is built, imported or run. For Apache, the directives that an installed apache2 or httpd lists itself. For
Python, the library of the interpreter that runs this.
Out: profiler/core/src/server/catalogue/SERVER.txt: two comment lines, then a line per option, sorted: its name (a flag with
its dashes; a parameter of WSGIDaemonProcess as `threads=`; a setting, keyword or directive bare), then `all` or versions.

Usage: xtask/options.py [SERVER...], all of them unless named. Exit: 1 if a list could not be made; its file is then as it was.
"""

import ast
import concurrent.futures.thread
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OUT = Path(__file__).resolve().parent.parent / "profiler/core/src/server/catalogue"
PYTHON = "3.14"  # Wheels are chosen for it: the newest releases want a new one.
CHANGED = "the source is written in another way than this script expects"
# pip asks the build system of a source archive for its name and version. This one only repeats what the archive says, so
# that no setup.py runs.
STAND_IN = '''
import email, os, pathlib, shutil, sys
def prepare_metadata_for_build_wheel(directory, config_settings=None):
    said = email.message_from_string(pathlib.Path("PKG-INFO").read_text("utf-8", "replace"))
    name = "{}-{}.dist-info".format(said["Name"].replace("-", "_"), said["Version"])
    os.makedirs(os.path.join(directory, name))
    shutil.copy("PKG-INFO", os.path.join(directory, name, "METADATA"))
    return name
__legacy__ = sys.modules[__name__]
'''


class Failed(Exception):
    """A list that could not be made, and why."""


def tree(path):
    return ast.parse(path.read_text("utf-8"), path.name)


def c_sources(*folders):
    """Without comments; what looks like one in a string stays."""
    either = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
    texts = (path.read_text("utf-8", "replace") for folder in folders for path in sorted(folder.glob("*.c")))
    return [either.sub(lambda match: match[1] or " ", text) for text in texts]


def found(names, what):
    """The same names; none at all means that the source is written in another way now."""
    names = set(names)
    if not names:
        raise Failed(f"no {what}: {CHANGED}")
    return names


def strings(nodes):
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def class_body(module, name):
    for node in module.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node.body
    raise Failed(f"no class {name}: {CHANGED}")


def assigned(body):
    """(name, value) of the plain assignments of a body; a name that is only declared has the value None."""
    for node in body:
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.value


def called_flags(module, *functions):
    """Long flags given to calls such as `parser.add_argument("-b", "--bind")` or `click.option("--a/--no-a")`."""
    calls = (node for node in ast.walk(module) if isinstance(node, ast.Call))
    their = (call for call in calls if {getattr(call.func, "attr", None), getattr(call.func, "id", None)} & {*functions})
    names = (name for call in their for name in strings(call.args))
    return found((flag for name in names for flag in name.split("/") if flag.startswith("--")), f"flag given to {functions[0]}")


def keywords(module, name):
    """What `__init__` of a class can be given."""
    for node in class_body(module, name):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            return found((one.arg for one in arguments if one.arg != "self"), f"keyword of {name}")
    raise Failed(f"{name} has no __init__: {CHANGED}")


def attributes(module, name):
    """What can be set on a class: its attributes and the properties that have a setter."""
    body = class_body(module, name)
    functions = (node for node in body if isinstance(node, ast.FunctionDef))
    setters = {node.name for node in functions if "setter" in [getattr(one, "attr", "") for one in node.decorator_list]}
    names = setters | {name for name, _ in assigned(body)}
    return found((one for one in names if not one.startswith("_")), f"attribute of {name}")


def gunicorn(root):
    config = tree(root / "gunicorn/config.py")
    names, flags = set(), set()
    for node in config.body:
        own = dict(assigned(node.body)) if isinstance(node, ast.ClassDef) else {}
        if "section" in own or "cli" in own:
            names |= set(strings([own.get("name")]))
            flags |= {flag for flag in strings(getattr(own.get("cli"), "elts", [])) if flag.startswith("--")}
    return found(names, "setting") | found(flags, "flag") | called_flags(config, "add_argument")


def waitress(root):
    module = tree(root / "waitress/adjustments.py")
    parameters = dict(assigned(class_body(module, "Adjustments"))).get("_params")
    names = set()
    for pair in getattr(parameters, "elts", []):
        name, cast = pair.elts[0].value, getattr(pair.elts[1], "id", "")
        flag = name.replace("_", "-")
        names |= {name, f"--{flag}"} | ({f"--no-{flag}"} if cast == "asbool" else set())
    # Those that are no setting: long_opts = ["help", "call"].
    named = [value for node in ast.walk(module) for name, value in assigned([node]) if name == "long_opts"]
    return found(names, "setting") | {f"--{one}" for value in named for one in strings(getattr(value, "elts", []))}


def cheroot(root):
    nodes = ast.walk(tree(root / "cheroot/cli.py"))
    keys = (key for node in nodes if isinstance(node, ast.Dict) for key in strings(node.keys))
    names = found((key for key in keys if key.startswith("--")), "flag") | keywords(tree(root / "cheroot/wsgi.py"), "Server")
    server = tree(root / "cheroot/server.py")
    return names | keywords(server, "HTTPServer") | attributes(server, "HTTPServer")


def gevent(root):
    classes = [("pywsgi", "WSGIServer"), ("server", "StreamServer"), ("baseserver", "BaseServer"), ("threadpool", "ThreadPool")]
    return set().union(*(keywords(tree(root / "gevent" / f"{module}.py"), name) for module, name in classes))


def twisted(root):
    names = set()
    for node in class_body(tree(root / "twisted/web/tap.py"), "Options"):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("opt_"):
            names.add(node.name.removeprefix("opt_").replace("_", "-"))
        elif isinstance(node, (ast.Assign, ast.Expr)):
            # Rows of optParameters and optFlags, and such as are appended to them.
            rows = (row for row in ast.walk(node) if isinstance(row, ast.List))
            names |= {name for row in rows for name in strings(row.elts[:1])}
    calls = set(re.findall(r"def (suggestThreadPoolSize)\(", (root / "twisted/internet/base.py").read_text("utf-8")))
    pool = keywords(tree(root / "twisted/python/threadpool.py"), "ThreadPool")
    endpoint = keywords(tree(root / "twisted/internet/endpoints.py"), "TCP4ServerEndpoint")
    options = {f"--{name}" for name in found(names, "option of twist web")}
    return options | found(calls, "suggestThreadPoolSize") | pool | endpoint


def uwsgi(root):
    """Options of the core and of the plugins that a plain build has in it; other plugins' options need them loaded."""
    said = "".join((root / "buildconf" / name).read_text() for name in ["base.ini", "default.ini"])
    lists = re.findall(r"^(?:embedded_plugins|main_plugin)\s*=(.*)$", said, re.MULTILINE)
    plugins = found(re.findall(r"\w+", " ".join(lists)), "plugins in buildconf")
    texts = c_sources(root / "core", root / "proto", *(root / "plugins" / plugin for plugin in plugins))
    table = r"struct\s+uwsgi_option\s+\w+\[\]\s*=\s*\{(.*?)\n\s*\};"
    tables = (one for text in texts for one in re.findall(table, text, re.DOTALL))
    entry = r'\{\s*(?:\(\s*char\s*\*\s*\)\s*)?"([^"\s]+)"\s*,'
    return found((f"--{name}" for one in tables for name in re.findall(entry, one)), "option table")


def mod_wsgi(root):
    """Directives, parameters of WSGIDaemonProcess with their `=`, flags of mod_wsgi-express."""
    sources = c_sources(root / "src/server")
    directives = {name for text in sources for name in re.findall(r'AP_INIT_\w+\(\s*"<?(WSGI\w+)"', text)}
    definition = r"\bwsgi_add_daemon_process\([^;{)]*\)\s*\{(.*?)\n\}"
    bodies = [body for text in sources for body in re.findall(definition, text, re.DOTALL)]
    parameters = {f"{name}=" for body in bodies for name in re.findall(r'strcmp\(option,\s*"([\w-]+)"\)', body)}
    flags = set()
    for path in [*root.glob("src/server/*.py"), *root.glob("src/express/*.py")]:
        if "add_option(" in path.read_text("utf-8"):
            flags |= called_flags(tree(path), "add_option", "make_option")
    return found(directives, "directive") | found(parameters, "parameter of WSGIDaemonProcess") | found(flags, "flag")


# Project, what its archive is, which versions (`25.*`: the newest 25; empty: the newest of all; `>=`: all from there), reader.
SERVERS = {
    "gunicorn": ("gunicorn", "wheel", ["20.1.0", "21.2.0", "22.0.0", "23.0.0", "25.*", "27.*"], gunicorn),
    "waitress": ("waitress", "wheel", ["2.1.2", "3.0.2"], waitress),
    "cheroot": ("cheroot", "wheel", ["10.*", "11.*"], cheroot),
    "cherrypy": ("CherryPy", "wheel", [""], lambda root: {
        f"server.{name}" for name in attributes(tree(root / "cherrypy/_cpserver.py"), "Server")
    }),
    "uvicorn": ("uvicorn", "wheel", ["0.30.*", ""], lambda root: called_flags(tree(root / "uvicorn/main.py"), "option")),
    "hypercorn": ("hypercorn", "wheel", [""], lambda root: (
        called_flags(tree(root / "hypercorn/__main__.py"), "add_argument") | attributes(tree(root / "hypercorn/config.py"), "Config")
    )),
    "daphne": ("daphne", "wheel", [""], lambda root: called_flags(tree(root / "daphne/cli.py"), "add_argument")),
    "a2wsgi": ("a2wsgi", "wheel", [""], lambda root: keywords(tree(root / "a2wsgi/wsgi.py"), "WSGIMiddleware")),
    "gevent": ("gevent", "wheel", [""], gevent),
    "twisted": ("Twisted", "wheel", [""], twisted),
    "anyio": ("anyio", "wheel", [""], lambda root: attributes(tree(root / "anyio/_core/_synchronization.py"), "CapacityLimiter")),
    "trio": ("trio", "wheel", [""], lambda root: attributes(tree(root / "trio/_sync.py"), "CapacityLimiter")),
    "uwsgi": ("uWSGI", "source", [">=2.0.20"], uwsgi),
    "mod_wsgi": ("mod_wsgi", "source", ["4.9.4", "5.0.2", "6.*"], mod_wsgi),
}


def pip(*arguments, **environment):
    command = [sys.executable, "-m", "pip", *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Failed(f"pip {arguments[0]} {arguments[-1]}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return done.stdout


def number(version):
    return [int(part) for part in re.findall(r"\d+", version)]


def wanted(project, specifications):
    """The requirements to ask pip for."""
    for one in specifications:
        if one.startswith(">="):
            listed = re.search(r"^Available versions: (.*)$", pip("index", "versions", project), re.MULTILINE)
            versions = listed[1].split(", ") if listed else []
            yield from (f"{project}=={version}" for version in versions if number(version) >= number(one))
        else:
            yield f"{project}=={one}" if one else project


def of_index(project, kind, specifications, reader):
    """Options by version."""
    options = {}
    for requirement in wanted(project, specifications):
        with tempfile.TemporaryDirectory() as directory:
            version, root = download(requirement, kind, Path(directory))
            try:
                options[version] = reader(root)
            except (Failed, AttributeError, OSError, SyntaxError) as failed:
                raise Failed(f"{version}: {failed}") from None
    if not options:
        raise Failed(f"pip lists no version of {project} that is wanted: {' '.join(specifications)}")
    return options


def download(requirement, kind, directory):
    """Its version and the folder of its files."""
    if kind == "wheel":
        which, unpack = ["--only-binary", ":all:", "--python-version", PYTHON], {"format": "zip"}
    else:
        which, unpack = ["--no-binary", ":all:", "--no-build-isolation", "--use-pep517"], {"format": "gztar", "filter": "data"}
    (directory / "setuptools").mkdir()
    (directory / "setuptools/__init__.py").touch()
    (directory / "setuptools/build_meta.py").write_text(STAND_IN)
    pip("download", "--no-deps", "-d", str(directory / "archive"), *which, requirement, PYTHONPATH=str(directory))
    [archive] = (directory / "archive").iterdir()
    root = directory / "files"
    shutil.unpack_archive(archive, root, **unpack)
    return archive.name.removesuffix(".tar.gz").split("-")[1], root if kind == "wheel" else next(root.iterdir())


def of_apache():
    """The directives of the core and of every MPM, as the installed server lists them."""
    program = next(filter(None, map(shutil.which, ["apache2", "httpd", "/usr/sbin/apache2", "/usr/sbin/httpd"])), None)
    modules = [path for folder in ["/usr/lib", "/usr/lib64", "/etc"] for path in Path(folder).glob("*/modules/mod_mpm_*.so")]
    if not program or not modules:
        raise Failed("neither apache2 nor httpd with its MPMs is installed")
    [version] = re.findall(r"Apache/(\S+)", subprocess.run([program, "-v"], capture_output=True, text=True).stdout)
    names = set()
    for module in sorted(modules):
        load = f"LoadModule {module.stem.removeprefix('mod_')}_module {module}"
        listing = [program, "-L", "-f", "/dev/null", "-C", load, "-c", "ErrorLog /dev/stderr", "-c", "ServerName localhost"]
        listed = subprocess.run(listing, capture_output=True, text=True)
        names |= found(re.findall(r"^<?(\w+) \([\w.]+\)$", listed.stdout, re.MULTILINE), f"directive from {module.name}")
    return {version: names}


def of_python():
    """The keywords of the executor that asyncio runs plain functions in, as the interpreter that runs this script has them."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    return {version: keywords(tree(Path(concurrent.futures.thread.__file__)), "ThreadPoolExecutor")}


# Those that are installed, and not asked of the index.
INSTALLED = {"apache": of_apache, "python": of_python}


def write(server, options):
    versions = sorted(options, key=number)
    lines = [f"# {server}: options by version, made by xtask/options.py", f"# versions: {' '.join(versions)}"]
    for option in sorted(set().union(*options.values())):
        has = [version for version in versions if option in options[version]]
        lines.append(f"{option} {'all' if has == versions else ' '.join(has)}")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{server}.txt").write_text("\n".join(lines) + "\n")
    print(f"{server}: {len(lines) - 2} options, versions {' '.join(versions)}")


def main(names):
    servers = [*SERVERS, *INSTALLED]
    if unknown := set(names) - set(servers):
        sys.exit(f"no such server: {' '.join(sorted(unknown))}; there are {' '.join(servers)}")
    all_made = True
    for server in names or servers:
        try:
            write(server, INSTALLED[server]() if server in INSTALLED else of_index(*SERVERS[server]))
        except (Failed, OSError) as failed:
            all_made = False
            print(f"{server}: no list: {failed}", file=sys.stderr)
    sys.exit(not all_made)


if __name__ == "__main__":
    main(sys.argv[1:])
