"""What it took to make something in the cache: what is measured, and what is left of it after an end of any kind."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from genies import spent
from genies.errors import Interrupted
from genies.spent import SPENT_FILE, Meter, note, noted, read_spent

MEBIBYTE = 2**20


def test_it_measures_seconds_of_both_kinds_and_the_peak_of_memory_from_its_beginning(tmp_path: Path) -> None:
    bytearray(400 * MEBIBYTE)  # before it begins
    with noted([tmp_path], "fit"):
        begin, cpu = time.monotonic(), time.process_time()
        large = b"x" * (100 * MEBIBYTE)
        time.sleep(0.1)
        while time.process_time() - cpu < 0.2:
            large.count(b"y")
        took = time.monotonic() - begin
    ((made,),) = read_spent(tmp_path).values()
    assert took <= made.seconds < took + 1
    assert 0.2 <= made.cpu_seconds < made.seconds
    assert made.device == "cpu" and made.peak_device_memory is None
    before = Meter().read().peak_memory
    assert 100 * MEBIBYTE - MEBIBYTE < made.peak_memory - before + len(large) < 300 * MEBIBYTE


def test_programs_that_it_starts_count(tmp_path: Path) -> None:
    program = "import time\nwhile time.process_time() < 0.3: pass"
    with noted([tmp_path], "plug-in"):
        subprocess.run([sys.executable, "-c", program], check=True)
    assert read_spent(tmp_path)["plug-in"][0].cpu_seconds >= 0.3


def test_things_that_are_made_together_have_the_same_note(tmp_path: Path) -> None:
    with noted([tmp_path / "a", tmp_path / "b"], "store") as meter:
        meter.tokens = lambda: {"computed_tokens": 12, "distinct_tokens": 10}
    (one,) = read_spent(tmp_path / "a")["store"]
    assert read_spent(tmp_path / "b")["store"] == [one]
    assert (one.computed_tokens, one.distinct_tokens) == (12, 10)


def test_who_goes_on_adds_a_note_and_leaves_those_of_other_things(tmp_path: Path) -> None:
    first, second = Meter(), Meter()
    note([tmp_path], "fit", first.read())
    note([tmp_path], "test/a", first.read())
    note([tmp_path], "fit", second.read())
    note([tmp_path], "fit", second.read())  # later in the same process
    notes = read_spent(tmp_path)
    assert [len(notes[what]) for what in ("fit", "test/a")] == [2, 1]


@pytest.mark.parametrize("end", [Interrupted("SIGTERM"), KeyboardInterrupt(), ValueError("no")])
def test_what_ends_early_has_cost_as_well(tmp_path: Path, end: BaseException) -> None:
    with pytest.raises(type(end)), noted([tmp_path], "fit"):
        raise end
    assert len(read_spent(tmp_path)["fit"]) == 1


def test_a_killed_process_leaves_a_note(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from genies import spent; spent.SECONDS_BETWEEN_NOTES = 0.05\n"
        "with spent.noted([Path(sys.argv[1])], 'fit'): time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    while not (tmp_path / SPENT_FILE).is_file():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read_spent(tmp_path)["fit"][0].seconds >= 0.05


def test_a_full_disk_stops_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spent, "write_json", full)
    with caplog.at_level(logging.WARNING), noted([tmp_path], "fit"):
        pass
    assert "could not be noted (No space left on device)" in caplog.text and not read_spent(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"fit": [{}]}', '{"fit": 3}'])
def test_a_damaged_note_counts_as_none_and_is_replaced(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / SPENT_FILE).write_text(content)
    assert read_spent(tmp_path) == {} and str(tmp_path / SPENT_FILE) in caplog.text
    note([tmp_path], "fit", Meter().read())
    assert len(read_spent(tmp_path)["fit"]) == 1
