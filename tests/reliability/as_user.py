"""Program of tests: run verbs as another user, ``as_user.py USER UMASK KILLS WORD...``, in the working directory.

The words are ``missing`` (all verbs whose files are missing), ``verb NAME``, or the arguments of ``genies``. Before
that, the same is begun KILLS times in forks of this process, which are killed at random moments; it prints how many.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import sysconfig
import time

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401  (imported once, before the forks)
from verbs import Verbs

from genies.cli import main

PATIENCE = 3.0
"""Most seconds from a fork to its kill."""


def run(words: list[str]) -> int:
    """Do what the words say; returns the exit status."""
    if words == ["missing"]:
        Verbs().run_missing()
        return 0
    return Verbs().run(words[1]) if words[0] == "verb" else main(words)


def become(user: int) -> None:
    """Become another user, who may import of Python's library what root may, even where that lies in root's folder."""
    library = sysconfig.get_path("stdlib")
    reached = f"/proc/self/fd/{os.open(library, os.O_RDONLY)}"
    sys.path[:] = [path.replace(library, reached) for path in sys.path]
    for module in list(sys.modules.values()):
        places = getattr(module, "__path__", None)
        if isinstance(places, list):
            module.__path__ = [place.replace(library, reached) for place in places]
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


if __name__ == "__main__":
    user, umask, kills = int(sys.argv[1]), int(sys.argv[2], 8), int(sys.argv[3])
    torch.set_num_threads(1)
    os.umask(umask)
    if user:
        become(user)
    draw, killed = random.Random(user), 0
    for _ in range(kills):
        if (child := os.fork()) == 0:
            os._exit(run(sys.argv[4:]))
        time.sleep(draw.uniform(0, PATIENCE))
        os.kill(child, signal.SIGKILL)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    print(killed, flush=True)
    sys.exit(run(sys.argv[4:]))
