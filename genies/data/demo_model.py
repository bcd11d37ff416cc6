"""The demo model: a small Llama that learns the demo world from its corpus alone, on a CPU in about a minute."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genies.data.views import VIEWS
from genies.errors import DataError
from genies.files import filled_folder

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
WORD = r"\n|\w+|[^\w\s]+"
"""A token is a line break, a word, or a run of punctuation."""
CONTEXT = 512
ROW = 128
"""Tokens of one row of a batch; no document of the corpus is longer."""


@dataclass(frozen=True)
class Batch:
    """Documents packed in rows: token, position in its document, and number of its document (−1 where empty)."""

    tokens: np.ndarray
    position: np.ndarray
    document: np.ndarray


def train_demo_model(
    corpus: Path, destination: Path, seed: int, *, steps: int | None = None, batch_tokens: int = 1024
) -> None:
    """Train a Llama of 4 layers of 128 with 8 heads (4 key-value heads) on a corpus, and save it with its tokenizer.

    The corpus is read once, in its own order. Matrices are trained with Muon (Jordan et al. 2024), the embedding and
    the norms with AdamW: with AdamW alone, telling right from wrong took several times as many steps.

    Args:
        corpus: JSON lines with the key ``text``.
        destination: folder of the model: config.json, model.safetensors, tokenizer files, and training_log.json with
            the loss of each step (mean cross-entropy in nats per token).
        seed: of the weights. Equal seeds give equal weights on one machine with one number of threads.
        steps: stop after so many steps; by default at the end of the corpus.
        batch_tokens: tokens of one step, filled up with padding, a multiple of ``ROW``.

    Raises:
        DataError: a line of the corpus is not an object with a text, or a document is longer than ``ROW`` tokens.
    """
    import torch
    from tqdm import tqdm

    texts = _read_corpus(Path(corpus))
    tokenizer = build_tokenizer(texts)
    documents = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]]
    for number, document in enumerate(documents, start=1):
        if len(document) > ROW:
            raise DataError(f"{corpus}: line {number}: {len(document)} tokens; shorten the text to {ROW} tokens")
    batches = make_batches(documents, batch_tokens)[:steps]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model(tokenizer)
    total = len(batches)
    optimizers = build_optimizers(model)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1, (step + 1) / (0.05 * total), (total - step) / (0.3 * total))
        )
        for optimizer in optimizers
    ]
    losses = []
    for batch in tqdm(batches, desc="demo model", unit="step", mininterval=2):
        loss = _loss(model, batch)
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in (*optimizers, *schedules):
            part.step()
        losses.append(loss.item())
    _save(model.eval(), tokenizer, losses, Path(destination))


def _read_corpus(path: Path) -> list[str]:
    texts = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            texts.append(json.loads(line)["text"])
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{path}: line {number}: no JSON object with a text; make the corpus again") from None
    return texts


def build_optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the embedding (which is the head, too) and the norms."""
    import torch

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=3e-3, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def _loss(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of each token after the others of its document."""
    import torch

    tokens, position, document = map(torch.from_numpy, (batch.tokens, batch.position, batch.document))
    together = document[:, :, None] == document[:, None, :]
    mask = (together & torch.ones(ROW, ROW, dtype=torch.bool).tril())[:, None]
    hidden = model.model(tokens, attention_mask=mask, position_ids=position).last_hidden_state
    follows = (document[:, 1:] == document[:, :-1]) & (document[:, 1:] >= 0)
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[:, :-1][follows]), tokens[:, 1:][follows])


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The model before training, its weights drawn from torch's generator.

    Their standard deviation of 0.09 is about 1/√128; the usual 0.02 is meant for wider models.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=8,
            num_key_value_heads=4,
            max_position_embeddings=CONTEXT,
            initializer_range=0.09,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )


def make_batches(documents: Sequence[Sequence[int]], batch_tokens: int) -> list[Batch]:
    """Documents in their order, packed in rows: each goes to the first row of the open batch that has room."""
    rows = max(1, batch_tokens // ROW)
    batches: list[Batch] = []
    filled = [ROW] * rows
    for number, document in enumerate(documents):
        row = next((r for r in range(rows) if filled[r] + len(document) <= ROW), None)
        if row is None:
            shape = (rows, ROW)
            batches.append(Batch(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, -1, np.int64)))
            filled, row = [0] * rows, 0
        here = (row, slice(filled[row], filled[row] + len(document)))
        batches[-1].tokens[here], batches[-1].position[here] = document, np.arange(len(document))
        batches[-1].document[here] = number
        filled[row] += len(document)
    return batches


def build_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer over the words of the texts and of the views; a text begins with BOS."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = [*texts, *(view.text("", "") for view in VIEWS.values())]
    words = sorted({word for text in known for word in re.findall(WORD, text)})
    vocabulary = {word: index for index, word in enumerate([BEGIN, END, UNKNOWN, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A", special_tokens=[(BEGIN, 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BEGIN, eos_token=END, unk_token=UNKNOWN, model_max_length=CONTEXT
    )


def _save(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, losses: Sequence[float], destination: Path
) -> None:
    with filled_folder(destination, last="config.json") as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "training_log.json").write_text(json.dumps({"loss": list(losses)}), encoding="utf-8")
