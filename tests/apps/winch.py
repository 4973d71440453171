"""gunicorn's settings for an upgrade in the foreground: SIGWINCH counts only where gunicorn believes that it is a daemon."""


def when_ready(server):
    """Called once the master has its listeners: by then it would have gone to the background."""
    server.cfg.set("daemon", True)
