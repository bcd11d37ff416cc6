"""Program of tests: extract one split in forks of this process, and kill them at random moments.

Its argument is a JSON file with ``model`` (manifest), ``split`` (file of the test split), ``root`` (of the stores),
``events`` (file), ``kills`` (how many), ``signal`` (number), ``reach`` (mean number of events of a process until it is
killed while it computes), ``seed`` and ``limits`` (numbers of examples that are extracted before all of them are). To
``events`` goes a word for all that happens: ``o`` after a store was opened, ``f`` when batches begin to be computed,
``pN.T`` after each planned forward pass (the number of its batch in the plan, and how many texts of a view it has),
``b`` after each block, ``k`` for a process that was killed and ``e`` for one that ended by itself. Self-tests do not
count as planned. The last process is never killed. Prints the exit statuses, as JSON.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401  (imported once, before the forks)

from genies.data.distributions import read_split
from genies.data.texts import split_texts
from genies.data.views import VIEWS
from genies.engine.options import Extraction
from genies.engine.tokenization import tokenize
from genies.engine.tokens import select_tokens
from genies.errors import GeniesError
from genies.models.load import load_tokenizer
from genies.store import blocks as store
from genies.store.extraction import Extractor
from genies.store.requests import Request
from genies.store.writer import StoreWriter

VIEWS_READ = ("plain", "yes", "no")
PASS_TOKENS = 200
OPENING = len(VIEWS_READ) + 1
"""Events before the first pass."""
PAUSE = 0.005
"""Most seconds from an event to the kill, so that it does not fall on events alone."""


def main() -> None:
    """See above."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    store.BLOCK_BYTES = 1  # so that a block has the fewest texts, 16
    events = os.open(job["events"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    draw, statuses = random.Random(job["seed"]), []
    for kill in range(job["kills"] + 1):
        heard, told = os.pipe()
        child = os.fork()
        if child == 0:
            run(job, events, told)
        os.close(told)
        if kill < job["kills"]:
            # Counted in events, not seconds, so that the work outlasts the kills on any machine: every second process
            # ends before its first pass, or soon after; the others while they compute.
            wanted = OPENING + draw.randint(1, 2 * job["reach"]) if kill % 2 else draw.randint(0, OPENING)
            while wanted and os.read(heard, 1):
                wanted -= 1
            time.sleep(draw.uniform(0, PAUSE))
            os.kill(child, job["signal"])
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(heard)
        os.write(events, b"k " if status < 0 else b"e ")
        statuses.append(status)
    print(json.dumps(statuses))


def run(job: dict, events: int, told: int) -> None:
    """One process of the extraction; ends the process."""

    def note(word: str) -> None:
        os.write(events, f"{word} ".encode())
        os.write(told, b".")

    def fill(self, writers, columns, plan, forest, *rest) -> None:
        note("f")
        numbers.update({batch.rows: number for number, batch in enumerate(plan)})
        of_class(self, writers, columns, plan, forest, *rest)

    def passed(_, batch, forest, *__) -> str:
        views = [view for tree in batch.trees for view, _ in forest.members[tree]]
        return f"p{numbers[batch.rows]}.{views.count(VIEWS_READ[0])}"

    numbers: dict[tuple, int] = {}
    of_class, Extractor._fill = Extractor._fill, fill
    note_after(Extractor, "read", lambda *given: note(passed(*given)))
    note_after(StoreWriter, "_open", lambda *_: note("o"))
    note_after(StoreWriter, "_write_block", lambda *_: note("b"))
    texts = split_texts(read_split(Path(job["split"])), "test", 0)
    tokenizer = load_tokenizer(Path(job["model"]["path"]))
    tokens = {view: tokenize(tokenizer, texts, VIEWS[view]) for view in VIEWS_READ}
    extractor = Extractor(job["model"], Path(job["root"]), Extraction(batch_tokens=PASS_TOKENS, device="cpu"))
    try:
        for limit in (*job["limits"], len(texts)):
            some = {view: select_tokens(table, np.flatnonzero(table.example < limit)) for view, table in tokens.items()}
            extractor.extract(Request("cities", "test", some, {view: f"tokens of {view}" for view in tokens}))
    except GeniesError as error:
        print(error, file=sys.stderr)
        os._exit(error.status)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def note_after(kind: type, name: str, note: Callable[..., object]) -> None:
    """Call ``note`` with a method's arguments whenever it has returned."""
    method = getattr(kind, name)

    def noted(*args):
        result = method(*args)
        note(*args)
        return result

    setattr(kind, name, noted)


if __name__ == "__main__":
    main()
