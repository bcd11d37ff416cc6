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
from dataclasses import dataclass
from pathlib import Path

import collector
import compiled
import disk
import drawings
import huggingface_hub.constants
import pages

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


def find_plugins() -> None:
    """Let Snakemake look for its plugins, which it does once in a process."""
    import snakemake.cli

    snakemake.cli.get_argument_parser()


def serve(place: str, until: int, made: Path) -> None:
    """Run what clients ask for, until a process and their programs have ended; what is made goes into a folder."""
    import_libraries()
    find_plugins()
    drawings.remember(made)
    compiled.remember_templates(made)
    compiled.remember_snakefiles(made)
    disk.leave_unflushed()
    collector.look_rarely()
    pages.use_large()
    ended = os.pidfd_open(until)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{place}.new")
        listening.listen(64)
        os.rename(f"{place}.new", place)  # noqa: PTH104  (clients find it once it listens)
        forks: list[Fork] = []
        while ended is not None or forks:
            own = [] if ended is None else [listening, ended]
            ready, _, _ = select.select([*own, *(file for fork in forks for file in (fork.client, fork.ended))], [], [])
            if ended in ready:
                ended = None
            for fork in forks:
                if fork.ended in ready or fork.client in ready:
                    fork.finish(told=fork.ended in ready)
            forks = [fork for fork in forks if fork.client.fileno() >= 0]
            if listening in ready and (fork := begun(listening, forks)):
                forks.append(fork)


@dataclass
class Fork:
    """A program that runs for a client.

    Attributes:
        process: its id.
        ended: file that can be read once it has ended.
        client: connection that is closed, and can be read, once the client has ended.
    """

    process: int
    ended: int
    client: socket.socket

    def finish(self, told: bool) -> None:
        """Tell the client how the program ended; without the client, kill it."""
        if not told:
            os.kill(self.process, signal.SIGKILL)
        _, status = os.waitpid(self.process, 0)
        if told:
            with suppress(OSError):  # the client has ended as well
                self.client.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "little", signed=True))
        self.close()

    def close(self) -> None:
        os.close(self.ended)
        self.client.close()


def begun(listening: socket.socket, forks: list[Fork]) -> Fork | None:
    """Begin what a client asks for; None if the client has ended before it had asked."""
    client, _ = listening.accept()
    head, streams, _, _ = socket.recv_fds(client, 8, 3)
    content = b""
    while len(content) < int.from_bytes(head, "little"):
        if not (more := client.recv(2**20)):
            break
        content += more
    asked = json.loads(content.decode("utf-8", "surrogateescape")) if content.endswith(b"}") else None
    process = os.fork() if asked else 0
    if asked and process == 0:
        for fork in forks:
            fork.close()
        listening.close()
        client.close()
        become(asked, streams)
    for stream in streams:
        os.close(stream)
    if not asked:
        client.close()
        return None
    with suppress(OSError):  # the client has ended; this is seen next
        client.sendall(process.to_bytes(8, "little"))
    return Fork(process, os.pidfd_open(process), client)


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
