"""The stage ``tokenize``: splits as a model is shown them, and their tokens."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genies.costs.extraction import check_disk
from genies.data.options import Reading, Split
from genies.data.views import VIEWS, templates_digest
from genies.data.wordings import MOST, reworded
from genies.digests import code_digest
from genies.engine.options import Extraction
from genies.engine.reads import Reads, from_flags
from genies.engine.tokens import Tokens, empty_examples, indistinct_examples
from genies.errors import ConfigError, DataError
from genies.files import write_json
from genies.making import MADE_OF, data_roles, made_of
from genies.models.describe import read_model
from genies.models.files import PinnedFiles, tokenizer_files
from genies.models.load import load_tokenizer
from genies.store.splits import ShownSplit, shown_splits
from genies.store.tokens import read_tokens, tokens_digest, tokens_path, write_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

PER_SPLIT = ("available", "examples", "left_out", "shortened", "indistinct", "merged")
"""What the manifest records for each split."""


def tokenize_splits(
    *,
    model: Path,
    train: Sequence[Path] = (),
    test: Sequence[Path] = (),
    train_views: Sequence[str] = (),
    test_views: Sequence[str] = (),
    wordings: int = 0,
    worded_train: Sequence[str] = (),
    worded_test: Sequence[str] = (),
    reading: Reading = Reading(),
    extraction: Extraction = Extraction(),
    cache: Path = Path("cache"),
    output: Path,
) -> None:
    """Tokenize the texts that a run reads.

    Args:
        model: the model's manifest.
        train: ``<distribution>/train.json`` of each training split.
        test: ``<distribution>/test.json`` of each test split.
        train_views: views of training splits, and what is stored of them, as ``extract`` takes it; ``plain`` is always
            tokenized, since it tells which examples are too long.
        test_views: likewise of test splits.
        wordings: under how many further wordings of those views probes are fitted and tested. They decide neither
            which examples are left out nor what is shortened.
        worded_train: distributions whose training splits are tokenized under them, too.
        worded_test: likewise test splits.
        reading: how the texts are read.
        extraction: what will be stored of each text; if the disk is too small for it, that is said at once.
        cache: the cache folder; the tokens lie in ``tokens``.
        output: manifest to write: what it is ``made_of``, the ``reading``, a digest of the ``templates``, ``tokens``
            (records with distribution, split, view, digest), and by ``distribution/split`` how many examples are
            ``available`` in the file, how many ``examples`` of them are drawn, those ``left_out``, the characters
            ``shortened`` by example, and how many examples are ``indistinct``: two of their responses have the same
            tokens; and how many texts are ``merged``: the end of the prompt is one token with the response.

    Raises:
        ConfigError: there are fewer wordings, or they are asked for of no split, or of one that is not given.
        DataError: among others, the model's context holds a text under its views, and not under a further wording.
    """
    given: dict[Split, dict[str, Reads]] = {"train": from_flags(train_views), "test": from_flags(test_views)}
    files: list[tuple[Split, Path]] = [*(("train", file) for file in train), *(("test", file) for file in test)]
    inputs = {"model": model, **data_roles([*train, *test])}
    reading = replace(reading, views=tuple(sorted({*reading.views, *given["train"], *given["test"]})))
    reads = {split: reworded(of_split, wordings) for split, of_split in given.items()}
    further = sorted({*reads["train"], *reads["test"]} - set(reading.views))
    worded = _checked({"train": worded_train, "test": worded_test}, files, wordings)
    described, tokenizer = _pinned(model)
    entries: list[dict[str, Any]] = []
    per_split: dict[str, dict[str, Any]] = {}
    for shown in shown_splits(tokenizer, described["context"], files, reading, f"{described['name']}: tokenize"):
        views = (reads if shown.distribution in worded[shown.split] else given)[shown.split]
        digests = _tokenize(described, shown, views, further, cache)
        entries += _named(shown, digests)
        per_split |= _per_split(shown, read_tokens(tokens_path(cache, digests["plain"])), described["name"])
    tokenized = {
        MADE_OF: made_of(code_digest(__name__), inputs),
        "model": described["name"],
        "templates": templates_digest([*reading.views, *further], reading.framing),
        "reading": asdict(reading),
        "tokens": entries,
        **{name: {place: of_split[name] for place, of_split in per_split.items()} for name in PER_SPLIT},
    }
    write_json(output, tokenized)
    check_disk(described, tokenized, reads, extraction, cache)


def _checked(
    worded: dict[Split, Sequence[str]], files: Sequence[tuple[Split, Path]], wordings: int
) -> dict[Split, Sequence[str]]:
    """Distributions by the split to read under wordings, as given.

    Raises:
        ConfigError: there are fewer wordings, or there is no split to read under them, or one that is not in ``files``.
    """
    if not 0 <= wordings <= MOST:
        raise ConfigError(f"--wordings={wordings}: give 0 to {MOST}")
    if wordings and not any(worded.values()):
        raise ConfigError(f"--wordings={wordings}: of no split; name some with --worded-train or --worded-test")
    read = {(split, file.parent.name) for split, file in files}
    for split, names in worded.items():
        for name in names:
            if (split, name) not in read:
                raise ConfigError(f"--worded-{split}={name}: is not read; give --{split} {name}/{split}.json, too")
    return worded


def _tokenize(
    model: dict[str, Any], shown: ShownSplit, views: Iterable[str], further: Collection[str], cache: Path
) -> dict[str, str]:
    """Write the tokens of a split's views, ``plain`` among them; their digests by view.

    Raises:
        DataError: a text has no token, or is too long under a view of ``further``.
    """
    digests = {view: _tokenize_view(model, shown, view, cache) for view in ("plain", *views)}
    _check_room(model, shown, {view: digests[view] for view in further if view in digests}, cache)
    return digests


def _named(shown: ShownSplit, digests: Mapping[str, str]) -> list[dict[str, str]]:
    """A record of the tokens of each view of a split, by their digests."""
    place = {"distribution": shown.distribution, "split": shown.split}
    return [{**place, "view": view, "digest": digest} for view, digest in digests.items()]


def _per_split(shown: ShownSplit, plain: Tokens, model: str) -> dict[str, dict[str, Any]]:
    """What the manifest records for a split, by ``distribution/split``; keys as in ``PER_SPLIT``."""
    indistinct = indistinct_examples(plain)
    if indistinct:
        log.warning(
            "%s: in %d of %d examples two responses are the same tokens to the tokenizer of %s, so that no method can "
            "tell them apart; take a model that knows their words",
            shown.file, indistinct, shown.examples, model,
        )  # fmt: skip
    shortened = {str(example): dropped for example, dropped in shown.shortened.items()}
    values = (shown.available, shown.examples, shown.left_out, shortened, indistinct, int(plain.merged.sum()))
    return {f"{shown.distribution}/{shown.split}": dict(zip(PER_SPLIT, values, strict=True))}


def _pinned(model: Path) -> tuple[dict[str, Any], PreTrainedTokenizerBase]:
    """A model's manifest, and the tokenizer that it pins."""
    described = read_model(model)
    names = [file.name for file in tokenizer_files(Path(described["path"]))]
    files = PinnedFiles(Path(described["path"]), {name: described["files"].get(name, "") for name in names})
    files.check()
    tokenizer = load_tokenizer(Path(described["path"]))
    files.check()
    return described, tokenizer


def _check_room(model: Mapping[str, Any], shown: ShownSplit, digests: Mapping[str, str], cache: Path) -> None:
    """Raise DataError where the context does not hold a text under a further wording; names of tokens by view."""
    for view, digest in digests.items():
        tokens = read_tokens(tokens_path(cache, digest))
        lengths = np.diff(tokens.offsets)
        if len(lengths) and model["context"] is not None and lengths.max() > model["context"]:
            row = int(lengths.argmax())
            raise DataError(
                f"{shown.file}: record {tokens.example[row]} (counted from 0): {lengths[row]} tokens under the wording "
                f"{view}, more than the context of {model['name']} ({model['context']}) holds; set wordings to 0, or "
                f"to less than {view.rpartition('_')[2]}"
            )


def _tokenize_view(model: dict, shown: ShownSplit, view: str, cache: Path) -> str:
    digest, fields = tokens_digest(model["tokenizer_digest"], shown.texts, VIEWS[view])
    path = tokens_path(cache, digest)
    if not path.exists():
        attributes = {
            "model": model["name"], "distribution": shown.distribution, "split": shown.split, "view": view,
            "fields": fields,
        }  # fmt: skip
        tokens = shown.tokens(view)
        if empty := empty_examples(tokens):
            raise DataError(
                f"{shown.file}: record {empty[0]} (counted from 0): prompt and response together are no token to the "
                f"tokenizer of {model['name']}; write a prompt"
            )
        write_tokens(path, tokens, attributes)
    return digest
