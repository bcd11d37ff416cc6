"""What a run will cost, part by part: tokens, operations, hours and disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genies.costs.extraction import ROOM
from genies.costs.rates import Here, Rate
from genies.costs.sampling import Count
from genies.costs.trees import SplitCounts
from genies.errors import DiskError

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Part:
    """What one part of a run passes through the model.

    Attributes:
        name: "extraction", or the intervention.
        tokens: distinct tokens, those of trainings once for each time that a step reads them; without self-tests.
        reading, training: floating-point operations of passes without and with gradients, self-tests included.
        jobs: how many load the model.
        loads: how often they load it, all together.
        dtype, dtype_here: what the named device and this machine compute in.
        hours: of the named device, of its operations alone.
        hours_here: of this machine, with the start of the jobs.
    """

    name: str
    tokens: Count
    reading: float
    training: float
    jobs: int
    loads: int
    dtype: str
    dtype_here: str
    hours: float = 0
    hours_here: float = 0

    @property
    def operations(self) -> float:
        """All operations."""
        return self.reading + self.training


@dataclass(frozen=True)
class ModelCosts:
    """What a run costs on one model.

    Attributes:
        name: the model's.
        parameters: its weights.
        tokenizer: what tokens were counted with, in words.
        splits: what is read.
        parts: extraction and the interventions that read texts.
        other_jobs: its jobs that load no weights.
        other_hours_here: hours in which those start on this machine.
        rates: operations per second of measured products on this machine, by type.
        disk: bytes by what is kept: ``tokens``, ``activations``, ``fits``; for a GGUF file also ``model``, its
            conversion.
        stored: bytes of the activations and of the conversion that are in the cache already.
    """

    name: str
    parameters: int
    tokenizer: str
    splits: list[SplitCounts]
    parts: list[Part]
    other_jobs: int
    other_hours_here: float
    rates: dict[str, float]
    disk: dict[str, int]
    stored: int

    @property
    def jobs(self) -> int:
        """Jobs of the model."""
        return sum(part.jobs for part in self.parts) + self.other_jobs

    @property
    def hours(self) -> float:
        """Hours of the named device for all parts."""
        return sum(part.hours for part in self.parts)

    @property
    def hours_here(self) -> float:
        """Hours of this machine for all parts and other jobs; without those of the run."""
        return sum(part.hours_here for part in self.parts) + self.other_hours_here


@dataclass(frozen=True)
class Costs:
    """What a run costs.

    Attributes:
        run: its name.
        models: the costs of each.
        run_jobs: jobs that the run has once, however many its models; they load none.
        run_hours_here: hours in which those start on this machine.
        rate: the device that is named.
        here: this machine.
        left_out: what is not counted, in words.
        cache: the cache folder.
        free: bytes that are free on its disk.
        write_rate: bytes of stores per second that its disk takes; None where that could not be measured.
    """

    run: str
    models: list[ModelCosts]
    run_jobs: int
    run_hours_here: float
    rate: Rate
    here: Here
    left_out: list[str]
    cache: Path
    free: int
    write_rate: float | None

    @property
    def jobs(self) -> int:
        """Jobs of all models and of the run."""
        return sum(model.jobs for model in self.models) + self.run_jobs

    @property
    def hours_here(self) -> float:
        """Hours of this machine for all models and the jobs of the run."""
        return sum(model.hours_here for model in self.models) + self.run_hours_here

    def write_hours(self, model: ModelCosts) -> float | None:
        """Hours in which the disk takes a model's activations; None where its rate is not known."""
        return None if self.write_rate is None else model.disk["activations"] / self.write_rate / 3600

    @property
    def needed(self) -> int:
        """Bytes that all models take together beyond what is in the cache."""
        return sum(sum(model.disk.values()) - model.stored for model in self.models)

    @property
    def verdict(self) -> str:
        """Whether the disk suffices, in words."""
        stored = sum(model.stored for model in self.models)
        besides = f" besides {gibibytes(stored)} that are there already" if stored else ""
        all_models = "all models together take" if len(self.models) > 1 else "the run takes"
        told = f"{self.cache}: {all_models} {gibibytes(self.needed)}{besides}, and {gibibytes(self.free)} are free"
        return f"{told}. It does not fit: {ROOM}" if self.needed > self.free else f"{told}. It fits."

    def check(self) -> None:
        """Raise DiskError where the disk does not suffice."""
        if self.needed > self.free:
            raise DiskError(self.verdict)


def gibibytes(size: float) -> str:
    """A number of bytes in words."""
    return f"{size / 2**30:,.3g} GiB" if size < 100 * 2**30 else f"{size / 2**30:,.0f} GiB"
