"""Training of a reward model on pairs: −log σ(reward of the best − reward of the worse), AdamW, constant rate.

Source: GENIES (arXiv 2311.07723), section 4 and appendix; the loss is that of Bradley and Terry.

Everything that is drawn (order of the pairs, dropout) is drawn from the seed and the number of the step, so that a
training that goes on from a checkpoint is, on a CPU, bit for bit the training that was never stopped.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from genies.data.pairs import text_seed
from genies.digests import value_digest
from genies.engine.classifier import RewardReader
from genies.engine.forest import attention_cost
from genies.engine.scoring import TextGroup, lay_out
from genies.errors import ConfigError, Interrupted
from genies.files import whole_file
from genies.interventions.training.checkpoint import load_checkpoint, save_checkpoint
from genies.stopping import asked_to_stop

CHECKPOINT_FILE = "checkpoint.safetensors"
LOG_FILE = "training_log.jsonl"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """How a training goes.

    Attributes:
        steps: optimizer steps.
        pairs_per_step: pairs whose mean loss a step follows, however many passes they take.
        learning_rate, weight_decay: of AdamW; the rate is constant.
        max_grad_norm: the gradient of a step is scaled down to this Euclidean norm.
        batch_tokens: tokens of one pass, padding counted; gradients of a step's passes are accumulated.
        checkpoint_steps: a checkpoint is written every so many steps and after the last; 0 writes none.
        seed: of the order of the pairs and of dropout.
    """

    steps: int
    pairs_per_step: int
    learning_rate: float
    weight_decay: float
    max_grad_norm: float
    batch_tokens: int
    checkpoint_steps: int
    seed: int


def train(
    reader: RewardReader,
    groups: Sequence[TextGroup],
    schedule: Schedule,
    eos_token: int,
    packed: bool,
    folder: Path | None,
    digest: str,
    label: str,
) -> list[dict[str, float]]:
    """Train what is trainable in the reader, going on from a checkpoint in ``folder`` where it is of this training.

    Args:
        reader: the model.
        groups: the pairs, each with the tokens of its best response's text and of its worse one's.
        schedule: how the training goes.
        eos_token: id of the end-of-sequence token.
        packed: whether the two texts of a pair share a row.
        folder: where the checkpoint and ``training_log.jsonl`` lie; None keeps neither.
        digest: of what decides the training beside the schedule: model, texts, adapter.
        label: stands on the progress bar.

    Returns:
        The log: ``step`` (from 1), ``loss`` and ``learning_rate`` of each step.

    Raises:
        ConfigError: the loss is no longer finite.
        Interrupted: SIGTERM came; a checkpoint of the last step is kept, where there are to be any.
    """
    weights = reader.trainable()
    optimizer = _optimizer(weights, schedule, reader.device)
    digest = value_digest({"training": digest, "schedule": asdict(schedule), "packed": packed})
    keeper = _Keeper(folder, schedule, weights, optimizer, digest)
    history = keeper.resume()
    order = pair_order(len(groups), schedule)
    cuda = [reader.device] if reader.device.type == "cuda" else []
    reader.training(True)
    with (
        asked_to_stop() as asked,
        torch.random.fork_rng(devices=cuda),
        _progress(label, len(history), schedule.steps) as progress,
    ):
        for step in range(len(history), schedule.steps):
            torch.manual_seed(text_seed(schedule.seed, f"step {step}"))
            loss = _accumulate(reader, [groups[pair] for pair in order[step]], schedule, eos_token, packed)
            if not np.isfinite(loss):
                raise ConfigError(f"training: the loss of step {step + 1} is {loss}; lower the learning rate")
            torch.nn.utils.clip_grad_norm_(weights.values(), schedule.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            history.append({"step": step + 1, "loss": loss, "learning_rate": schedule.learning_rate})
            keeper.keep(history, asked.is_set())
            progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
            progress.update()
            if asked.is_set():
                then = "goes on" if schedule.checkpoint_steps else "begins again, since checkpoint_steps is 0"
                raise Interrupted(f"training: ended by SIGTERM after step {step + 1}; the same command {then}")
    reader.training(False)
    return history


def _optimizer(
    weights: Mapping[str, torch.nn.Parameter], schedule: Schedule, device: torch.device
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        weights.values(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=device.type == "cuda"
    )


@dataclass(frozen=True)
class _Keeper:
    """Writes a training's log and checkpoints into ``folder``, and reads them again; without a folder, nothing."""

    folder: Path | None
    schedule: Schedule
    weights: Mapping[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    digest: str

    def resume(self) -> list[dict[str, float]]:
        """Restore the last checkpoint of this training. Returns the log up to it, and cuts the file to that."""
        if self.folder is None:
            return []
        record = None
        if self.schedule.checkpoint_steps:
            record = load_checkpoint(self.folder / CHECKPOINT_FILE, self.weights, self.optimizer, self.digest)
        history = record["history"] if record else []
        if history:
            log.info("%s: going on after step %d of %d", self.folder, len(history), self.schedule.steps)
        with whole_file(self.folder / LOG_FILE) as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in history), encoding="utf-8")
        return history

    def keep(self, history: list[dict[str, float]], now: bool = False) -> None:
        """Log the last step, and write a checkpoint where one is due, or ``now``."""
        if self.folder is None:
            return
        with (self.folder / LOG_FILE).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(history[-1]) + "\n")
        every, done = self.schedule.checkpoint_steps, len(history)
        if every and (now or done % every == 0 or done == self.schedule.steps):
            record = {"history": history}
            save_checkpoint(self.folder / CHECKPOINT_FILE, self.weights, self.optimizer, record, self.digest)


def pair_order(pairs: int, schedule: Schedule) -> np.ndarray:
    """Which pairs each step takes, int64 (steps, pairs_per_step): all in random order, then all again in another."""
    needed = schedule.steps * schedule.pairs_per_step
    epochs = [np.random.default_rng([schedule.seed, epoch]).permutation(pairs) for epoch in range(-(-needed // pairs))]
    return np.concatenate(epochs)[:needed].reshape(schedule.steps, schedule.pairs_per_step)


def _accumulate(
    reader: RewardReader, groups: Sequence[TextGroup], schedule: Schedule, eos_token: int, packed: bool
) -> float:
    """Add the gradient of the mean loss over the pairs, pass by pass. Returns the loss."""
    loss = 0.0
    cost = attention_cost(reader.hidden, trained=True)
    for _, batch in lay_out(groups, schedule.batch_tokens, eos_token, packed, attention_cost=cost):
        best, worse = reader(batch, packed).scores.view(-1, 2).unbind(dim=1)
        part = -torch.nn.functional.logsigmoid(best - worse).sum() / len(groups)
        part.backward()
        loss += part.item()
    return loss


def _progress(label: str, done: int, steps: int) -> tqdm:
    return tqdm(initial=done, total=steps, desc=label, unit="step", mininterval=2, dynamic_ncols=True)
