"""Fitted interventions from the disk, ready to score new text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genies.data.distributions import Example
from genies.data.pairs import Pair
from genies.data.prompts import Presentation
from genies.data.texts import Text
from genies.data.views import VIEWS
from genies.engine.reads import declares
from genies.errors import ConfigError, DataError, ModelError
from genies.evaluation.judge import checked_prediction, checked_text_scores
from genies.files import read_json
from genies.interventions.base import Intervention
from genies.interventions.registry import load, save
from genies.interventions.text import TextIntervention, TextPairs
from genies.models.describe import describe_model
from genies.models.files import hashes_file
from genies.models.load import load_tokenizer
from genies.store.fits import fits_folder, read_origin

if TYPE_CHECKING:
    from genies.engine.tokens import Tokens
    from genies.store.extraction import Extractor
    from genies.store.pairs import StoredPairs

SCORE_COLUMNS = dict.fromkeys(("probability", "score_first", "score_second"), pl.Float64)
"""Columns of ``FittedIntervention.score``: the probability that the first response is the better one, and raw scores of
both, in the intervention's own unit (natural log-probabilities, rewards, cosines)."""
TEXT_SCORE_COLUMNS = {"score": pl.Float64}
"""Columns of ``FittedIntervention.score_texts``."""


class FittedIntervention:
    """A fitted intervention with its language model, which is loaded when first needed and then kept.

    Attributes:
        intervention: the estimator.
        model: name of the model.
    """

    def __init__(
        self,
        intervention: Intervention,
        model: Mapping[str, Any],
        origin: Mapping[str, Any] | None,
        device: str,
        cache: Path = Path("cache"),
    ) -> None:
        """Bind an intervention to a model.

        Args:
            intervention: fitted.
            model: the model's manifest.
            origin: how the texts that it was fitted on were read and extracted; None for the defaults.
            device: torch device, or "auto".
            cache: the cache folder.
        """
        self.intervention = intervention
        self.model: str = model["name"]
        self._manifest = model
        self._reading: Mapping[str, Any] = (origin or {}).get("reading", {})
        self._extraction: Mapping[str, Any] = (origin or {}).get("extraction") or {}
        self._device = device
        self._extractor: Extractor | None = None
        self._tokenizer = load_tokenizer(Path(model["path"]))
        if isinstance(intervention, TextIntervention):
            intervention.bind(model, device).cache = cache

    def score(self, prompts: Sequence[str], responses: Sequence[tuple[str, str]]) -> pl.DataFrame:
        """Judge pairs of responses.

        Prompts are shown as in the run that made the fit: as they are, or in the tokenizer's chat template. A framing
        plays no part; under ``truthfulness`` give the question and its two answers. Features are computed by the
        workflow's own extraction, in a temporary folder.

        Args:
            prompts: n prompts.
            responses: n pairs of responses, the first and the second to each prompt.

        Returns:
            A row per pair, columns as in ``SCORE_COLUMNS``.

        Raises:
            DataError: there are no pairs, or not one for each prompt, or a text is longer than the model's context.
        """
        with self._bound(_examples(prompts, responses)) as pairs:
            probability, scores = checked_prediction(self.intervention, pairs, "new texts")
        return pl.DataFrame([probability, scores[:, 0], scores[:, 1]], schema=SCORE_COLUMNS)

    def score_texts(self, prompts: Sequence[str], responses: Sequence[str]) -> pl.DataFrame:
        """Score single responses; a response's score depends on no other one.

        ``intervention.text_scores_compare`` says whether scores compare "across prompts", or only "within a prompt".

        Args:
            prompts: n prompts, shown as ``score`` shows them.
            responses: the response to each.

        Returns:
            A row per response, columns as in ``TEXT_SCORE_COLUMNS``; a direction probe's are standard scores of the
            training texts, those of others in the intervention's own unit.

        Raises:
            ConfigError: the intervention has no scores of single texts.
            DataError: as ``score``; or an earlier version made the fit.
        """
        if isinstance(responses, str) or len(prompts) != len(responses):
            raise DataError("new texts: give at least one prompt, and a response for each")
        with self._bound(_examples(prompts, [(text, text) for text in responses])) as pairs:
            found = checked_text_scores(self.intervention, pairs, "new texts")
        if found is None:
            raise ConfigError(
                f"{type(self.intervention).__name__}: has no scores of single texts: {self.intervention.no_text_scores}"
            )
        return pl.DataFrame([found[:, 0]], schema=TEXT_SCORE_COLUMNS)

    @contextmanager
    def _bound(self, given: Sequence[Example]) -> Iterator[TextPairs | StoredPairs]:
        """Pairs, the first response of each example and the second, as the intervention reads them."""
        shown = Presentation(self._reading.get("prompt_format", "published")).apply(self._tokenizer, given)
        if isinstance(self.intervention, TextIntervention):
            prompt, first, second = zip(*((example.prompt, *example.responses) for example in shown), strict=True)
            published = tuple(e.prompt for e in given) if self._reading.get("prompt_format") == "chat" else ()
            yield TextPairs(prompt, first, second, np.arange(len(shown)), published=published)
        else:
            with self._stored(shown) as stored:
                yield stored

    @contextmanager
    def _stored(self, examples: Sequence[Example]) -> Iterator[StoredPairs]:
        from genies.engine.tokenization import tokenize
        from genies.store.activations import ActivationStore
        from genies.store.assembled import AssembledStore
        from genies.store.pairs import StoredPairs
        from genies.store.requests import Request
        from genies.store.tokens import tokens_digest

        texts = [Text(e, r, ex.prompt, ex.responses[r]) for e, ex in enumerate(examples) for r in (0, 1)]
        self._check_texts(texts)
        views = self.intervention.predict_views
        tokens = {view: tokenize(self._tokenizer, texts, VIEWS[view]) for view in views}
        named = {view: tokens_digest(self._manifest["tokenizer_digest"], texts, VIEWS[view])[0] for view in views}
        with TemporaryDirectory(prefix="genies-") as folder:
            reads = {view: self.intervention.reads(view) for view in views}
            extracted = self._extract(Path(folder), Request("new", "texts", tokens, named, reads)) if views else {}
            stores = {
                view: AssembledStore([ActivationStore(Path(folder) / part) for part in parts], *self._chosen_sites())
                for view, parts in extracted.items()
            }
            pairs = [Pair(example, 0, 0, 1) for example in range(len(examples))]
            first = np.ones(len(pairs), bool)
            yield StoredPairs(pairs, stores, first, labelled=False, reads=reads, examples=examples)

    def _chosen_sites(self) -> tuple[Sequence[int] | None, Sequence[int] | None]:
        """Layers and heads that the configuration of the fit let be read; None for all."""
        assert self._extractor is not None
        return self._extractor.options.layer_numbers, self._extractor.options.head_numbers

    def _extract(self, root: Path, request: Any) -> dict[str, list[str]]:
        from genies.engine.options import Extraction
        from genies.store.extraction import Extractor

        if self._extractor is None:
            chosen: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in self._extraction.items()}
            computed = chosen.pop("arithmetic", None)
            chosen.pop("device", None)
            options = Extraction(**chosen, device=self._device)
            self._extractor = Extractor(self._manifest, root, options, computed)
        self._extractor.root = root
        return self._extractor.extract(request)

    def _check_texts(self, texts: Sequence[Text]) -> None:
        from genies.engine.tokenization import tokenize
        from genies.engine.tokens import empty_examples

        context, plain = self._manifest["context"], tokenize(self._tokenizer, texts, VIEWS["plain"])
        if empty := empty_examples(plain):
            raise DataError(f"new texts: pair {empty[0]} (counted from 0): prompt and a response together are no token")
        if context is not None and (over := self._over(texts, plain, context)):
            pair, excess = next(iter(over.items()))
            raise DataError(
                f"new texts: pair {pair} (counted from 0) is {excess} tokens longer than the context of {self.model} "
                f"({context} tokens) holds under every view; shorten its prompt"
            )

    def _over(self, texts: Sequence[Text], plain: Tokens, context: int) -> dict[int, int]:
        from genies.engine.tokenization import tokens_over

        return tokens_over(self._tokenizer, texts, plain, context, self.intervention.predict_views)


def load_intervention(
    fit: str | Path,
    model: str | Path,
    *,
    source: str | None = None,
    revision: str | None = None,
    device: str = "auto",
    cache: str | Path = "cache",
) -> FittedIntervention:
    """Load a fit to score new text with.

    Args:
        fit: a run's manifest (``results/<run>/interventions/<model>/….json``), or the folder of a saved fit.
        model: folder, ``.gguf`` file or hub id of the language model that it was fitted on.
        source: which of the manifest's fits, by the distribution that it was fitted on; needed where it names several.
        revision: the hub's revision of the model: branch, tag or commit.
        device: torch device; ``auto`` takes the first CUDA device, else the CPU.
        cache: the cache folder.

    Raises:
        StoreError: the fit is missing or damaged.
        ConfigError: ``source`` is missing or unknown, or the intervention predicts from labels, which new text lacks,
            or compares the model with a reference.
        ModelError: the model cannot be found or read, or is another one than the fit was made on.
    """
    path = Path(fit)
    spec = origin = None
    if path.suffix == ".json":
        manifest = read_json(path, "intervention", "fits")
        spec, origin = manifest["intervention"], manifest.get("origin")
        path = fits_folder(Path(cache), _chosen(manifest["fits"], source, path))
    intervention = load(path, spec)
    if intervention.reads_test_labels:
        raise ConfigError(
            f"{fit}: {type(intervention).__name__} with protocol {intervention.protocol} predicts from the labels of "
            "what it judges, as published; fit it with the protocol corrected"
        )
    if declares(intervention.features, "reference_log_probability"):
        raise ConfigError(
            f"{fit}: {type(intervention).__name__} compares two models, and new text is scored by one; put the text "
            "into a distribution, and run it with evaluate_shifts"
        )
    # A fit that reads no features belongs to no model, yet its run says how texts were shown and extracted.
    described = describe_model(str(model), revision, hashes_file(Path(cache)))
    origin = read_origin(path) or origin
    if origin and any(origin[key] != described[key] for key in ("weights_digest", "tokenizer_digest")):
        raise ModelError(
            f"{fit}: was fitted on {origin['model']}; the weights or the tokenizer of {model} are others; give the "
            "model that it was fitted on, or fit on this one"
        )
    return FittedIntervention(intervention, described, origin, device, Path(cache))


def save_intervention(intervention: Intervention, folder: str | Path) -> None:
    """Save a fitted intervention, such as one fitted on own arrays, as safetensors and JSON.

    Args:
        intervention: fitted; its class is one of genies', or stands alone in a Python file.
        folder: where to write.

    Raises:
        ConfigError: the class is not in a file of its own.
    """
    save(intervention, Path(folder))


def _chosen(fits: Mapping[str, str], source: str | None, manifest: Path) -> str:
    if source is None and len(fits) == 1:
        return next(iter(fits.values()))
    if source is None or source not in fits:
        known = ", ".join(fits)
        said = "names several fits" if source is None else f"has no fit on {source}"
        raise ConfigError(f"{manifest}: {said}; give one of these as source: {known}")
    return fits[source]


def _examples(prompts: Sequence[str], responses: Sequence[tuple[str, str]]) -> list[Example]:
    """Pairs as examples, the first response standing where the best one would."""
    if isinstance(prompts, str) or len(prompts) != len(responses) or not len(prompts):
        raise DataError("new texts: give at least one prompt, and a pair of responses for each")
    examples = []
    for number, (prompt, pair) in enumerate(zip(prompts, responses, strict=True)):
        if isinstance(pair, str) or len(pair) != 2 or not all(isinstance(text, str) for text in (prompt, *pair)):
            raise DataError(f"new texts: pair {number} (counted from 0) is {pair!r}; give two responses, both strings")
        examples.append(Example(prompt, tuple(pair), 0, (1,)))
    return examples
