"""Answers of a language model: the probabilities of a few tokens after a text, which a judge's verdict is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from genies.engine.decoder import Decoder
from genies.engine.forest import PackedBatch
from genies.engine.masks import separate_inputs, tree_masks
from genies.engine.positions import begin, of_one_length
from genies.engine.scoring import Reading
from genies.engine.virtual import after_virtual, shifted


class AnswerReader:
    """Reads from a causal language model how likely it is to go on with one of some tokens.

    Attributes:
        decoder: the model.
        answers: ids of the tokens.
        grades: what each answer is worth, so that the score is the expected grade; None: there are two answers, and the
            score is the log-odds of the first one, in nats.
    """

    def __init__(self, decoder: Decoder, answers: Sequence[int], grades: Sequence[float] | None) -> None:
        """See the attributes."""
        self.decoder = decoder
        self.answers = list(answers)
        self.grades = None if grades is None else list(grades)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the model's arithmetic; the probabilities are computed in float32."""
        return self.decoder.dtype

    def __call__(self, batch: PackedBatch, packed: bool) -> Reading:
        """Scores of the batch's texts, float32, and last hidden states; see ``genies.engine.scoring.Read``.

        Raises:
            ValueError: packed texts of different lengths cannot be read together.
        """
        model, limit, virtual = self.decoder.model, self.decoder.alike_up_to, self.decoder.virtual_tokens
        if packed:
            begin(model, limit, int(batch.position.max()) + 1 + virtual)
            return self._read(batch, **self._tree_inputs(batch))
        parts, readings = of_one_length(batch, limit, virtual), []
        for _, part in parts:
            begin(model, limit)
            inputs = separate_inputs(part, self.decoder.device)
            mask = after_virtual(inputs["attention_mask"], virtual)
            readings.append(self._read(part, **self.decoder.inputs_of(inputs["input_ids"]), attention_mask=mask))
        return Reading.joined(readings, np.concatenate([rows for rows, _ in parts]))

    def score(self, logits: torch.Tensor) -> torch.Tensor:
        """What the logits of the answers, (T, answers), say: float32 (T,)."""
        if self.grades is None:
            return logits[:, 0].float() - logits[:, 1].float()
        return logits.float().softmax(-1) @ torch.tensor(self.grades, dtype=torch.float32, device=logits.device)

    def _read(self, batch: PackedBatch, **inputs: object) -> Reading:
        decoder, states = self.decoder, []
        last = torch.as_tensor(batch.last, device=decoder.device)

        def at_output_head(_: object, args: tuple) -> tuple:
            hidden = args[0][:, decoder.virtual_tokens :]
            states.append(hidden.reshape(-1, hidden.shape[-1])[last])
            return (states[0] if decoder.head_is_more else states[0][:1])[None], *args[1:]

        handle = decoder.output_head.register_forward_pre_hook(at_output_head)
        try:
            logits = decoder.model(**inputs, use_cache=False).logits[0]
        finally:
            handle.remove()
        state = states[0].float()
        return Reading(self.score(logits[:, self.answers] if decoder.head_is_more else self._logits(state)), state)

    def _logits(self, state: torch.Tensor) -> torch.Tensor:
        """Logits of the answers in float32: in bfloat16 they would have 8 bits, and close responses would tie."""
        head = self.decoder.output_head
        bias = getattr(head, "bias", None)
        logits = state @ head.weight[self.answers].float().T
        return logits if bias is None else logits + bias[self.answers].float()

    def _tree_inputs(self, batch: PackedBatch) -> dict[str, object]:
        tokens, position, end = (
            torch.as_tensor(array, device=self.decoder.device) for array in (batch.tokens, batch.position, batch.end)
        )
        position, end = shifted(position, end, self.decoder.virtual_tokens)
        mask = tree_masks(self.decoder.model.config.get_text_config(), end, position, self.dtype)
        return {**self.decoder.inputs_of(tokens), "position_ids": position, "attention_mask": mask}
