"""The verb ``cache``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from genies.errors import REPAIR, ConfigError, StoreError
from genies.store import cache as of
from genies.store.cache import Entry
from genies.store.users import alone, refresh

Action = Literal["list", "verify", "explain", "adopt", "gc"]


@dataclass(frozen=True)
class _Asked:
    """What is done, and to what."""

    digests: Sequence[str]
    yes: bool
    age: float
    gone: bool
    repair: bool
    results: Path
    cache: Path


def cache(
    action: Action,
    *digests: str,
    yes: bool = False,
    age: float = 7.0,
    gone: bool = False,
    without_locks: bool = False,
    repair: bool = False,
    results: Path = Path("results"),
    cache: Path = Path("cache"),
    configfile: Sequence[Path] = (Path("config/config.yaml"),),
    config: Sequence[str] = (),
    texts: int = 32,
    seed: int = 0,
) -> None:
    """Look after the cache.

    Args:
        action: list everything, verify every byte, explain how two names differ, adopt what a run's activations can be
            taken from after an upgrade, or gc: delete what no run names.
        *digests: beginnings of names (explain: two; verify: some).
        yes: gc: delete what was shown.
        age: gc: keep what was written in the last days, so many of them, as a run may not name it yet.
        gone: gc: recorded folders of runs that are not there are deleted.
        without_locks: gc: go on although the file system has no locks; no job may run.
        repair: verify: let snakemake make again what is damaged.
        results: folder of the runs (adopt: as configured).
        cache: the cache folder (adopt: as configured).
        configfile: adopt: the run's configuration, as snakemake takes it (default: the demo's).
        config: adopt: ``KEY=VALUE``, as snakemake takes it.
        texts: adopt: how many texts of each store are computed again, at least, to compare.
        seed: adopt: of the draw of these texts.
    """
    if action == "adopt":
        from genies.commands.adopt import adopt_stores

        if texts < 1:
            raise ConfigError(f"--texts: {texts} is not a number of texts; compare at least one")
        adopt_stores(configfile, config, texts, seed)
        return
    asked = _Asked(digests, yes, age, gone, repair, results, cache)
    with alone(cache, without_locks) if action == "gc" and yes else nullcontext():
        ACTIONS[action](of.entries(cache, results), asked)


def _list(everything: Sequence[Entry], _: _Asked) -> None:
    for entry in everything:
        users = ", ".join(entry.users) or "no run"
        partial = ", not complete" if entry.partial else ""
        print(
            f"{entry.kind:13} {entry.digest[:12]}  {entry.size / 2**20:9.1f} MiB  {entry.age / 86400:5.1f} days  "
            f"{entry.about}{partial}  ({users})"
        )
    print(f"{len(everything)} in all, {sum(entry.size for entry in everything) / 2**30:.2f} GiB")


def _verify(everything: Sequence[Entry], asked: _Asked) -> None:
    chosen = [of.find(everything, digest) for digest in asked.digests] or everything
    whole = [entry for entry in chosen if not entry.partial]
    damaged = []
    for entry in tqdm(whole, desc="verify", unit="thing", mininterval=2):
        try:
            of.verify(entry)
        except StoreError as error:
            damaged.append(entry)
            print(error)
    absent = [] if asked.digests else of.absent(everything, asked.results)
    for kind, digest in absent:
        print(f"{asked.cache / kind}: a run names {digest}, which is not there")
    if asked.repair:
        for entry in damaged:
            of.repair(entry, asked.results)
        for kind, digest in absent:
            of.forget(kind, digest, asked.results)
    if damaged or absent:
        remedy = "taken out of use; run snakemake again" if asked.repair else REPAIR
        raise StoreError(
            f"{asked.cache}: {len(damaged)} of {len(whole)} are damaged, {len(absent)} are missing; {remedy}"
        )
    print(f"{len(whole)} verified, {len(chosen) - len(whole)} not complete")


def _explain(everything: Sequence[Entry], asked: _Asked) -> None:
    if len(asked.digests) != 2:
        raise ConfigError("genies cache explain: give two names, as `genies cache list` shows them")
    for name, ours, theirs in of.explain(*(of.find(everything, digest) for digest in asked.digests)):
        print(f"{name}: {ours!r} and {theirs!r}")


def _gc(everything: Sequence[Entry], asked: _Asked) -> None:
    unnamed = [entry for entry in everything if not entry.users]
    unused = [entry for entry in unnamed if entry.age >= asked.age * 86400]
    _list(unused, asked)
    if young := len(unnamed) - len(unused):
        print(f"Kept: {young} that no run names, but younger than {asked.age:g} days (--age).")
    of.check_users(asked.cache, asked.results, asked.gone)
    if not asked.yes:
        print("Nothing was deleted; --yes deletes these.")
        return
    # What a run has computed, but not yet named, is not its own to others.
    if any(Path(".snakemake/locks").glob("*.lock")):
        raise ConfigError(
            ".snakemake/locks: a run is going on here, and not all that it made is named yet; wait for its end "
            "(after a crash: snakemake --unlock)"
        )
    refresh(asked.cache, asked.results)
    for entry in unused:
        of.remove(entry)


ACTIONS: dict[Action, Callable[[Sequence[Entry], _Asked], None]] = {
    "list": _list, "verify": _verify, "explain": _explain, "gc": _gc,
}  # fmt: skip
