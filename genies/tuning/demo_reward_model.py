"""The demo's finished reward model: the demo model, all its weights trained on what several distributions prefer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genies.data.distributions import read_split
from genies.data.pairs import training_pairs
from genies.files import filled_folder
from genies.interventions.full_finetune import FullFinetune
from genies.models import describe_model, load_tokenizer
from genies.tuning.base import TextPairs

LEARNING_RATE, STEPS = 1e-3, 80


def train_demo_reward_model(model: Path, train: Sequence[Path], destination: Path, seed: int, remembered: Path) -> None:
    """Train a reward model and save it as transformers does, with its tokenizer.

    Args:
        model: folder of the demo's language model.
        train: ``train.json`` files; their training pairs are joined.
        destination: folder of the reward model, a sequence classifier with one output.
        seed: draws the training pairs, the head and the order.
        remembered: as ``genies.models.describe_model`` takes it.
    """
    examples = [example for file in train for example in read_split(file)]
    pairs = training_pairs(examples, seed)
    texts = TextPairs.of(examples, pairs, np.ones(len(pairs), bool))
    described = describe_model(str(model), None, remembered)
    tuned = FullFinetune(seed=seed, learning_rate=LEARNING_RATE, steps=STEPS, checkpoint_steps=0)
    classifier = tuned.bind(described, "cpu").fit(texts).classifier()
    with filled_folder(destination, last="config.json") as folder:
        classifier.save_pretrained(folder)
        load_tokenizer(model).save_pretrained(folder)
