"""Python loads this at its start where PYTHONPATH has this folder, as ``project.Project`` sets it.

A process that runs ``genies``, Snakemake or a program of the tests hands its arguments, environment and streams to
``server.py``, which runs them in a fork of a process that has imported the libraries already, and ends as that fork
ends.
"""

import os
import sys

SOCKET = "GENIES_WARM"
"""Environment variable with the server's socket; processes that start before it is there start as for users."""
PROGRAM = "GENIES_WARM_PROGRAM"
"""Environment variable with the path of a program of the tests, or ``-c``: programs given on the command line."""


def _is_handed_over(words: list[str]) -> bool:
    programs = (f"{sys.exec_prefix}/bin/genies", os.environ.get(PROGRAM))
    return words[1:3] in (["-m", "snakemake"], ["-m", "genies"]) or (len(words) > 1 and words[1] in programs)


def _hand_over(place: str, words: list[str]) -> None:
    import json
    import signal
    import socket

    connection = socket.socket(socket.AF_UNIX)
    connection.connect(place)
    umask = os.umask(0)
    os.umask(umask)
    asked = {
        "words": words,
        "folder": os.getcwd(),  # noqa: PTH109  (pathlib takes longer to import than all of this)
        "environment": dict(os.environ),
        "umask": umask,
    }
    content = json.dumps(asked).encode("utf-8", "surrogateescape")
    socket.send_fds(connection, [len(content).to_bytes(8, "little")], [0, 1, 2])
    connection.sendall(content)
    fork = int.from_bytes(connection.recv(8), "little")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os.kill(fork, number))
    status = int.from_bytes(connection.recv(8), "little", signed=True)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if os.path.exists(os.environ.get(SOCKET, "")) and _is_handed_over(sys.orig_argv):  # noqa: PTH110  (as above)
    _hand_over(os.environ[SOCKET], sys.orig_argv)
