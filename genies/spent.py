"""What it took to make something in the cache: kept beside it, and no part of its name or its checksums.

So a run that takes things from the cache can still say what it would cost to compute them, long after the jobs that did
are forgotten.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from genies.files import write_json

SPENT_FILE = "spent.json"
STORE, FIT, TEST, PLUGIN = "store", "fit", "test", "plug-in"
"""What is made; a test that is kept with a fit has its digest behind it, as ``TEST/<digest>``."""
SECONDS_BETWEEN_NOTES = 30.0
"""A process that is killed leaves a note that is at most so old."""
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spent:
    """What one process spent on making something.

    Attributes:
        began: when, in seconds since the epoch; tells the processes apart that made something together.
        seconds: how long it took, with loading what it needed.
        cpu_seconds: processor time of all threads, and of programs that it started and that have ended.
        device: "cpu", or the name of the GPU.
        peak_memory: largest resident memory of the process meanwhile, in bytes.
        peak_device_memory: largest memory of tensors on the GPU meanwhile, in bytes; None without a GPU.
        computed_tokens: tokens that passed through the model, padding counted; None where they are not counted.
        distinct_tokens: those of them that are needed, each shared beginning once.
    """

    began: float
    seconds: float
    cpu_seconds: float
    device: str
    peak_memory: int
    peak_device_memory: int | None = None
    computed_tokens: int | None = None
    distinct_tokens: int | None = None

    def share(self, share: float) -> Spent:
        """What of it one of several things took that were made together; peaks are those of all."""
        return replace(self, seconds=self.seconds * share, cpu_seconds=self.cpu_seconds * share)


class Meter:
    """Counts what this process spends from now on.

    Attributes:
        tokens: gives ``computed_tokens`` and ``distinct_tokens`` so far, where they are counted.
    """

    def __init__(self) -> None:
        self._began, self._clock, self._cpu = time.time(), time.monotonic(), _cpu_seconds()
        _forget_peaks()
        self.tokens: Callable[[], dict[str, int]] = dict

    def read(self) -> Spent:
        """What was spent up to now."""
        (device, peak), tokens = _gpu(), self.tokens()
        return Spent(
            began=self._began,
            seconds=time.monotonic() - self._clock,
            cpu_seconds=_cpu_seconds() - self._cpu,
            device=device,
            peak_memory=_peak_memory(),
            peak_device_memory=peak,
            computed_tokens=tokens.get("computed_tokens"),
            distinct_tokens=tokens.get("distinct_tokens"),
        )


def note(folders: Iterable[Path], what: str | Mapping[str, float], spent: Spent) -> None:
    """Note what was spent, in place of an earlier note of the same process.

    Args:
        folders: of things in the cache; several where they were made together, each with the same note then.
        what: was made: ``SPENT_FILE`` holds by it what each process spent. For several things that one folder holds,
            the share of each.
        spent: up to now.
    """
    shares = {what: 1.0} if isinstance(what, str) else what
    for folder in folders:
        notes = read_spent(folder)
        for name, share in shares.items():
            others = [one for one in notes.get(name, ()) if one.began != spent.began]
            notes[name] = [*others, spent.share(share)]
        write_json(folder / SPENT_FILE, {name: [asdict(one) for one in made] for name, made in notes.items()})


@contextmanager
def noted(folders: Sequence[Path], what: str | Mapping[str, float], meter: Meter | None = None) -> Iterator[Meter]:
    """Notes now and then what is spent meanwhile, and at the end, also where that is an error or a signal.

    Args:
        folders: as for ``note``; a folder need not be there yet.
        what: likewise.
        meter: that counts already; default: a new one.
    """
    meter, done = meter or Meter(), threading.Event()

    def now_and_then() -> None:
        while not done.wait(SECONDS_BETWEEN_NOTES):
            _try_to_note(folders, what, meter)

    watch = threading.Thread(target=now_and_then, daemon=True)
    watch.start()
    try:
        yield meter
    finally:
        done.set()
        watch.join()
        _try_to_note(folders, what, meter)


def _try_to_note(folders: Sequence[Path], what: str | Mapping[str, float], meter: Meter) -> None:
    """What is made matters more than the note: it goes on, and meets a full disk with a message of its own."""
    try:
        note(folders, what, meter.read())
    except OSError as error:
        log.warning("%s: what was spent could not be noted (%s)", folders[0], error.strerror)


def read_spent(folder: Path) -> dict[str, list[Spent]]:
    """What was noted in a folder, by what was made; nothing where no note is there, or a damaged one."""
    file = Path(folder) / SPENT_FILE
    if not file.is_file():
        return {}
    try:
        noted: dict[str, list[dict[str, Any]]] = json.loads(file.read_text(encoding="utf-8"))
        return {what: [Spent(**one) for one in made] for what, made in noted.items()}
    except (ValueError, TypeError, AttributeError) as error:
        log.warning("%s: unreadable (%s), so what was spent before is not known", file, error)
        return {}


def _cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _forget_peaks() -> None:
    with suppress(OSError):
        _CLEAR.write_text("5", encoding="ascii")
    if _cuda():
        sys.modules["torch"].cuda.reset_peak_memory_stats()


def _peak_memory() -> int:
    """Largest resident memory in bytes since ``_forget_peaks``, or where the system keeps no such count, ever."""
    with suppress(OSError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _gpu() -> tuple[str, int | None]:
    """Name of the GPU that this process has used, and the peak of its memory; "cpu" without one."""
    if not _cuda():
        return "cpu", None
    cuda = sys.modules["torch"].cuda
    used = [number for number in range(cuda.device_count()) if cuda.max_memory_allocated(number)]
    if not used:
        return "cpu", None
    names = list(dict.fromkeys(cuda.get_device_name(number) for number in used))
    return ", ".join(names), sum(cuda.max_memory_allocated(number) for number in used)


def _cuda() -> bool:
    """Whether this process has begun to use a GPU; what never loaded torch has not."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()
