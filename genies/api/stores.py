"""Activation stores as arrays, with the table of their texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from genies.data.distributions import Example
from genies.data.framing import read_framed
from genies.data.options import FRAMINGS, Split
from genies.data.texts import Text, texts_digest
from genies.errors import ConfigError, DataError, StoreError
from genies.files import PARTIAL, read_json
from genies.stages.shown import ShownTexts
from genies.store.activations import ActivationStore
from genies.store.assembled import AssembledStore
from genies.store.manifest import Activations
from genies.store.tokens import read_attributes, read_tokens, tokens_path

TEXT_COLUMNS = {
    "row": pl.Int64,
    **dict.fromkeys(("distribution", "split"), pl.String),
    **dict.fromkeys(("example", "response"), pl.Int64),
    "best": pl.Boolean,
    **dict.fromkeys(("prompt_text", "response_text"), pl.String),
}
"""Columns of ``OpenStore.texts``, a row per text, sorted by example and response: ``row`` counts them from 0,
``example`` and ``response`` are indices in the distribution's file. ``best`` says whether the response is the best one;
it and the texts are null unless the distribution's folder was given."""


class OpenStore:
    """The stored features of one split's texts, read when asked for. Row i of every array is row i of ``texts``.

    Layer 0 of the residual stream is the embedding, layer i < L the stream after the i-th of L blocks, layer L the
    state after the last block and the final norm. Heads of layer i are the inputs of the attention output projection
    in block i, counted from 0. All are read at the last token of a text.

    Attributes:
        model: name of the model.
        views: views that are stored, sorted.
        texts: the texts, columns as in ``TEXT_COLUMNS``.
    """

    def __init__(
        self, stores: Mapping[str, AssembledStore], examples: Sequence[Example] | None, place: tuple[str, str]
    ) -> None:
        """Bind the stores of one split to the table of its texts.

        Args:
            stores: by view; at least one.
            examples: of the split, as the model was shown them; None if unknown.
            place: names of distribution and split.
        """
        self._stores = dict(sorted(stores.items()))
        first = next(iter(self._stores.values()))
        self.model: str = first.parts[0].description["model"]
        self.views = list(self._stores)
        keys = _keys(first)
        self._rows = {view: store.rows(*zip(*keys, strict=True)) for view, store in self._stores.items()}
        self.texts = _table(place, keys, examples)

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        shown = self.texts.select("distribution", "split").row(0)
        return f"<{' '.join(shown)} under {', '.join(self.views)} by {self.model}: {len(self)} texts>"

    def layers(self, feature: str = "residual", view: str | None = None) -> list[int]:
        """Numbers of the stored layers of ``residual`` or ``heads``, ascending: those along axis 1 of all layers.

        Views differ in what is stored of them; without one, it is the first that has any.
        """
        if view is not None:
            return self._store(view).layers(feature)
        return next(filter(None, (store.layers(feature) for store in self._stores.values())), [])

    @property
    def head_numbers(self) -> list[int]:
        """Numbers of the stored heads of each layer, ascending."""
        return self._store(self.views[0]).head_numbers

    def residual(self, view: str, layer: int | None = None) -> np.ndarray:
        """Residual stream, float32: (texts, hidden) of one layer, (texts, layers, hidden) of all that are stored.

        Raises:
            StoreError: the view or the layer is not stored, or the store is damaged.
        """
        store = self._store(view)
        if layer is not None:
            return store.residual(layer, self._rows[view])
        return np.stack([store.residual(each, self._rows[view]) for each in store.layers("residual")], axis=1)

    def heads(self, view: str, layer: int | None = None) -> np.ndarray:
        """Attention-head outputs, float32: (texts, heads, head_dim), or (texts, layers, heads, head_dim) of all layers.

        Raises:
            StoreError: the view, the layer or any heads are not stored, or the store is damaged.
        """
        store = self._store(view)
        if layer is not None:
            return store.heads(layer, rows=self._rows[view])
        return np.stack([store.heads(each, rows=self._rows[view]) for each in store.layers("heads")], axis=1)

    def log_probability(self) -> np.ndarray:
        """Summed natural log-probability of each response and EOS given its prompt, float64 (texts,)."""
        return self._store("plain").log_probability(self._rows["plain"])

    def scored_tokens(self) -> np.ndarray:
        """Tokens that each log-probability sums over, int64 (texts,)."""
        return self._store("plain").scored_tokens(self._rows["plain"])

    def _store(self, view: str) -> AssembledStore:
        if view not in self._stores:
            raise StoreError(f"view {view}: not among those that are open ({', '.join(self.views)})")
        return self._stores[view]


def open_store(
    store: str | Path,
    distribution: str | Path | None = None,
    split: Split | None = None,
    *,
    cache: str | Path = "cache",
) -> OpenStore:
    """Open what extraction stored of one split.

    Args:
        store: a run's manifest (``results/<run>/activations/<model>/<batch>.json``), for all views of a split; or a
            part's folder, or the beginning of its digest as ``genies cache list`` shows it, for its view, examples and
            features.
        distribution: name or folder of the distribution. A manifest needs it. From its folder the texts are read; they
            are compared with those that the features belong to.
        split: ``train`` or ``test``; a manifest needs it.
        cache: the cache folder, where ``store`` is no folder.

    Raises:
        ConfigError: a manifest was named without distribution or split.
        StoreError: there is no such store, it is not complete, or it is damaged.
        DataError: the distribution's file breaks the format, or holds other texts than were extracted.
    """
    path, folder = Path(store), Path(distribution) if distribution else None
    if path.suffix == ".json":
        if folder is None or split is None:
            raise ConfigError(f"{path}: names many splits; give distribution and split")
        activations = Activations([path], Path(cache))
        views = activations.views(folder.name, split)
        stores = activations.stores(folder.name, split, views, restricted=True)
        place, tokens = (folder.name, split), activations.tokens(folder.name, split, views[0])
    else:
        part = path if path.is_dir() else _by_digest(str(store), Path(cache) / "activations")
        if part.name.startswith(PARTIAL):
            raise StoreError(f"{part}: the store is not complete; run snakemake again to finish it")
        one = ActivationStore(part)
        place = one.description["distribution"], one.description["split"]
        if (asked := (folder.name if folder else place[0], split or place[1])) != place:
            raise StoreError(f"{part}: holds {' '.join(place)}, not {' '.join(asked)}")
        stores = {one.description["view"]: AssembledStore([one], heads=one.head_numbers or None)}
        tokens = tokens_path(part.parents[1], one.description["tokens"])
    if folder is None or not folder.is_dir():
        return OpenStore(stores, None, place)
    file = folder / f"{place[1]}.json"
    shown = _as_shown(file, path) if path.suffix == ".json" else _as_filed(file)
    return OpenStore(stores, _the_extracted(shown, tokens, file), place)


def _by_digest(beginning: str, root: Path) -> Path:
    """The one store, complete or only begun, whose name begins so."""
    if not re.fullmatch("[0-9a-f]+", beginning):
        raise StoreError(f"{beginning}: no such folder, nor the beginning of a digest; `genies cache list` shows all")
    found = [*root.glob(f"{beginning}*"), *root.glob(f"{PARTIAL}{beginning}*")]
    if len(found) != 1:
        raise StoreError(f"{beginning}: {len(found)} stores in {root} begin so; `genies cache list` shows all")
    return found[0]


def _as_shown(file: Path, manifest: Path) -> Iterator[list[Example]]:
    """Examples as the manifests beside it say that the model was shown them."""
    run, model = manifest.parents[2], read_json(manifest, "model")["model"]
    shown = ShownTexts(run / "tokens" / f"{model}.json", run / "models" / f"{model}.json")
    framed = read_framed(file, shown.reading.framing, shown.reading.seed)
    yield shown.shown(f"{file.parent.name}/{file.stem}", framed.examples)


def _as_filed(file: Path) -> Iterator[list[Example]]:
    """Examples as the file has them, under each framing: a store alone does not say under which it was made.

    Nor does it tell the seed that drew what ``truthfulness`` asks about; tried is the usual one.
    """
    for framing in FRAMINGS:
        yield read_framed(file, framing, seed=0).examples


def _the_extracted(candidates: Iterator[list[Example]], path: Path, file: Path) -> list[Example]:
    """The first of the candidates whose texts are those of a file of tokens."""
    if not path.is_file():
        raise StoreError(
            f"{path}: not there any more, so that the texts of {file} cannot be compared with it; give the run's "
            "manifest, or leave the folder out"
        )
    wanted, tokens = read_attributes(path)["fields"]["texts"], read_tokens(path)
    # A part may hold some of them.
    keys = sorted(zip(tokens.example.tolist(), tokens.response.tolist(), strict=True))
    for examples in candidates:
        try:
            texts = [Text(e, r, examples[e].prompt, examples[e].responses[r]) for e, r in keys]
        except IndexError:
            continue
        if texts_digest(texts) == wanted:
            return examples
    raise DataError(
        f"{file}: holds other texts than were extracted; give the file of then, the run's manifest where prompts were "
        "shown in a chat template or shortened, or leave the folder out"
    )


def _keys(store: AssembledStore) -> list[tuple[int, int]]:
    """Example and response of every text, sorted."""
    return sorted(zip(store.example.tolist(), store.response.tolist(), strict=True))


def _table(place: tuple[str, str], keys: Sequence[tuple[int, int]], examples: Sequence[Example] | None) -> pl.DataFrame:
    rows = []
    for row, (example, response) in enumerate(keys):
        told = examples[example] if examples else None
        known = (response in told.good, told.prompt, told.responses[response]) if told else (None, None, None)
        rows.append((row, *place, example, response, *known))
    return pl.DataFrame(rows, schema=TEXT_COLUMNS, orient="row")
