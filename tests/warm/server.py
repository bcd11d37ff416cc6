"""A program: import the libraries once, then run ``genies`` and Snakemake for clients, each in a fork of this process.

Most of what a small job takes is imports. Forks share them, and import ``genies`` itself from the client's own
PYTHONPATH. See ``sitecustomize.py`` for the client.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from pathlib import Path

LIBRARIES = (
    "altair", "h5py", "jinja2", "peft", "polars", "pydantic", "safetensors.numpy", "scipy.stats",
    "sklearn.linear_model", "snakemake.cli", "torch", "tqdm", "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama", "transformers.models.auto.tokenization_auto", "vl_convert", "zarr",
)  # fmt: skip
PATH = [place for place in sys.path if place != str(Path(__file__).parent)]


def serve(place: str) -> None:
    """Run what clients ask for, until the process that started this one has ended."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen(64)
        listening.settimeout(1)
        while os.getppid() == parent:
            try:
                connection, _ = listening.accept()
            except TimeoutError:
                pass
            else:
                connection.setblocking(True)
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
        return
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
    """Go on as the process that the client would have been; its end is that of this process."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["folder"])
    os.umask(asked["umask"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    _, program, *rest = asked["words"]
    places = [place for place in asked["environment"].get("PYTHONPATH", "").split(os.pathsep) if place]
    if program == "-m":
        module, *rest = rest
        sys.path[:] = [asked["folder"], *places, *PATH]
        sys.argv[:] = [module, *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.path[:] = [str(Path(program).parent), *places, *PATH]
        sys.argv[:] = [program, *rest]
        runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1])
