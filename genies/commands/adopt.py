"""``genies cache adopt``: after an upgrade, old stores of a run whose values are the same get the names of today."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from genies.config.load import read_config
from genies.devices import claim_gpus
from genies.engine.reads import to_flags
from genies.errors import DataError, DiskError, StoreError
from genies.files import read_json
from genies.models.describe import read_model
from genies.plan import Plan
from genies.plan.products import problem_of, products
from genies.stages.model import pin_model
from genies.stages.tokenize import tokenize_splits
from genies.store.adoption import Compared, adopt, compare, tolerance
from genies.store.extraction import Extractor
from genies.store.requests import requests_of
from genies.store.users import at_work
from genies.store.versions import OldStores, Wanted, wanted_stores


@dataclass
class _Outcome:
    """Stores that were adopted, and by version those that were not, as one of them differs."""

    adopted: list[Compared] = field(default_factory=list)
    refused: dict[str, Compared] = field(default_factory=dict)
    without: int = 0


def adopt_stores(configfile: Sequence[Path], config: Sequence[str], texts: int, seed: int) -> None:
    """Adopt what a run's activations can be taken from, and say what.

    The stores of one version of code and libraries are adopted together or not at all.

    Args:
        configfile: as snakemake takes it.
        config: likewise.
        texts: how many texts of each store are computed again at least.
        seed: of their draw.

    Raises:
        DataError: data or the demo's model are not in their place yet.
        StoreError: stores of a version have other values than today's code gives; none of them is adopted.
    """
    plan = Plan(read_config(configfile, config))
    _refuse_unplaced(plan, configfile, config)
    claim_gpus(plan.config.extraction.device)
    with at_work(plan.files.cache, plan.files.results.parent):
        outcomes = [_adopt_for(plan, model, texts, seed) for model in plan.models.identifiers]
    adopted = sum(len(outcome.adopted) for outcome in outcomes)
    print(f"{adopted} adopted, {sum(outcome.without for outcome in outcomes)} without an old store to adopt")
    if refused := [compared for outcome in outcomes for compared in outcome.refused.values()]:
        raise StoreError("; ".join(map(_refusal, refused)) + "; snakemake computes them anew")


def _refuse_unplaced(plan: Plan, configfile: Sequence[Path], config: Sequence[str]) -> None:
    """Refuse to begin without a file that a rule makes; in a new folder, snakemake has not made them yet."""
    of_models = [file for model in plan.models.identifiers for file in plan.models.files(model)]
    made = [file for file in plan.data.files if file.parent not in plan.data.own.values()]
    if missing := next((file for file in [*made, *of_models] if not file.is_file()), None):
        given = [*_option("--configfile", map(str, configfile)), *_option("--config", config)]
        command = shlex.join(["snakemake", str(missing), "--cores", "1", *given])
        raise DataError(f"{missing}: not there yet; have it made first: {command}")


def _option(name: str, values: Iterable[str]) -> list[str]:
    """Words of an option; none where it has no values."""
    words = [*values]
    return [name, *words] if words else []


def _adopt_for(plan: Plan, model: str, texts: int, seed: int) -> _Outcome:
    """Adopt the stores of one model."""
    cache = plan.files.cache
    with TemporaryDirectory(prefix="genies-") as folder:
        described, tokenized = _manifests(plan, model, Path(folder))
    extractor = Extractor(described, cache / "activations", plan.config.extraction)
    known = OldStores(cache)
    requests = requests_of(tokenized, plan.selection.all, plan.reads(model), cache)
    wanted = [one for request in requests for one in wanted_stores(extractor, request, known)]
    outcome = _Outcome(without=sum(not one.old for one in wanted))
    for version in _versions(wanted):
        done = {compared.wanted.name for compared in outcome.adopted}
        left = [one for one in wanted if one.name not in done and one.of(version)]
        compared = list(_compared(extractor, cache, left, version, texts, seed))
        worst = max(compared, key=lambda one: one.difference, default=None)
        if worst and worst.difference > tolerance(extractor):
            outcome.refused[version] = worst
            continue
        for one in compared:
            if adopt(extractor, one, seed):
                outcome.adopted.append(one)
                print(_told(one, tolerance(extractor)))
    # A version that differs is no matter where all that it has could be adopted from another one.
    done = {compared.wanted.name for compared in outcome.adopted}
    needed = {old.version for one in wanted if one.name not in done for old in one.old}
    outcome.refused = {version: one for version, one in outcome.refused.items() if version in needed}
    return outcome


def _manifests(plan: Plan, model: str, folder: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The manifests of a model and its tokens: the run's where they are as today's code makes them, else new ones."""
    described, tokens = plan.files.model(model), plan.files.tokens(model)
    if any(problem_of(product) for product in products(plan) if product.file in (described, tokens)):
        described, tokens = folder / described.name, folder / "tokens.json"
        identifier, revision = plan.models.identifiers[model], plan.models.revision(model)
        base, base_revision = plan.models.base(model)
        pin_model(
            identifier, revision=revision, base=base, base_revision=base_revision, cache=plan.files.cache,
            output=described,
        )  # fmt: skip
        _tokenize(plan, model, described, tokens)
    return read_model(described), read_json(tokens, "tokens")


def _tokenize(plan: Plan, name: str, model: Path, output: Path) -> None:
    reads = plan.tokenized(name)
    try:
        tokenize_splits(
            model=model,
            train=plan.data.train(plan.trained_on(name)),
            test=plan.data.test(plan.selection.tested),
            train_views=to_flags(reads["train"]),
            test_views=to_flags(reads["test"]),
            wordings=plan.wordings(name),
            worded_train=plan.worded(name)["train"],
            worded_test=plan.worded(name)["test"],
            reading=plan.reading,
            extraction=plan.config.extraction,
            cache=plan.files.cache,
            output=output,
        )
    except DiskError:
        # There may be no room to compute all stores; to adopt them takes none.
        if not output.is_file():
            raise


def _versions(wanted: Sequence[Wanted]) -> list[str]:
    """Versions of the old stores, that of the last written one first."""
    written: dict[str, float] = {}
    for old in (old for one in wanted for old in one.old):
        written[old.version] = max(old.written, written.get(old.version, 0.0))
    return sorted(written, key=lambda version: -written[version])


def _compared(
    extractor: Extractor, cache: Path, wanted: Sequence[Wanted], version: str, texts: int, seed: int
) -> Iterator[Compared]:
    """Every store of a version against today's code, split by split; until one differs, as none is adopted then."""
    splits: dict[int, list[Wanted]] = {}
    for one in wanted:
        splits.setdefault(id(one.request), []).append(one)
    for of_split in tqdm(splits.values(), desc="adopt", unit="split", mininterval=2):
        for compared in compare(extractor, cache, of_split, version, texts, seed):
            yield compared
            if compared.difference > tolerance(extractor):
                return


def _told(compared: Compared, bound: float) -> str:
    wanted, difference = compared.wanted, compared.difference
    equal = f"largest relative difference {difference:.1e}, within {bound:.0e}" if difference else "bit for bit equal"
    return f"{wanted.name[:12]} from {compared.old.name[:12]}  {wanted.place}: {compared.texts} texts, {equal}"


def _refusal(compared: Compared) -> str:
    fields = compared.old.fields
    libraries = ", ".join(f"{name} {version}" for name, version in fields["libraries"].items())
    what = "is stored in another way or holds other texts"
    if compared.texts:
        what = f"has other values (relative difference {compared.difference:.1e})"
    return (
        f"{compared.old.name[:12]} ({compared.wanted.place}), of code {fields['code'][:12]} with {libraries}, {what}; "
        "no store of that version was adopted"
    )
