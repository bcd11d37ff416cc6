"""Work in a child process: its result, its errors, and its end without a word."""

from __future__ import annotations

import os

import pytest

from genies.costs.background import Background
from genies.errors import DataError


def test_the_work_is_done_in_another_process() -> None:
    background = Background(os.getpid)
    assert background.result() != os.getpid()


def test_where_processes_cannot_be_copied_it_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    assert Background(os.getpid).result() == os.getpid()


def test_an_error_is_raised_where_the_result_is_wanted() -> None:
    def refuse() -> None:
        raise DataError("a/train.json: broken")

    with pytest.raises(DataError, match="a/train.json: broken"):
        Background(refuse).result()


def test_a_child_that_is_killed_is_named() -> None:
    with pytest.raises(RuntimeError, match="a child process ended with status 9"):
        Background(lambda: os._exit(9)).result()
