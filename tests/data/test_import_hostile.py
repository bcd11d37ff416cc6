"""Hostile and damaged preference sets end in one line, and leave nothing that looks whole."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from preference_sets import written

from genies.cli import main
from genies.commands.import_set import import_set
from genies.data.distributions import read_split
from genies.data.preferences import rows
from genies.errors import DataError

GOOD = {"prompt": "q", "chosen": "a", "rejected": "b"}


def refusal(source: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of a set that is refused: one line."""
    assert main(["import", str(source), "--output", str(output)]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert not list(output.glob("*.json"))
    return told.err


FILES = {
    "empty": ("set.jsonl", b"", "holds no row that is a JSON object"),
    "NULs": ("set.jsonl", b"\0" * 1000, "holds no row that is a JSON object"),
    "HTML": ("set.jsonl", b"<!DOCTYPE html>\n<html><body>None</body></html>\n", "holds no row that is a JSON object"),
    "not UTF-8": ("set.jsonl", b"\xff\xfe\n" * 9, "holds no row that is a JSON object"),
    "deep": ("set.jsonl", b"[" * 300_000 + b"\n", "holds no row that is a JSON object"),
    "deep array": ("set.json", b"[" * 300_000, "nested too deeply"),
    "array of numbers": ("set.json", b"[1, 2]", "holds no row that is a JSON object"),
    "cut array": ("set.json", b'[{"prompt": "q"', "not JSON"),
    "endless number": ("set.json", b"[" + b"9" * 5000 + b"]", "too many digits"),
    "no parquet": ("set.parquet", b"PAR1" + b"\0" * 100 + b"PAR1", "cannot be read"),
    "empty parquet": ("set.parquet", b"", "cannot be read"),
    "no gzip": ("set.jsonl.gz", b"{}", "cannot be read"),
    "cut gzip": ("set.jsonl.gz", gzip.compress(json.dumps(GOOD).encode() * 100)[:30], "cannot be read"),
    "no columns": ("set.jsonl", b"{}\n", "holds no row that is a JSON object"),
    "other columns": ("set.jsonl", b'{"<script>": 1, "a\\u001b[2J": 2}\n', "no layout fits its columns"),
    "cut packed array": ("set.json.gz", gzip.compress(b'[{"prompt": "q"'), "not JSON"),
    "other kind": ("set.csv", b"prompt,chosen,rejected\n", "of no known kind"),
}


@pytest.mark.parametrize(("name", "content", "problem"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_set_is_refused_in_one_line(tmp_path, capsys, name, content, problem):
    (tmp_path / name).write_bytes(content)
    assert problem in refusal(tmp_path / name, tmp_path / "made", capsys)


def test_unpacking_a_bomb_ends_early(tmp_path, capsys):
    line = json.dumps({**GOOD, "chosen": "0" * 10**6}).encode() + b"\n"
    (tmp_path / "set.jsonl.gz").write_bytes(gzip.compress(line * 300, 9))
    assert "times larger when it is unpacked" in refusal(tmp_path / "set.jsonl.gz", tmp_path / "made", capsys)


def test_unpacking_an_array_ends_early(tmp_path, capsys):
    (tmp_path / "set.json.gz").write_bytes(gzip.compress(b"[" + b" " * 10**8 + b"]", 9))
    assert "times larger when it is unpacked" in refusal(tmp_path / "set.json.gz", tmp_path / "made", capsys)


def test_a_packed_array_is_no_longer_than_one_that_is_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rows, "MAX_ARRAY_BYTES", 1000)
    (tmp_path / "set.json.gz").write_bytes(gzip.compress(json.dumps([GOOD] * 100).encode()))
    assert "an array of more than 1000 bytes" in refusal(tmp_path / "set.json.gz", tmp_path / "made", capsys)


HUGE = 10**400
NUMBERS = {
    "preference": {"prompt": "q", "response1": "a", "response2": "b", "preference": HUGE},
    "scores": {"prompt": "q", "responses": ["a", "b"], "scores": [1, HUGE]},
    "rating": {"prompt": "q", "responses": [{"text": "a", "rating": HUGE}, {"text": "b", "rating": 1}]},
    "rank": {"prompt": "q", "responses": [{"text": "a", "rank": HUGE}, {"text": "b", "rank": 1}]},
    "far apart": {"prompt": "q", "responses": ["a", "b"], "scores": [1e308, -1e308]},
}


@pytest.mark.parametrize("broken", NUMBERS.values(), ids=NUMBERS)
def test_numbers_beyond_those_of_the_machine_are_counted_as_broken(tmp_path, capsys, broken):
    small = {"preference": -1} if "preference" in broken else {}
    if "scores" in broken:
        small = {"scores": [1, 2]}
    elif not small:
        [key] = broken["responses"][0].keys() - {"text"}
        small = {"responses": [{"text": "a", key: 2}, {"text": "b", key: 1}]}
    lines = [{**broken, **small, "prompt": f"q {n}"} for n in range(3)]
    source = written(tmp_path / "test.jsonl", [*lines, broken])
    assert main(["import", str(source), "--output", str(tmp_path / "made")]) == 0
    said = capsys.readouterr().out
    assert "dropped 1 (1 a preference is no number" in said or "dropped 1 (1 a score is no number" in said


@pytest.mark.parametrize("columns", ['["x"]', '"x"', "3", "null", "{", '{"prompt": 3}', '{"prompt": ["x"]}'])
def test_columns_that_are_no_mapping_are_refused_in_one_line(tmp_path, capsys, columns):
    source = written(tmp_path / "test.jsonl", [GOOD])
    assert main(["import", str(source), "--output", str(tmp_path / "made"), "--columns", columns]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("suffix", "array"),
    [(suffix, False) for suffix in ("jsonl", "json", "jsonl.gz", "json.gz", "ndjson")]
    + [("json", True), ("json.gz", True)],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_files_may_begin_with_a_byte_order_mark_and_be_packed(tmp_path, suffix, array, mark):
    made = [{**GOOD, "prompt": f"q {n}"} for n in range(3)]
    text = json.dumps(made, indent=1) if array else "\n".join(map(json.dumps, made))
    content = mark + text.encode()
    source = tmp_path / f"test.{suffix}"
    source.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    import_set(str(source), output=tmp_path / "made")
    assert len(read_split(tmp_path / "made" / "test.json")) == 3


def test_parquet_that_unpacks_to_far_more_is_refused(tmp_path, capsys):
    frame = pl.DataFrame({"prompt": ["q"] * 3000, "chosen": ["x" * 1000] * 3000, "rejected": ["y" * 1000] * 3000})
    frame.write_parquet(tmp_path / "rows.parquet")
    assert "times larger when it is unpacked" in refusal(tmp_path / "rows.parquet", tmp_path / "made", capsys)


def test_broken_rows_are_dropped_and_the_others_come_in(tmp_path, capsys):
    lines = [json.dumps({**GOOD, "prompt": f"q {n}"}) for n in range(9)]
    broken = [b"<html>", b"[" * 200_000, b"\xff", b'{"a": 1, "a": 1}', b'{"prompt": NaN}', b"9" * 5000, b"null"]
    (tmp_path / "test.jsonl").write_bytes(b"\n".join([*(line.encode() for line in lines), *broken]))
    assert main(["import", str(tmp_path / "test.jsonl"), "--output", str(tmp_path / "made")]) == 0
    assert len(read_split(tmp_path / "made" / "test.json")) == 9
    told = capsys.readouterr().out
    assert "dropped 7 (2 a row holds NaN, or a key twice, 1 a row is not JSON" in told
    for reason in ("nested too deeply", "not UTF-8", "too many digits", "no JSON object"):
        assert reason in told


def test_more_than_half_broken_is_refused_with_the_reasons(tmp_path, capsys):
    source = written(tmp_path / "set.jsonl", [GOOD, *[{**GOOD, "chosen": n} for n in range(3)]])
    told = refusal(source, tmp_path / "made", capsys)
    assert "3 of 4 rows are broken (3 a response is neither a text nor a list of messages)" in told


def test_a_row_that_is_too_large_is_dropped_without_being_held(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "MAX_ROW_BYTES", 1000)
    good = [{**GOOD, "prompt": f"q {n}"} for n in range(4)]
    huge = {**GOOD, "chosen": "x" * 5000}
    for suffix in ("jsonl", "parquet"):
        source = written(tmp_path / f"test.{suffix}", [*good[:2], huge, *good[2:]])
        import_set(str(source), output=tmp_path / suffix)
        assert len(read_split(tmp_path / suffix / "test.json")) == 4
        stated = json.loads((tmp_path / suffix / "metadata.json").read_text())
        assert stated["counts"]["dropped"] == {"a row of more than 1000 bytes": 1}


def test_parquet_of_other_types_is_counted_or_refused(tmp_path, capsys):
    frame = pl.DataFrame({"prompt": [b"q", b"r"], "chosen": [[1], [2]], "rejected": [1.5, 2.5]})
    frame.write_parquet(tmp_path / "a.parquet")
    assert "2 of 2 rows are broken" in refusal(tmp_path / "a.parquet", tmp_path / "made", capsys)


def test_names_from_the_set_cannot_command_a_terminal(tmp_path, capsys):
    source = written(tmp_path / "set.jsonl", [{"\u001b[31mprompt\n": "q"}])
    assert "\u001b" not in refusal(source, tmp_path / "made", capsys)


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path, capsys):
    os.mkfifo(tmp_path / "set.jsonl")
    assert "not a regular file" in refusal(tmp_path / "set.jsonl", tmp_path / "made", capsys)


SUFFIXES = st.sampled_from(["jsonl", "json", "jsonl.gz", "parquet"])


@settings(max_examples=150)
@given(data=st.binary(max_size=60), whole=st.integers(0, 3), suffix=SUFFIXES)
def test_any_bytes_become_a_valid_target_or_one_line(tmp_path_factory, data, whole, suffix):
    folder = tmp_path_factory.mktemp("fuzz")
    lines = b"".join(json.dumps({**GOOD, "prompt": str(n)}).encode() + b"\n" for n in range(whole))
    (folder / f"test.{suffix}").write_bytes(lines + data)
    try:
        import_set(str(folder / f"test.{suffix}"), output=folder / "made")
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert read_split(folder / "made" / "test.json")


MEASURED = """
import resource, sys
from pathlib import Path
from genies.commands.import_set import import_set
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
import_set(sys.argv[1], output=Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_texts(tmp_path):
    """100 MiB of texts in 800 rows, of which no more than a batch is ever held."""
    source = tmp_path / "test.jsonl"
    with source.open("w") as file:
        for n in range(800):
            file.write(json.dumps({"prompt": str(n), "chosen": f"a{n}" * 20_000, "rejected": f"b{n}" * 10_000}) + "\n")
    assert source.stat().st_size > 80e6
    program = [sys.executable, "-c", MEASURED, str(source), str(tmp_path / "made")]
    grown = int(subprocess.run(program, check=True, capture_output=True, text=True).stdout.split()[-1])
    assert grown < 40_000  # KiB
