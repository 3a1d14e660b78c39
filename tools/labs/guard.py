"""Runs first in the kernel of a lab: it stays in its folder and off the network.

A guard against slips, not a prison: what is written by C++ it does not see.
"""


def guard():
    import os
    import sys
    from pathlib import Path

    home = Path.home()
    caches = os.environ.get("XDG_CACHE_HOME", home / ".cache")
    places = [".", sys.prefix, sys.base_prefix, caches, home / ".config/matplotlib"]
    places.append(os.environ.get("MPLCONFIGDIR", "."))
    allowed = [os.path.realpath(place) for place in places]
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    changing = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate"}
    saved = set()

    def inside(path):
        if isinstance(path, int) or path is None or os.fspath(path) == os.devnull:
            return True
        path = os.path.realpath(os.fsdecode(path))
        return any((path + os.sep).startswith(place + os.sep) for place in allowed)

    def hook(event, arguments):
        match event, arguments:
            case "open", (path, _, int(flags)) if flags & writing:
                if not inside(path):
                    refuse(f"writes only into its own folder, not {os.fsdecode(path)}")
                save(str(path))
            case name, (path, *_) if name in changing and not inside(path):
                refuse(f"changes nothing outside its own folder: {os.fsdecode(path)}")
            case "os.chdir", _:
                refuse("stays in its own folder, take chdir out")
            case "socket.getaddrinfo", (host, *_):
                refuse(f"reads nothing from the network, not from {host}")
            case "socket.connect", (_, (str(host), int(), *_)):
                if not host.startswith("127."):
                    refuse(f"reads nothing from the network, not from {host}")

    def save(path):
        if path in saved:
            refuse(f"saves {path} once, give each figure a name of its own")
        if path.endswith(".svg"):
            saved.add(path)

    def refuse(what):
        raise PermissionError(f"a lab {what}")

    sys.addaudithook(hook)


guard()
del guard
