"""The stages of the workflow that turn distributions into activations: ``tokenize`` and ``extract``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from genies.activations.extraction import Extractor, Request, Settings, describe
from genies.activations.tokens import Tokens, read_tokens, tokenize, tokens_digest, too_long, write_tokens
from genies.data.framing import Framing, read_framed
from genies.data.texts import Split, Text, split_texts
from genies.data.views import VIEWS
from genies.errors import DataError
from genies.files import read_json, write_json
from genies.models import load_tokenizer

log = logging.getLogger(__name__)


def tokenize_splits(
    model: Path,
    files: Sequence[tuple[Split, Path]],
    views: dict[Split, Sequence[str]],
    seed: int,
    framing: Framing,
    cache: Path,
    output: Path,
) -> None:
    """Tokenize the texts of the splits under the views that the run reads, into ``cache/tokens``.

    Args:
        model: the model's manifest.
        files: split and file (``<distribution>/<split>.json``) of all that is read.
        views: views by split; ``plain`` is always added, since it tells which examples are too long.
        seed: draws the training pairs.
        framing: of the distributions.
        cache: the cache folder.
        output: manifest to write: ``tokens`` (records with distribution, split, view, digest) and ``left_out``.
    """
    described = read_json(model)
    tokenizer = load_tokenizer(Path(described["path"]))
    entries, left_out = [], {}
    for split, file in tqdm(files, desc=f"{described['name']}: tokenize", unit="split", mininterval=2):
        distribution = file.parent.name
        examples = read_framed(file, framing).examples
        texts = split_texts(examples, split, seed)
        plain = tokenize(tokenizer, texts, VIEWS["plain"])
        long = too_long(tokenizer, texts, plain, described["context"]) if described["context"] else []
        if len(long) == len(examples):
            raise DataError(
                f"{file}: every example is longer than the model's context of {described['context']} tokens; "
                "use a model with a longer context or leave the distribution out"
            )
        if long:
            log.warning("%s: %d of %d examples exceed the model's context, left out", file, len(long), len(examples))
        left_out[f"{distribution}/{split}"] = long
        kept = [text for text in texts if text.example not in set(long)]
        for view in dict.fromkeys(("plain", *views[split])):
            digest = _tokenize_view(tokenizer, described, kept, view, cache, (distribution, split))
            entries.append({"distribution": distribution, "split": split, "view": view, "digest": digest})
    write_json(output, {"model": described["name"], "tokens": entries, "left_out": left_out})


def _tokenize_view(
    tokenizer: object, model: dict, texts: Sequence[Text], view: str, cache: Path, place: tuple[str, str]
) -> str:
    digest = tokens_digest(model["tokenizer_digest"], texts, VIEWS[view])
    path = tokens_path(cache, digest)
    if not path.exists():
        attributes = {"model": model["name"], "distribution": place[0], "split": place[1], "view": view}
        write_tokens(path, tokenize(tokenizer, texts, VIEWS[view]), attributes)
    return digest


def tokens_path(cache: Path, digest: str) -> Path:
    """File of tokens in the cache."""
    return Path(cache) / "tokens" / f"{digest}.h5"


def extract_distributions(
    model: Path,
    tokens: Path,
    distributions: Sequence[str],
    views: dict[Split, Sequence[str]],
    settings: Settings,
    device: str,
    cache: Path,
    output: Path,
) -> None:
    """Make the activation stores of the distributions complete; the model is loaded only if one is missing.

    Args:
        model: the model's manifest.
        tokens: the manifest of ``tokenize``.
        distributions: which of its distributions to extract.
        views: views by split.
        settings: what decides the stores' bytes.
        device: torch device, or "auto".
        cache: the cache folder.
        output: manifest to write: ``stores`` (records with distribution, split, view, digest) and ``left_out``.
    """
    described, tokenized = read_json(model), read_json(tokens)
    wanted: dict[tuple[str, Split], dict[str, str]] = {}
    for entry in tokenized["tokens"]:
        if entry["distribution"] in distributions and entry["view"] in views[entry["split"]]:
            wanted.setdefault((entry["distribution"], entry["split"]), {})[entry["view"]] = entry["digest"]
    extractor = Extractor(described, Path(cache) / "activations", settings, device)
    stores = []
    for (distribution, split), digests in wanted.items():
        request = Request(distribution, split, LazyTokens(cache, digests), digests)
        for view, digest in extractor.extract(request).items():
            stores.append({"distribution": distribution, "split": split, "view": view, "digest": digest})
    left_out = {k: v for k, v in tokenized["left_out"].items() if k.rsplit("/", 1)[0] in distributions}
    write_json(output, {"model": described["name"], "stores": stores, "left_out": left_out, **asdict(settings)})
    log.info("%s: %s", described["name"], describe(extractor.statistics))


class LazyTokens(dict[str, Tokens]):
    """Tokens by view, read from the cache when first asked for: complete stores need none."""

    def __init__(self, cache: Path, digests: dict[str, str]) -> None:
        """Remember where each view's tokens are."""
        super().__init__()
        self._cache = cache
        self._digests = digests

    def __missing__(self, view: str) -> Tokens:
        self[view] = read_tokens(tokens_path(self._cache, self._digests[view]))
        return self[view]
