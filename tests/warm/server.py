"""A program: import the libraries once, then run ``genies`` and Snakemake for clients, each in a fork of this process.

Most of what a small job takes is imports. Forks share them, and import ``genies`` itself from the client's own
PYTHONPATH. See ``sitecustomize.py`` for the client.
"""

import atexit
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import collector
import disk
import drawings
import huggingface_hub.constants

LIBRARIES = (
    "altair", "cyclopts", "docstring_parser", "h5py", "jinja2", "peft", "polars", "pydantic.dataclasses",
    "safetensors.numpy", "safetensors.torch", "scipy.optimize", "scipy.stats", "sklearn.covariance",
    "sklearn.linear_model", "snakemake.cli", "snakemake.profiles", "snakemake.report.html_reporter",
    "snakemake.storage", "threadpoolctl", "torch", "torch._dynamo", "tqdm",
    "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama", "yaml", "zarr",
)  # fmt: skip
"""Optimizers import ``torch._dynamo``, which takes longer than a short training."""
PATH = [place for place in sys.path if place != str(Path(__file__).parent)]


def import_libraries() -> None:
    """Import what programs import; without arguments, this program does nothing else, and Python keeps bytecode."""
    for name in LIBRARIES:
        importlib.import_module(name)


def serve(place: str, until: int, drawn: Path) -> None:
    """Run what clients ask for, until a process has ended; what they draw is kept in a folder."""
    import_libraries()
    drawings.remember(drawn)
    disk.leave_unflushed()
    collector.look_rarely()
    ended = os.pidfd_open(until)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{place}.new")
        listening.listen(64)
        os.rename(f"{place}.new", place)  # noqa: PTH104  (clients find it once it listens)
        while True:
            ready, _, _ = select.select([listening, ended], [], [], 1)
            if ended in ready:
                return
            if listening in ready:
                connection, _ = listening.accept()
                if os.fork() == 0:
                    listening.close()
                    attend(connection)
                    return
                connection.close()
            reap()


def reap() -> None:
    """Take note of forks that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def attend(connection: socket.socket) -> None:
    """Run what one client asks for in a fork, and tell how it ended; without the client, it is killed."""
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    content = b""
    while len(content) < int.from_bytes(head, "little"):
        content += connection.recv(2**20)
    fork = os.fork()
    if fork == 0:
        connection.close()
        become(json.loads(content.decode("utf-8", "surrogateescape")), streams)
    connection.sendall(fork.to_bytes(8, "little"))
    ended = os.pidfd_open(fork)
    ready, _, _ = select.select([ended, connection], [], [])
    if ended not in ready:
        os.kill(fork, signal.SIGKILL)
    _, status = os.waitpid(fork, 0)
    if ended in ready:
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "little", signed=True))
    os._exit(0)


def become(asked: dict, streams: list[int]) -> None:
    """Go on as the process that the client would have been, and end as it would."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["folder"])
    os.umask(asked["umask"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    importlib.reload(huggingface_hub.constants)  # it read the server's environment
    _, program, *rest = asked["words"]
    places = [place for place in asked["environment"].get("PYTHONPATH", "").split(os.pathsep) if place]
    if program == "-m":
        module, *rest = rest
        sys.path[:] = [asked["folder"], *places, *PATH]
        sys.argv[:] = [module, *rest]
        end(status_of(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True)))
    elif program == "-c":
        code, *rest = rest
        sys.path[:] = ["", *places, *PATH]
        sys.argv[:] = ["-c", *rest]
        end(status_of(lambda: exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})))
    else:
        sys.path[:] = [str(Path(program).parent), *places, *PATH]
        sys.argv[:] = [program, *rest]
        end(status_of(lambda: runpy.run_path(program, run_name="__main__")))


def status_of(program: Callable[[], object]) -> int:
    """Run a program; the exit status that Python would give it."""
    try:
        program()
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def end(status: int) -> None:
    """End this process as Python does, but leave its objects: to free what all forks share would copy it first."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status & 0xFF)


if __name__ == "__main__":
    if sys.argv[1:]:
        serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    else:
        import_libraries()
