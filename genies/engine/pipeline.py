"""The self-test of finished models: what genies reads against the model's own pass in transformers, text by text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from genies.engine.answers import AnswerReader
from genies.engine.base_model import HEAD
from genies.engine.classifier import RewardReader
from genies.engine.forest import Batch, build_tree, pack
from genies.engine.self_test import PACKING_TOLERANCE
from genies.engine.virtual import after_virtual
from genies.errors import ModelError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PipelineCheck:
    """How far scores are from those of the model's own pass.

    Attributes:
        library: name and version of what the pass is of.
        texts: how many were compared, each by itself.
        difference: largest absolute difference of their scores; of those that transformers reads elsewhere (see
            ``elsewhere``) with the padding token unset. None where no text was compared.
        elsewhere: of how many texts transformers reads the reward at another token, since they end with its padding
            token.
    """

    library: str
    texts: int
    difference: float | None
    elsewhere: int

    def stated(self) -> dict[str, Any]:
        """As fits state it."""
        return asdict(self)


@torch.inference_mode()
def check_pipeline(reader: RewardReader | AnswerReader, texts: Sequence[np.ndarray], name: str) -> PipelineCheck:
    """Compare the scores of some texts, each in a pass by itself.

    Args:
        reader: the model.
        texts: token ids of each text, int (length,), up to the token that its score is read at.
        name: of the model, for messages.

    Raises:
        ModelError: they differ by more than rounding.
    """
    import transformers

    library = f"transformers {transformers.__version__}"
    compared: Callable[[Any, np.ndarray], _Compared] = (
        _compared_answer if isinstance(reader, AnswerReader) else _compared_reward
    )
    found = [compared(reader, tokens) for tokens in texts]
    if wrong := [one for one in found if not one.alike]:
        raise ModelError(
            f"{name}: the score of a text is {wrong[0].ours:.6g}, and {wrong[0].theirs:.6g} in the model's own pass of "
            f"{library}; its class computes something else than its outputs at the last token, so genies cannot read it"
        )
    elsewhere = sum(one.elsewhere for one in found)
    if elsewhere:
        log.warning(
            "%s: %s reads rewards before the padding token that ends the texts, genies at their last token; if it was "
            "trained so, set read_at: unpadded", name, library,
        )  # fmt: skip
    difference = max((abs(one.ours - one.theirs) for one in found), default=None)
    return PipelineCheck(library, len(texts), difference, elsewhere)


class _Compared(NamedTuple):
    """The score of one text: ours, that of the model's own pass, and whether they are alike.

    ``elsewhere``: only where the class does not know of its padding token, so that it reads at the last one.
    """

    ours: float
    theirs: float
    alike: bool
    elsewhere: bool = False


def _ours(reader: RewardReader | AnswerReader, tokens: np.ndarray) -> float:
    tree = build_tree([tokens], [None], -1)
    return float(reader(pack(Batch(len(tree), ((0,),)), [tree]), False).scores[0])


def _alike(dtype: torch.dtype, ours: float, theirs: float, rounding: float = 0.0) -> bool:
    return abs(ours - theirs) <= PACKING_TOLERANCE[dtype] * max(1.0, abs(theirs)) + rounding


def _compared_answer(reader: AnswerReader, tokens: np.ndarray) -> _Compared:
    inputs = reader.decoder.inputs_of(_row(tokens, reader.decoder.device))
    logits = reader.decoder.model(**inputs, use_cache=False).logits[:, -1, reader.answers]
    # The model's own logits are rounded to its type, ours are not.
    rounding = 0.0 if logits.dtype == torch.float32 else 2 * torch.finfo(logits.dtype).eps * float(logits.abs().max())
    ours, theirs = _ours(reader, tokens), float(reader.score(logits)[0])
    return _Compared(ours, theirs, _alike(reader.dtype, ours, theirs, rounding))


def _compared_reward(reader: RewardReader, tokens: np.ndarray) -> _Compared:
    ours, theirs = _ours(reader, tokens), _own_reward(reader, tokens, True)
    if _alike(reader.dtype, ours, theirs):
        return _Compared(ours, theirs, True)
    theirs = _own_reward(reader, tokens, False)
    alike = _alike(reader.dtype, ours, theirs)
    return _Compared(ours, theirs, alike, elsewhere=alike)


def _own_reward(reader: RewardReader, tokens: np.ndarray, pads: bool) -> float:
    """The reward of a text in the classifier's own pass.

    Args:
        reader: the model.
        tokens: its ids.
        pads: whether the class is to know of its padding token.
    """
    model: Any = reader.classifier
    config, ids = model.config.get_text_config(), _row(tokens, reader.device)
    padding = config.pad_token_id
    handles = [getattr(model, HEAD).register_forward_hook(_in_float32)] if reader.is_decoder else []
    widens = reader.is_decoder and reader.dtype != torch.float32
    try:
        config.pad_token_id = padding if pads else None
        with torch.autocast(reader.device.type, reader.dtype, enabled=widens):
            mask = after_virtual(torch.ones_like(ids), reader.virtual_tokens)
            outputs = model(**reader.inputs_of(ids), attention_mask=mask).logits
    finally:
        config.pad_token_id = padding
        for handle in handles:
            handle.remove()
    return float(reader.reward(outputs)[0])


def _in_float32(head: Any, args: tuple, _output: torch.Tensor) -> torch.Tensor:
    """The head's outputs in its own arithmetic, as genies computes them, instead of that of the pass."""
    with torch.autocast(args[0].device.type, enabled=False):
        return type(head).forward(head, args[0].float())


def _row(tokens: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.as_tensor(tokens, dtype=torch.int64, device=device)[None]
