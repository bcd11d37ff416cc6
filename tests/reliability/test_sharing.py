"""A cache that several folders, jobs and users share: nobody deletes, hides or waits for what another has."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from figures import tell
from filelock import FileLock
from users import NOBODY, SOMEBODY, as_root, ended, killed, modes, start
from verbs import Verbs, contents

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


def open_copy(made: Path, folder: Path) -> None:
    """A copy of a folder of pytest's that every user may look into."""
    shutil.copytree(made, folder)
    folder.chmod(0o755)


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


def test_gc_keeps_out_while_jobs_work(run: Verbs, capfd: pytest.CaptureFixture) -> None:
    unused(run)
    kept = contents(CACHE)
    fit = saved_fit("mms")
    shutil.move(fit, "fit")
    with FileLock(fit.parent / ".locks" / fit.name):
        job = start(Path.cwd(), "--log", "fit.log", "fit", *run.commands["fit mms"])
        wait_for("fit.log", "waiting for")
        shutil.move("fit", fit)
        assert main(GC) == 2
        assert "jobs are at work in it" in capfd.readouterr().err
        assert contents(CACHE) == kept
    assert ended(job)[0] == 0
    assert main(GC) == 0
    assert contents(CACHE) != kept


def saved_fit(intervention: str) -> Path:
    """Folder of a fit in the cache."""
    folders = (CACHE / "interventions").glob("[!.]*")
    return next(folder for folder in folders if read_json(folder / "intervention.json")["intervention"] == intervention)


def wait_for(file: str, words: str) -> None:
    """Wait until a log says something."""
    begin = time.monotonic()
    while not (Path(file).exists() and words in Path(file).read_text()):
        assert time.monotonic() - begin < 120, f"{file} never said: {words}"
        time.sleep(0.05)


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
    open_copy(made, common / "run")
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
    status, errors = ended(start(other, *GC, user=NOBODY))
    assert status == 2
    assert "results/run/interventions: cannot be read (Permission denied)" in errors
    assert contents(CACHE) == kept


def give_away(folder: Path) -> None:
    """Make another user the owner of a folder and of all below it."""
    for path in (folder, *folder.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)


def no_flock(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_without_locks_everything_is_made_and_gc_wants_to_be_told(
    run: Verbs, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, number: int
) -> None:
    whole = contents(CACHE)
    for kind in ("interventions", "activations"):
        for folder in (CACHE / kind).glob("[!.]*"):
            shutil.rmtree(folder)  # its lock file stays
        shutil.rmtree(RESULTS / "run" / kind)
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
    fit = saved_fit("mms")
    shutil.rmtree(fit)
    with FileLock(fit.parent / ".locks" / fit.name) as lock:
        Path(lock.lock_file).write_text("anna (process 7 on node3)")
        job = start(Path.cwd(), "--log", "fit.log", "fit", *run.commands["fit mms"])
        wait_for("fit.log", "mms on north: waiting for anna (process 7 on node3)")
    assert ended(job)[0] == 0
    assert fit.is_dir()


@as_root
def test_another_user_takes_everything_from_a_cache_that_it_may_only_read(
    made: Path, common: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_copy(made, common / "run")
    monkeypatch.chdir(common / "run")
    other = beside("other", common / "run", common)
    give_away(other)
    before = contents(CACHE), modes(CACHE), sorted(CACHE.rglob("*"))

    status, errors = ended(start(other, "missing", user=NOBODY))
    assert status == 0, errors
    assert (contents(CACHE), modes(CACHE), sorted(CACHE.rglob("*"))) == before
    assert tables(other) == tables(common / "run")


TIMES = ("costs.csv", "jobs.csv")


def tables(folder: Path) -> dict[str, bytes]:
    """The tables of the run, but for those of times."""
    return {
        table.name: table.read_bytes() for table in (folder / "results/run").glob("*.csv") if table.name not in TIMES
    }


@as_root
def test_what_is_missing_in_a_read_only_cache_is_told_in_one_line(
    made: Path, common: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    open_copy(made, common / "run")
    monkeypatch.chdir(common / "run")
    other = beside("other", common / "run", common)
    shutil.copytree("results", other / "results")
    give_away(other)
    for kind, verb in {"tokens": "tokenize", "activations": "extract", "interventions": "fit mms"}.items():
        for path in (CACHE / kind).glob("[!.]*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        status, errors = ended(start(other, "verb", verb, user=NOBODY))
        assert status == 2, errors
        assert "Traceback" not in errors
        assert f"cache/{kind}" in errors.splitlines()[-1]
        assert "Permission denied; ask its owner" in errors.splitlines()[-1]
        assert Verbs().run("tokenize") == Verbs().run("extract") == 0


@pytest.mark.parametrize("umask", ["022", "002"])
def test_permissions_in_the_cache_are_those_of_the_umask(made: Path, tmp_path: Path, umask: str) -> None:
    shutil.copytree(made, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/cache")
    shutil.rmtree(tmp_path / "run/results")

    status, errors = ended(start(tmp_path / "run", "missing", umask=umask))
    assert status == 0, errors
    cache = tmp_path / "run/cache"
    wanted = {name: (0o777 if (cache / name).is_dir() else 0o666) & ~int(umask, 8) for name in modes(cache)}
    assert modes(cache) == wanted


@pytest.mark.parametrize(
    ("pattern", "verb", "harm"),
    [
        ("activations/[!.]*", "fit mms", "delete"),
        ("activations/*/store.json", "fit mms", "delete"),
        ("activations/*/store.json", "fit mms", "damage"),
        ("interventions/[!.]*", "evaluate", "delete"),
        ("interventions/*/intervention.json", "evaluate", "delete"),
        ("interventions/*/intervention.json", "evaluate", "damage"),
        ("tokens/*.h5", "extract", "delete"),
    ],
)
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
@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.torture)])
def test_two_users_in_two_folders_of_whom_one_is_killed_end_with_equal_tables(
    made: Path, common: Path, kills: int
) -> None:
    open_copy(made, common / "one")
    shutil.rmtree(common / "one/results")
    shutil.rmtree(common / "one/cache")
    (common / "one/cache").mkdir()
    folders = {NOBODY: common / "one", SOMEBODY: beside("two", common / "one", common)}
    for user, folder in folders.items():
        for path in (folder, *folder.rglob("*")):
            os.lchown(path, user, user)
    (common / "one/cache").chmod(0o777)

    undisturbed = start(folders[SOMEBODY], "missing", user=SOMEBODY, umask="000")
    count = killed(start(folders[NOBODY], "missing", user=NOBODY, umask="000", kills=kills))
    assert killed(undisturbed) == 0
    assert tables(folders[NOBODY]) == tables(folders[SOMEBODY]) == tables(made)
    assert count
    tell(f"two users in two folders with one cache, one of them killed {count} times: both end with equal tables")
