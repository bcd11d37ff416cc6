"""A cache that several folders, jobs and users share: nobody deletes, hides or waits for what another has."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from figures import tell
from filelock import FileLock
from users import NOBODY, SOMEBODY, as_root, modes, start, status
from verbs import Verbs, contents

from genies.activations.extraction import Extractor
from genies.cli import main
from genies.files import read_json

NO_LOCKS = [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS]
GC = ["cache", "gc", "--yes", "--age", "0"]
CACHE, RESULTS = Path("cache"), Path("results")


@pytest.fixture
def run(run: Verbs) -> Verbs:
    """The run, whose cache no other folder of runs is recorded in."""
    shutil.rmtree(CACHE / "users", ignore_errors=True)
    return run


@pytest.fixture
def common() -> Iterator[Path]:
    """A folder that every user may look into, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp(prefix="genies-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def beside(name: str, made: Path = Path(), at: Path | None = None) -> Path:
    """Another folder with the same data and models and without results, whose cache is the first one's."""
    folder = (at or Path("..").resolve()) / name
    for part in ("models", "data"):
        shutil.copytree(made / part, folder / part)
    shutil.copy(made / "shifts.yaml", folder)
    (folder / "cache").symlink_to((made / "cache").resolve())
    return folder


def unused(run: Verbs) -> list[str]:
    """Take a fit out of use; its files in the cache."""
    manifest = Path(run.fits["cra"])
    (digest,) = read_json(manifest)["fits"].values()
    manifest.unlink()
    return [name for name in contents(CACHE) if digest in name]


def test_gc_keeps_what_runs_in_another_folder_use(
    run: Verbs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    other = beside("other")
    with monkeypatch.context() as there:
        there.chdir(other)
        run.run_missing()
    kept = contents(CACHE)
    shutil.rmtree(RESULTS / "run" / "interventions")
    assert main(GC) == 0
    assert contents(CACHE) == kept
    assert main(["cache", "list"]) == 0
    assert f"({other}/results/run)" in capsys.readouterr().out
    # What is deleted there is of no use any more, without a question.
    shutil.rmtree(other / "results" / "run")
    assert main(GC) == 0
    assert len(contents(CACHE)) < len(kept)


def test_gc_waits_for_the_end_of_jobs(
    run: Verbs, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    assert unused(run)
    kept = contents(CACHE)
    begun, end = (Path(name).resolve() for name in ("begun", "end"))
    extract = Extractor.extract

    def slow(self, request) -> dict:
        begun.touch()
        while not end.exists():
            time.sleep(0.01)
        return extract(self, request)

    monkeypatch.setattr(Extractor, "extract", slow)
    job = start(lambda: run.run("extract"), Path.cwd())
    try:
        while not begun.exists():
            time.sleep(0.01)
        assert main(GC) == 2
        assert "jobs are at work in it" in capfd.readouterr().err
        assert contents(CACHE) == kept
    finally:
        end.touch()
        assert status(job) == 0
    assert main(GC) == 0
    assert contents(CACHE) != kept


def test_gc_keeps_what_is_young(run: Verbs, capsys: pytest.CaptureFixture) -> None:
    names = unused(run)
    kept = contents(CACHE)
    assert main(["cache", "gc", "--yes"]) == 0
    assert "1 that no run names, but younger than 7 days" in capsys.readouterr().out
    assert contents(CACHE) == kept
    for path in CACHE.rglob("*"):
        os.utime(path, (0, time.time() - 8 * 86400))
    assert main(["cache", "gc"]) == 0
    assert contents(CACHE) == kept
    assert main(["cache", "gc", "--yes"]) == 0
    assert contents(CACHE).keys() == kept.keys() - set(names)


def test_gc_refuses_where_results_have_moved(run: Verbs, capfd: pytest.CaptureFixture) -> None:
    names = unused(run)
    kept = contents(CACHE)
    RESULTS.rename("moved")
    assert main(GC) == 2
    assert "no manifest of a run is there" in capfd.readouterr().err
    Path("moved").rename(RESULTS)
    assert run.run("fit mms") == 0  # recorded by now
    RESULTS.rename("moved")
    assert main([*GC, "--results", "moved"]) == 2
    assert f"{RESULTS.resolve()}: recorded as a user of cache, but not there" in capfd.readouterr().err
    assert contents(CACHE) == kept
    assert main([*GC, "--results", "moved", "--gone"]) == 0
    assert contents(CACHE).keys() == kept.keys() - set(names)
    assert main([*GC, "--results", "nowhere"]) == 0  # the new place is recorded
    assert contents(CACHE).keys() == kept.keys() - set(names)


@pytest.mark.parametrize("foreign", ["[1]", '{"fits": 3}', "{}", "{"])
def test_gc_refuses_what_is_no_manifest(run: Verbs, capfd: pytest.CaptureFixture, foreign: str) -> None:
    unused(run)
    kept = contents(CACHE)
    (RESULTS / "run/interventions/note.json").write_text(foreign)
    assert main(GC) == 2
    assert "run/interventions/note.json: " in capfd.readouterr().err
    assert contents(CACHE) == kept


@as_root
def test_gc_refuses_where_it_may_not_read_what_runs_name(
    made: Path, common: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    shutil.copytree(made, common / "run")
    monkeypatch.chdir(common / "run")
    shutil.rmtree(CACHE / "users")
    assert Verbs().run("fit mms") == 0
    Path("results/run/interventions").chmod(0o700)
    kept = contents(CACHE)
    (CACHE / "users").chmod(0o777)
    for path in CACHE.rglob("*"):
        os.chown(path, NOBODY, NOBODY)
    other = beside("other", common / "run", common)
    shutil.copytree("results", other / "results")
    assert status(start(lambda: main(GC), other, NOBODY)) == 2
    assert "results/run/interventions: cannot be read (Permission denied)" in capfd.readouterr().err
    assert contents(CACHE) == kept


def no_flock(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_without_locks_everything_is_made_and_gc_wants_to_be_told(
    run: Verbs, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, number: int
) -> None:
    whole = contents(CACHE)
    fits, stores = (sorted((CACHE / kind).glob("[!.]*")) for kind in ("interventions", "activations"))
    for folder in (*fits, stores[0]):
        shutil.rmtree(folder)  # its lock file stays
    shutil.rmtree(RESULTS / "run" / "interventions")
    shutil.rmtree(RESULTS / "run" / "activations")
    no_flock(monkeypatch, number)
    assert run.run_missing()[0] == "extract"
    assert contents(CACHE) == whole
    names = unused(run)
    assert main(GC) == 2
    assert "its file system has no locks" in capfd.readouterr().err
    assert contents(CACHE) == whole
    assert main([*GC, "--without-locks"]) == 0
    assert contents(CACHE).keys() == whole.keys() - set(names)


def test_a_job_says_for_whom_it_waits(run: Verbs) -> None:
    fit = next(folder for folder in (CACHE / "interventions").glob("[!.]*") if "mms" in _record(folder))
    shutil.rmtree(fit)
    command = ["--log", "fit.log", "fit", *run.commands["fit mms"]]
    with FileLock(fit.parent / ".locks" / fit.name) as lock:
        Path(lock.lock_file).write_text("anna (process 7 on node3)")
        job = start(lambda: main(command), Path.cwd())
        begin = time.monotonic()
        while "mms on north: waiting for anna (process 7 on node3)" not in _text("fit.log"):
            assert time.monotonic() - begin < 60, _text("fit.log")
            time.sleep(0.05)
    assert status(job) == 0
    assert fit.is_dir()


def _record(fit: Path) -> str:
    return (fit / "intervention.json").read_text()


def _text(file: str) -> str:
    return Path(file).read_text() if Path(file).exists() else ""


@as_root
def test_another_user_takes_everything_from_a_cache_that_it_may_only_read(
    made: Path, common: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made, common / "run")
    monkeypatch.chdir(common / "run")
    other = beside("other", common / "run", common)
    for path in (other, *other.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)
    before = contents(CACHE), modes(CACHE), sorted(CACHE.rglob("*"))

    def all_verbs() -> None:
        assert Verbs().run_missing() == list(Verbs().commands)

    assert status(start(all_verbs, other, NOBODY)) == 0
    assert (contents(CACHE), modes(CACHE), sorted(CACHE.rglob("*"))) == before
    assert tables(other) == tables(common / "run")


def tables(folder: Path) -> dict[str, bytes]:
    """The tables of the run, but for those of times."""
    return {table.name: table.read_bytes() for table in (folder / "results/run").glob("*.csv")}


@as_root
def test_what_is_missing_in_a_read_only_cache_is_told_in_one_line(
    made: Path, common: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    shutil.copytree(made, common / "run")
    monkeypatch.chdir(common / "run")
    other = beside("other", common / "run", common)
    shutil.copytree("results", other / "results")
    for path in (other, *other.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)
    for kind, verb in {"tokens": "tokenize", "activations": "extract", "interventions": "fit mms"}.items():
        for path in (CACHE / kind).glob("[!.]*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if kind != "tokens":  # extraction reads them
            Path(common / "run/cache/tokens").chmod(0o755)
        assert status(start(lambda verb=verb: Verbs().run(verb), other, NOBODY)) == 2
        told = capfd.readouterr().err
        assert "Traceback" not in told
        assert "Permission denied; ask its owner" in told.splitlines()[-1]
        assert Verbs().run("tokenize") == 0 and Verbs().run("extract") == 0
        capfd.readouterr()


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002], ids=oct)
def test_permissions_in_the_cache_are_those_of_the_umask(made: Path, tmp_path: Path, umask: int) -> None:
    shutil.copytree(made, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/cache")
    shutil.rmtree(tmp_path / "run/results")

    def all_verbs() -> None:
        Verbs().run_missing()

    assert status(start(all_verbs, tmp_path / "run", umask=umask)) == 0
    cache = tmp_path / "run/cache"
    wanted = {name: (0o777 if (cache / name).is_dir() else 0o666) & ~umask for name in modes(cache)}
    assert modes(cache) == wanted


@pytest.mark.parametrize(
    ("pattern", "verb"),
    [
        ("activations/[!.]*", "fit mms"),
        ("activations/*/store.json", "fit mms"),
        ("interventions/[!.]*", "evaluate"),
        ("interventions/*/intervention.json", "evaluate"),
        ("tokens/*.h5", "extract"),
    ],
)
@pytest.mark.parametrize("harm", ["delete", "damage"])
def test_the_advice_about_the_cache_helps(
    run: Verbs, capfd: pytest.CaptureFixture, pattern: str, verb: str, harm: str
) -> None:
    whole = contents(CACHE)
    for path in CACHE.glob(pattern):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink() if harm == "delete" else path.write_bytes(b"{")
    if verb != "evaluate":
        for fit in (CACHE / "interventions").glob("[!.]*"):
            shutil.rmtree(fit)
    if verb == "extract":
        for store in (CACHE / "activations").glob("[!.]*"):
            shutil.rmtree(store)
    assert run.run(verb) == 2
    assert "run `genies cache verify --repair` and then snakemake again" in capfd.readouterr().err
    assert main(["cache", "verify", "--repair"]) == 2
    run.run_missing()
    assert run.run(verb) == 0
    assert contents(CACHE) == whole


@as_root
@pytest.mark.parametrize("kills", [4, pytest.param(25, marks=pytest.mark.torture)])
def test_two_users_in_two_folders_of_whom_one_is_killed_end_with_equal_tables(
    made: Path, common: Path, kills: int
) -> None:
    shutil.copytree(made, common / "one")
    shutil.rmtree(common / "one/results")
    shutil.rmtree(common / "one/cache")
    (common / "one/cache").mkdir()
    folders = {NOBODY: common / "one", SOMEBODY: beside("two", common / "one", common)}
    for user, folder in folders.items():
        for path in (folder, *folder.rglob("*")):
            os.lchown(path, user, user)
    (common / "one/cache").chmod(0o777)

    def all_verbs() -> None:
        Verbs().run_missing()

    def begin(user: int) -> object:
        return start(all_verbs, folders[user], user, umask=0)

    draw, killed = random.Random(20231108), 0
    undisturbed, victim = begin(SOMEBODY), begin(NOBODY)
    for _ in range(kills):
        victim.join(draw.uniform(0, 1.5))
        if victim.exitcode is None:
            os.kill(victim.pid, signal.SIGKILL)
            killed += 1
        victim.join()
        assert victim.exitcode in (0, -signal.SIGKILL)
        victim = begin(NOBODY)
    assert status(victim) == 0
    assert status(undisturbed) == 0
    assert tables(folders[NOBODY]) == tables(folders[SOMEBODY]) == tables(made)
    assert killed
    tell(f"two users in two folders with one cache, one of them killed {killed} times: both end with equal tables")
