"""An extraction that is killed, asked to stop or run twice ends in the store that an undisturbed one makes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from figures import tell
from helpers import save_model, write_distribution
from project import HANG_SECONDS, warm_program

from genies.files import write_json
from genies.spent import SPENT_FILE
from genies.store.writing import WAITING_BATCHES

EXAMPLES = 240
VIEWS = 3
PROGRAM = Path(__file__).with_name("extraction_in_forks.py")


@dataclass
class Run:
    """What the program did: its stores' files by name, events and exit statuses."""

    files: dict[str, bytes]
    events: str
    statuses: list[int]

    @property
    def passes(self) -> int:
        """Planned forward passes."""
        return self.events.count("p")

    def lost(self) -> list[int]:
        """By process that was killed after a planned pass: how many of its passes another one did again."""
        lost, reached = [], 0
        for done in self.events.split("k"):
            if numbers := [int(number) for number in re.findall(r"p(\d+)", done)]:
                lost.append(max(0, reached - numbers[0]))
                reached = numbers[-1] + 1
        return lost[1:]

    def passes_of_a_block(self) -> int:
        """Most planned passes that hold texts of one block; all views have the same texts, so one view tells."""
        ends = np.cumsum([int(texts) for texts in re.findall(r"p\d+\.(\d+)", self.events)])
        starts = np.concatenate([[0], ends[:-1]])
        size = -(-ends[-1] // (self.events.count("b") // VIEWS))
        firsts = range(0, ends[-1], size)
        return max(int(((starts < first + size) & (ends > first)).sum()) for first in firsts)


class Extraction:
    """A model and a split to extract with the program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = {
            "name": "tiny", "path": str(save_model(folder / "tiny", "llama")), "files": {},
            "weights_digest": "w", "eos_token": 2, "attention": "sdpa",
        }  # fmt: skip
        self.split = write_distribution(folder / "cities", train=1, test=EXAMPLES) / "test.json"

    def start(self, name: str, number: int = 0, **job: object) -> subprocess.Popen[str]:
        """Start the program on stores in the folder ``name``."""
        file = self.folder / f"{name}-{number}.json"
        root = self.folder / name
        root.mkdir(exist_ok=True)
        fixed = {"model": self.model, "split": str(self.split), "root": str(root), "events": str(root / "events")}
        write_json(
            file, {**fixed, "kills": 0, "signal": signal.SIGKILL, "reach": 1, "seed": number, "limits": [], **job}
        )
        command = [sys.executable, str(PROGRAM), str(file)]
        return subprocess.Popen(command, env=warm_program(PROGRAM), stdout=subprocess.PIPE, text=True)

    def result(self, name: str, program: subprocess.Popen[str]) -> Run:
        """Wait for the program, and read what it left."""
        output, _ = program.communicate(timeout=HANG_SECONDS)
        assert program.returncode == 0
        root = self.folder / name
        files = {
            str(file.relative_to(root)): file.read_bytes()
            for file in sorted(root.rglob("*"))
            if file.is_file() and file.name not in ("events", SPENT_FILE) and ".locks" not in file.parts
        }
        return Run(files, (root / "events").read_text(), json.loads(output.splitlines()[-1]))

    def run(self, name: str, **job: object) -> Run:
        """Run the program to its end."""
        return self.result(name, self.start(name, **job))


@pytest.fixture(scope="module")
def extraction(tmp_path_factory: pytest.TempPathFactory) -> Extraction:
    return Extraction(tmp_path_factory.mktemp("extraction"))


@pytest.fixture(scope="module")
def undisturbed(extraction: Extraction) -> Run:
    run = extraction.run("undisturbed")
    assert run.statuses == [0] and run.events.count("b") > 60
    return run


@pytest.mark.parametrize(("kills", "reach"), [(4, 30), pytest.param(50, 12, marks=pytest.mark.torture)])
def test_after_sigkill_at_random_moments_the_store_is_the_same_and_no_more_than_a_block_and_what_waits_is_lost(
    extraction: Extraction, undisturbed: Run, kills: int, reach: int
) -> None:
    run = extraction.run(f"killed-{kills}", kills=kills, reach=reach)
    assert run.files == undisturbed.files
    killed = run.statuses.count(-signal.SIGKILL)
    assert killed >= 0.8 * kills and run.statuses[-1] == 0
    # The passes of the block that was begun, and those that were done but not yet handed to it: features that wait to
    # be written, and those of the last pass, which wait for a place among them.
    block, waiting, lost = undisturbed.passes_of_a_block(), WAITING_BATCHES + 1, run.lost()
    assert max(lost) <= block + waiting
    assert run.passes == undisturbed.passes + sum(lost)
    tell(
        f"SIGKILL at {killed} random moments ({len(lost)} while batches were computed): every file equal; "
        f"{run.passes} forward passes against {undisturbed.passes}; one kill lost {max(lost)} at most (a block has up "
        f"to {block}, and up to {waiting} wait to be written)"
    )


def test_sigterm_finishes_the_block_and_ends_with_a_status_of_its_own(extraction: Extraction, undisturbed: Run) -> None:
    run = extraction.run("stopped", kills=3, signal=signal.SIGTERM, reach=20)
    assert 143 in run.statuses and run.statuses[-1] == 0
    assert run.files == undisturbed.files
    # What was computed for the block that was begun is kept; a batch over its end is computed again.
    assert run.passes <= undisturbed.passes + 3 * run.statuses.count(143)


def test_after_sigkill_while_a_part_is_added_the_parts_are_the_same(extraction: Extraction) -> None:
    limits = [EXAMPLES - 40, EXAMPLES - 20]
    grown = extraction.run("grown", limits=limits)
    assert len({file.split("/")[0] for file in grown.files}) == 3 * VIEWS
    run = extraction.run("grown-killed", limits=limits, kills=4, reach=30)
    assert run.statuses.count(-signal.SIGKILL) >= 3 and run.statuses[-1] == 0
    assert run.files == grown.files


def test_two_extractions_of_one_store_at_once_compute_it_once(extraction: Extraction, undisturbed: Run) -> None:
    first, second = (extraction.start("twice", number) for number in range(2))
    extraction.result("twice", first)
    run = extraction.result("twice", second)
    assert run.files == undisturbed.files
    assert run.passes == undisturbed.passes
