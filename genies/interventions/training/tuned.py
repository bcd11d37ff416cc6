"""What lora, prompt_tuning and full_finetune share: a reward model trained on pairs of texts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from genies.data.pairs import text_seed
from genies.digests import value_digest
from genies.errors import DataError
from genies.interventions.parameters import NonNegativeFloat, PositiveFloat
from genies.interventions.steps.checks import check_training_pairs
from genies.interventions.text import Grouped, TextPairs, TextScoring
from genies.options import NonNegativeInt, PositiveInt

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel

    from genies.engine.classifier import RewardReader
    from genies.engine.scoring import TextGroup
    from genies.interventions.training.rewards import RewardScorer

Quantization = Literal["nf4"]


class TunedReward(TextScoring):
    """A decoder with a random linear head on its last token, trained to give the best response the higher reward.

    The loss is −log σ(r_best − r_worse) (GENIES, arXiv 2311.07723, section 4). A reward is read at the EOS token after
    prompt and response. Both protocols are the same: the published two outputs, averaged, are one linear output.

    Args:
        learning_rate: of AdamW, constant.
        steps: optimizer steps.
        pairs_per_step: pairs of one step, in as many passes as ``batch_tokens`` asks for.
        weight_decay: of AdamW.
        max_grad_norm: Euclidean norm that a step's gradient is scaled down to; published: 0.3.
        checkpoint_steps: a checkpoint is written every so many steps; 0 writes none.
        gradient_checkpointing: keep less of each pass in memory, and compute it again for the gradients: a third more
            work, for models that do not fit otherwise.
        **parameters: those of ``TextIntervention``.

    Attributes:
        weights_: trained weights, float32, by name.
        training_log_: ``step``, ``loss`` and ``learning_rate`` of each step.
        adapter_config_: what PEFT needs to know of the adapter, as JSON values; None without one.
    """

    saw = ("source labels",)
    no_text_scores = ""
    text_scores_compare = "within a prompt"
    quantization: Quantization | None = None
    _scorer: RewardScorer | None

    def __init__(
        self,
        *,
        learning_rate: PositiveFloat,
        steps: PositiveInt,
        pairs_per_step: PositiveInt = 16,
        weight_decay: NonNegativeFloat = 0.0,
        max_grad_norm: PositiveFloat = 0.3,
        checkpoint_steps: NonNegativeInt = 20,
        gradient_checkpointing: bool = False,
        **parameters: Any,
    ) -> None:
        super().__init__(**parameters)
        self.learning_rate = learning_rate
        self.steps = steps
        self.pairs_per_step = pairs_per_step
        self.weight_decay = weight_decay
        self.max_grad_norm = max_grad_norm
        self.checkpoint_steps = checkpoint_steps
        self.gradient_checkpointing = gradient_checkpointing

    @abstractmethod
    def adapter(self) -> PeftConfig | None:
        """PEFT's configuration of what is trained beside the head; None trains every weight."""

    def fit(self, pairs: TextPairs) -> Self:
        """Train on training pairs, best response first; their order plays no part.

        Where the bound folder holds a checkpoint of the same training, it goes on from there. Returns self.

        Raises:
            DataError: no pairs, a pair with its worse response first, or a text longer than the model's context.
            ConfigError: the loss is no longer finite, or the model cannot be adapted so.
        """
        from genies.interventions.training.loop import Schedule, train

        check_training_pairs(pairs)
        if not len(pairs):
            raise DataError("training pairs: there are none; give the source training examples")
        self._forget_model()
        scorer = self._load()
        texts = sorted(
            zip(pairs.prompt, pairs.first, pairs.second, pairs.example.tolist(), strict=True),
            key=lambda text: (text_seed(self.seed, *text[:3]), text[3]),
        )
        groups = scorer.groups(
            [((prompt, best), (prompt, worse)) for prompt, best, worse, _ in texts], [text[3] for text in texts]
        )
        if self.gradient_checkpointing:
            scorer.reader.save_memory()
        schedule = Schedule(**{name: getattr(self, name) for name in Schedule.__dataclass_fields__})
        packed = scorer.packs(groups)
        digest = self._training_digest([text[:3] for text in texts], scorer.reader)
        self.training_log_ = train(
            scorer.reader, groups, schedule, scorer.eos_token, packed, self._folder, digest, self.progress_label
        )
        self.weights_, self.adapter_config_ = scorer.reader.state(), scorer.reader.adapter_config()
        self._scorer = scorer
        return self

    def grouped(self, pairs: TextPairs) -> Grouped:
        return self._fitted_scorer().grouped(pairs)

    def text_scores(self, groups: Sequence[TextGroup]) -> np.ndarray:
        """Rewards, float64 (texts,)."""
        return self._fitted_scorer().rewards(groups, self.progress_label)

    def classifier(self) -> PreTrainedModel:
        """The fitted model as transformers has it, without the adapter's wrapper."""
        return self._fitted_scorer().reader.classifier

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Weights; the training log; for adapters, the content of PEFT's ``adapter_config.json``, else None.

        The weights of an adapter have the names that PEFT's ``adapter_model.safetensors`` gives them.
        """
        return self.weights_, {"training_log": self.training_log_, "adapter_config": self.adapter_config_}

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        self.weights_ = dict(arrays)
        self.training_log_, self.adapter_config_ = values["training_log"], values["adapter_config"]
        self._forget_model()
        return self

    def remove_checkpoint(self) -> None:
        from genies.interventions.training.loop import CHECKPOINT_FILE, LOG_FILE

        if self._folder is not None:
            for name in (CHECKPOINT_FILE, LOG_FILE):
                (self._folder / name).unlink(missing_ok=True)

    def _forget_model(self) -> None:
        self._scorer = None

    def _fitted_scorer(self) -> RewardScorer:
        if self._scorer is None:
            scorer = self._load()
            scorer.reader.load_state(self.weights_)
            self._scorer = scorer
        return self._scorer

    def _load(self) -> RewardScorer:
        """The model with a new head and a new adapter."""
        from genies.engine.classifier import new_reader
        from genies.interventions.training.rewards import RewardScorer
        from genies.models.merging import virtual_tokens

        model, folder = self._model, Path(self._model["path"])
        reader = new_reader(
            folder, self.adapter(), self.dtype, self._device, self.attention, self.seed, self.quantization,
            self.load_once,
        )  # fmt: skip
        # The manifest counts positions of texts alone.
        context = None if model["context"] is None else model["context"] + virtual_tokens(folder)
        return RewardScorer(reader, folder, model["eos_token"], context, self.batch_tokens)

    def _training_digest(self, texts: list[tuple[str, str, str]], reader: RewardReader) -> str:
        return value_digest(
            {
                "parameters": self.get_params(),
                "model": [self._model["weights_digest"], self._model["tokenizer_digest"]],
                "arithmetic": [str(reader.dtype), reader.device.type],
                "texts": texts,
            }
        )


class AdaptedReward(TunedReward):
    """A tuned reward of which PEFT trains an adapter, the model's own weights being frozen.

    A saved fit is a folder that PEFT loads: on the run's model as a sequence classifier with one label.

    Args:
        quantization: ``nf4`` keeps the frozen weights in 4 bits (QLoRA, arXiv 2305.14314), as published; needs CUDA
            and bitsandbytes. None keeps them in ``dtype``.
        **parameters: those of ``TunedReward``.
    """

    weights_file = "adapter_model.safetensors"

    def __init__(self, *, quantization: Quantization | None = None, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.quantization = quantization

    def companion_files(self) -> dict[str, Any]:
        return {"adapter_config.json": self.adapter_config_}
