"""Manifests of tokens and activations: small JSON files that name what a run uses in the cache."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from genies.data.options import Reading
from genies.engine.reads import from_flags
from genies.errors import StoreError
from genies.files import read_json
from genies.store.activations import ActivationStore
from genies.store.assembled import AssembledStore
from genies.store.tokens import read_tokens, tokens_path

StoreKey = tuple[str, str, str]
"""(distribution, split, view)."""


class Activations:
    """The stores that manifests of extraction name, opened on demand.

    A manifest holds the ``reading``, ``stores`` (records with distribution, split, view and the digest of a part, of
    which a view may have several), ``features`` (likewise, with the name of the features, whatever parts they lie in,
    of the ``tokens`` whose features they are, and what of them the run ``reads``) and ``left_out`` (examples over the
    model's context, by ``distribution/split``).

    Attributes:
        reading: how the splits were read; the defaults where no manifest is given, that is where nothing is extracted.
        origin: what the features come from, for fits to remember: ``model`` with its ``weights_digest`` and
            ``tokenizer_digest``, ``reading``, and the settings of ``extraction``; None where no manifest is given.
    """

    def __init__(self, manifests: Sequence[Path], cache: Path) -> None:
        """Read the manifests.

        Args:
            manifests: files that ``genies extract`` wrote for one model.
            cache: the cache folder.

        Raises:
            StoreError: one is missing, damaged, or of an older version.
        """
        self._cache = Path(cache)
        self.root = self._cache / "activations"
        self._features: dict[StoreKey, dict[str, str]] = {}
        self._parts: dict[StoreKey, list[str]] = {}
        self._chosen: dict[str, Any] = {}
        self._left_out: dict[str, frozenset[int]] = {}
        self.reading = Reading()
        self.origin: dict[str, Any] | None = None
        for path in manifests:
            manifest = read_json(path, "model", "reading", "stores", "left_out")
            known = {"weights_digest", "extraction", "features"} <= manifest.keys()
            if not known or not all({"tokens", "reads"} <= entry.keys() for entry in manifest["features"]):
                raise StoreError(f"{path}: of an older version of genies; run snakemake again to make it")
            self.reading = Reading.of(manifest["reading"])
            self.origin = {
                **{key: manifest[key] for key in ("model", "weights_digest", "tokenizer_digest")},
                "reading": self.reading.remembered(),
                "extraction": manifest["extraction"],
            }
            for entry in manifest["features"]:
                self._features[_key(entry)] = entry
            for entry in manifest["stores"]:
                self._parts.setdefault(_key(entry), []).append(entry["digest"])
            settings = manifest["extraction"]
            self._chosen = {name: None if (own := settings[name]) == "all" else own for name in ("layers", "heads")}
            self._left_out |= {key: frozenset(examples) for key, examples in manifest["left_out"].items()}
        self._open = lru_cache(maxsize=None)(lambda digest: ActivationStore(self.root / digest))

    def digest(self, distribution: str, split: str, view: str) -> str:
        """Name of a split's features under a view.

        Raises:
            StoreError: the run has not extracted it.
        """
        return self._feature(distribution, split, view)["digest"]

    def tokens(self, distribution: str, split: str, view: str) -> Path:
        """File of the tokens of a split under a view; errors likewise."""
        return tokens_path(self._cache, self._feature(distribution, split, view)["tokens"])

    def _feature(self, distribution: str, split: str, view: str) -> dict[str, str]:
        try:
            return self._features[distribution, split, view]
        except KeyError:
            raise StoreError(
                f"{distribution} {split}: view {view} was not extracted; declare it in the intervention's fit_views "
                "or predict_views and run snakemake again"
            ) from None

    def views(self, distribution: str, split: str) -> list[str]:
        """Views under which a split was extracted, sorted.

        Raises:
            StoreError: the run has not extracted it under any.
        """
        views = sorted(v for name, part, v in self._features if (name, part) == (distribution, split))
        if not views:
            known = ", ".join(sorted({f"{name} {part}" for name, part, _ in self._features})) or "nothing"
            raise StoreError(f"{distribution} {split}: not among the splits that were extracted ({known})")
        return views

    def stores(
        self, distribution: str, split: str, views: Iterable[str], restricted: bool = False
    ) -> dict[str, AssembledStore]:
        """Open stores by view.

        Args:
            distribution: whose split.
            split: which one.
            views: under which it is read.
            restricted: whether they have the run's texts alone; parts may hold more, which other runs read.
        """
        found = {}
        for view in views:
            (reads,) = from_flags([self._feature(distribution, split, view)["reads"]]).values()
            parts = [self._open(part) for part in self._parts[distribution, split, view]]
            own = read_tokens(self.tokens(distribution, split, view)) if restricted else None
            texts = (own.example, own.response) if own else None
            found[view] = AssembledStore(parts, self._chosen["layers"], self._chosen["heads"], reads, texts)
        return found

    def left_out(self, distribution: str, split: str) -> frozenset[int]:
        """Examples of the split that the model's context cannot hold."""
        return self._left_out.get(f"{distribution}/{split}", frozenset())


def _key(entry: Mapping[str, str]) -> StoreKey:
    return entry["distribution"], entry["split"], entry["view"]
