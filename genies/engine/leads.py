"""How much likelier a model finds the first of two responses than the second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from genies.engine.decoder import Decoder
from genies.engine.features import Features
from genies.engine.forest import PackedBatch, attention_cost
from genies.engine.scoring import Reading, Scorer, TextGroup, lay_out
from genies.errors import ModelError


class LeadReader:
    """Passes pairs of responses through a model, packed where a self-test on some of them allows it.

    Attributes:
        decoder: the model.
    """

    def __init__(self, decoder: Decoder, eos_token: int, batch_tokens: int) -> None:
        """Prepare.

        Args:
            decoder: the model.
            eos_token: id of the end-of-sequence token, which is scored after each response.
            batch_tokens: tokens of one pass.
        """
        self.decoder = decoder
        self._eos_token, self._batch_tokens = eos_token, batch_tokens
        self._cost = attention_cost(decoder.shape.hidden)
        self._scorer = Scorer(self._reading, eos_token, batch_tokens, decoder.dtype, attention_cost=self._cost)

    def prepared(self, pairs: Sequence[TextGroup]) -> Callable[[], Iterator[tuple[list[int], np.ndarray]]]:
        """The passes over some pairs, to be made as often as one likes, each time with what is changed at that time.

        Args:
            pairs: groups of two texts of one prompt, both scored.

        Returns:
            A function that passes the pairs batch by batch. It gives the indices of the batch's pairs, and of each the
            log-probability of its first response with EOS, less that of its second, in nats, float64 (n,).

        Raises:
            ModelError: memory does not suffice for a pass; so may the function's.
        """
        packed = self._scorer.may_pack(pairs)
        batches = [*lay_out(pairs, self._batch_tokens, self._eos_token, packed, attention_cost=self._cost)]

        def passes() -> Iterator[tuple[list[int], np.ndarray]]:
            for members, batch in batches:
                yield members, self._leads(batch, packed)

        return passes

    def _read(self, batch: PackedBatch, packed: bool) -> Features:
        return self.decoder.read(batch) if packed else self.decoder.read_separately(batch)

    def _reading(self, batch: PackedBatch, packed: bool) -> Reading:
        features = self._read(batch, packed)
        return Reading(features.log_probability, features.residual[:, -1])

    def _leads(self, batch: PackedBatch, packed: bool) -> np.ndarray:
        try:
            scores = self._read(batch, packed).log_probability.cpu().numpy().reshape(-1, 2)
        except torch.OutOfMemoryError:
            raise ModelError(
                f"memory does not suffice for a pass over {batch.tokens.size} tokens; lower extraction.batch_tokens, "
                "or use a larger device or bfloat16"
            ) from None
        return scores[:, 0] - scores[:, 1]
