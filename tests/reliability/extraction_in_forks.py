"""Program of tests: extract one split in forks of this process, and kill them at random moments.

Its argument is a JSON file with ``model`` (manifest), ``split`` (file of the test split), ``root`` (of the stores),
``events`` (file), ``kills`` (how many), ``signal`` (number), ``pace`` (mean seconds between kills) and ``seed``. To
``events`` goes a letter for all that happens: ``f`` when batches begin to be computed, ``p`` after each planned forward
pass, ``b`` after each block, ``k`` for a process that was killed and ``e`` for one that ended by itself. Self-tests do
not count as planned. The last process is never killed. Prints the exit statuses, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import warnings
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401  (imported once, before the forks)

from genies.activations import store
from genies.activations.extraction import Extractor, Request, Settings
from genies.activations.store import StoreWriter
from genies.activations.tokenization import tokenize
from genies.data.distributions import read_split
from genies.data.texts import split_texts
from genies.data.views import VIEWS
from genies.errors import GeniesError
from genies.models import load_tokenizer

VIEWS_READ = ("plain", "yes", "no")
PASS_TOKENS = 200


def main() -> None:
    """See above."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    store.BLOCK_BYTES = 1  # so that a block has the fewest texts, 16
    events = os.open(job["events"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    note_after(Extractor, "_read", lambda: os.write(events, b"p"))
    note_after(StoreWriter, "_write_block", lambda: os.write(events, b"b"))
    draw, statuses = random.Random(job["seed"]), []
    for kill in range(job["kills"] + 1):
        begun, told = os.pipe()
        child = os.fork()
        if child == 0:
            run(job, events, told)
        os.close(told)
        if kill < job["kills"]:
            if kill % 2:  # from when batches are computed on; else from the start of the process
                os.read(begun, 1)
            time.sleep(draw.uniform(0, 2 * job["pace"]))
            os.kill(child, job["signal"])
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(begun)
        os.write(events, b"k" if status < 0 else b"e")
        statuses.append(status)
    print(json.dumps(statuses))


def run(job: dict, events: int, told: int) -> None:
    """One process of the extraction; ends the process."""

    def fill(*args) -> None:
        os.write(events, b"f")
        os.write(told, b"f")
        of_class(*args)

    of_class, Extractor._fill = Extractor._fill, fill
    texts = split_texts(read_split(Path(job["split"])), "test", 0)
    tokenizer = load_tokenizer(Path(job["model"]["path"]))
    tokens = {view: tokenize(tokenizer, texts, VIEWS[view]) for view in VIEWS_READ}
    extractor = Extractor(job["model"], Path(job["root"]), Settings(batch_tokens=PASS_TOKENS), "cpu")
    try:
        extractor.extract(Request("cities", "test", tokens, {view: f"tokens of {view}" for view in tokens}))
    except GeniesError as error:
        print(error, file=sys.stderr)
        os._exit(error.status)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def note_after(kind: type, name: str, note) -> None:
    """Call ``note`` whenever a method of a class has returned."""
    method = getattr(kind, name)

    def noted(*args):
        result = method(*args)
        note()
        return result

    setattr(kind, name, noted)


if __name__ == "__main__":
    main()
