"""A finished reward model: a sequence classifier, or a language model as a judge, scored without fitting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from genies.digests import value_digest
from genies.errors import ConfigError, DataError, ModelError
from genies.interventions.base import Comparable
from genies.interventions.text import Grouped, TextPairs, TextScoring
from genies.interventions.training.question import Question, check_output, check_read_at
from genies.models.adapters import OtherModel
from genies.models.files import hashes_file
from genies.models.gguf import is_gguf

if TYPE_CHECKING:
    from genies.engine.scoring import TextGroup
    from genies.interventions.training.finished import FinishedScorer
    from genies.interventions.training.judging import JudgeScorer

Overlong = Literal["error", "shorten"]
Format = Literal["auto", "prompt_response", "chat", "judge"]
COMPARED = 3
"""Texts of a source on which a finished model is compared with its own pass."""


class RewardModel(TextScoring):
    """Rewards of a model from a folder or the hub, whatever the run's model and the source.

    Texts are put as the model's authors put them; ``format`` says how. In ``chat``, the prompt (or its conversation,
    with a system prompt where the data has one) comes before the response as the assistant's turn in the tokenizer's
    chat template, all tokenized in one step, so that BOS and EOS are those of the template. ``prompt_response`` is
    ``prompt + response`` and EOS (classifiers that are no decoders read it as their tokenizer closes it). A judge
    answers a question with its next token; one that has to reason first is not supported, since that needs generation.

    On some texts of each source, scores are compared with those of the model's own pass in transformers. The fit states
    how far they are apart, and the version of that library.

    Args:
        model: folder in the format of ``save_pretrained`` (safetensors), or hub id; of an adapter of PEFT, too,
            which has to hold its reward head. In a run's configuration also the name of one of its ``tuned_models``.
        revision: revision on the hub: branch, tag or commit.
        base: of an adapter: folder, GGUF file or hub id of its base; default: the one that the adapter names.
        base_revision: revision of the base on the hub; default: the one that the adapter names.
        overlong: whether texts over this model's own context are an ``error``, or lose tokens in front (``shorten``).
        format: ``prompt_response``, ``chat``, or ``judge``, for a causal language model that is asked about the
            responses; ``auto`` takes ``chat`` where the tokenizer has a chat template, else ``prompt_response``; of a
            tuned model of the run it takes ``prompt_response``, which that was trained on.
        output: the reward of a classifier with several outputs: an index, a label, or weights (a list, or by label;
            what is not named weighs 0). A negative weight turns a cost into a reward.
        read_at: text or id of the token whose last place in a text gives the reward of a decoder; ``unpadded`` is the
            last token that is not the padding token, where transformers looks for it. Default: the last token.
        template: question to a judge: ``pair`` (which of two responses is better, asked in both orders) or ``grade``
            (how good a response is, from 1 to 5), in words of genies; or a text with ``{prompt}``, ``{first}`` and
            ``{second}``, or with ``{prompt}`` and ``{response}``.
        answers: what a judge answers to a template of your own: two texts, that for the first response first (default:
            A and B); or grades, as numbers in quotes (default: 1 to 5), or by text what each is worth.
        **parameters: those of ``TextIntervention``.

    Attributes:
        counts_: examples ``shortened`` in the last call of ``decision_function``; of a judge of pairs instead
            ``judged``, ``order_decides`` and ``toward_first``, see ``JudgeScorer.settled``.
        read_as_: ``format``, ``written`` (how a judge is asked: ``chat`` or ``text``), ``tokens`` (digest of the tokens
            that were compared), and what ``genies.engine.pipeline.PipelineCheck`` says.
    """

    drawn = False
    saw = ("a judge",)
    no_text_scores = ""
    text_scores_compare: Comparable = "within a prompt"
    _scorer: FinishedScorer | JudgeScorer | None

    def __init__(
        self,
        *,
        model: str | None = None,
        revision: str | None = None,
        base: str | None = None,
        base_revision: str | None = None,
        overlong: Overlong = "error",
        format: Format = "auto",
        output: int | str | list[float] | dict[str, float] | None = None,
        read_at: int | str | None = None,
        template: str = "pair",
        answers: list[str] | dict[str, float] | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__(**parameters)
        if not model or not isinstance(model, str):
            raise ConfigError("parameter model: name the folder or hub id of a reward model")
        if is_gguf(model):
            raise ConfigError(f"parameter model: {model} is a GGUF file, which can only be a language model")
        self.model = model
        self.revision = revision
        self.base = base
        self.base_revision = base_revision
        self.overlong = overlong
        self.format = format
        self.output = output
        self.read_at = read_at
        self.template = template
        self.answers = answers
        self._check_format()
        if format == "judge" and Question.of(template, answers).grades is None:
            self.no_text_scores = "the judge compares two responses"
        elif format == "judge":
            self.text_scores_compare = "across prompts"

    def _check_format(self) -> None:
        """Raise ConfigError where parameters do not belong to the format, or are of no use."""
        of_judges = {"template": self.template != "pair", "answers": self.answers is not None}
        of_classifiers = {"output": self.output is not None, "read_at": self.read_at is not None}
        judges = self.format == "judge"
        for name, given in (of_classifiers if judges else of_judges).items():
            if given:
                other = "a classifier" if judges else "format: judge"
                raise ConfigError(f"parameter {name}: is for {other}, the format is {self.format}; leave it out")
        if judges and self.overlong == "shorten":
            raise ConfigError("parameter overlong: a judge's question cannot be shortened in front; leave it out")
        Question.of(self.template, self.answers)
        check_output(self.output)
        check_read_at(self.read_at)

    @classmethod
    def other_models(cls, parameters: Mapping[str, Any]) -> list[OtherModel]:
        return [
            OtherModel(parameters["model"], *(parameters.get(name) for name in ("revision", "base", "base_revision")))
        ]

    def fit(self, pairs: TextPairs) -> Self:
        """Learn nothing, but compare scores of some texts with those of the model's own pass.

        Raises:
            ModelError: as ``grouped``; they differ by more than rounding; or all responses are read as the same tokens.
        """
        from genies.engine.pipeline import check_pipeline

        reader, groups = self._reader(), self._some_groups(pairs)
        if groups and all(len(group) == 2 and np.array_equal(*group) for group in groups):
            raise ModelError(
                f"{self.model}: both responses of {len(groups)} examples are the same tokens up to where the reward is "
                "read, so that every pair would be a tie; name another format or read_at, or mend its chat template"
            )
        texts = [group[0] for group in groups]
        check = check_pipeline(reader.reader, texts, self.model)
        form = "judge" if self.format == "judge" else reader.written
        tokens = value_digest([text.tolist() for text in texts])
        self.read_as_ = {"format": form, "written": reader.written, "tokens": tokens, **check.stated()}
        return self

    def grouped(self, pairs: TextPairs) -> Grouped:
        """The texts of the pairs.

        Raises:
            ModelError: no such model, or no finished sequence classifier; it has several outputs, of which none is
                named; or its chat template refuses a text.
            ConfigError: the model has no such output, token or answers.
            DataError: a text is longer than the reward model's context, and ``overlong`` says that this is an error.
        """
        return self._reader().grouped(pairs)

    def text_scores(self, groups: Sequence[TextGroup]) -> np.ndarray:
        """Rewards, float64 (texts,)."""
        return self._reader().rewards(groups, self.progress_label)

    def settled(self, read: np.ndarray, counts: Mapping[str, float]) -> tuple[np.ndarray, Mapping[str, float]]:
        return self._reader().settled(read, counts)

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        return {}, dict(self.read_as_)

    def set_state(self, arrays: Mapping[str, np.ndarray], values: Mapping[str, Any]) -> Self:
        self.read_as_ = dict(values)
        return self

    def _forget_model(self) -> None:
        self._scorer = None

    def _reader(self) -> FinishedScorer | JudgeScorer:
        if self._scorer is None:
            self._scorer = self.load_once(("reward_model", self._device, value_digest(self.get_params())), self._load)
        return self._scorer

    def _load(self) -> FinishedScorer | JudgeScorer:
        from genies.engine.finished import finished_reader
        from genies.interventions.training.finished import FinishedScorer
        from genies.interventions.training.judging import JudgeScorer
        from genies.models.adapters import is_pinned, language_folder, reward_folder

        (other,), remembered = self.other_models(self.get_params()), hashes_file(self.cache)
        if self.format == "judge":
            question, folder = Question.of(self.template, self.answers), language_folder(other, remembered)
            return JudgeScorer(folder, question, self.dtype, self._device, self.attention, self.batch_tokens)
        folder = reward_folder(other, remembered)
        reader = finished_reader(folder, self.dtype, self._device, self.attention, self.output)
        # A model that a run tunes was trained on prompt + response + EOS, whatever template its tokenizer has.
        own = self.format == "auto" and is_pinned(other)
        form, shorten = "prompt_response" if own else self.format, self.overlong == "shorten"
        return FinishedScorer.of(reader, folder, self.batch_tokens, shorten, form, self.read_at)

    def _some_groups(self, pairs: TextPairs) -> list[tuple[np.ndarray, ...]]:
        """Tokens of both texts of a short, a usual and a long pair that the model can hold."""
        length = [len(prompt) + len(first) for prompt, first in zip(pairs.prompt, pairs.first, strict=True)]
        order = sorted(range(len(pairs)), key=length.__getitem__)
        groups = []
        for row in {order[rank * (len(order) - 1) // max(1, COMPARED - 1)] for rank in range(COMPARED) if order}:
            try:
                groups.append(tuple(self._reader().grouped(pairs.rows([row])).groups[0].tokens))
            except DataError:  # it is said where the text is to be scored
                continue
        return groups
