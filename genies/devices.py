"""GPUs of this machine, and which of them a job may use; nothing here loads torch."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path

from filelock import FileLock, Timeout

VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/gpus")
SECONDS_BETWEEN_TRIES = 2.0

log = logging.getLogger(__name__)
_held: list[FileLock] = []


def visible_gpus() -> list[str]:
    """Names of the NVIDIA GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` spells them; often none."""
    chosen = os.environ.get(VISIBLE)
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    return [str(number) for number in range(len(list(DRIVER.iterdir())))] if DRIVER.is_dir() else []


def gpus_of_job(device: str, local: bool) -> int:
    """GPUs that a job asks for: one, or for a model that is spread all of this machine's.

    Args:
        device: as configured.
        local: whether jobs run on this machine. On a cluster the profile says how many a job has.
    """
    return max(1, len(visible_gpus())) if device == "balanced" and local else 1


def claim_gpus(device: str, locks: Path | None = None) -> list[str]:
    """Where several GPUs are visible, take the first that no other job has, or all of them for a model that is spread.

    They are held until the process ends, and are the only ones that CUDA shows to it from now on; so this has to come
    before torch is asked for a device.

    Args:
        device: what was asked for: ``auto`` and ``cuda`` mean any GPU, ``balanced`` means all, others none to choose.
        locks: folder of the lock files, the same for all jobs; default the folder for temporary files.

    Returns:
        The names of the GPUs; none where there was nothing to choose.
    """
    gpus = visible_gpus()
    if device not in ("auto", "cuda", "balanced") or len(gpus) < 2:
        return []
    folder = locks or Path(tempfile.gettempdir())
    # One of each list; all jobs take them in the same order, so that none waits for one that waits for it.
    choices = [[gpu] for gpu in gpus] if device == "balanced" else [gpus]
    taken = [_first_free(some, folder) for some in choices]
    os.environ[VISIBLE] = ",".join(taken)
    return taken


def _first_free(gpus: list[str], folder: Path) -> str:
    waiting = False
    while True:
        for gpu in gpus:
            # Every user of the machine takes part, whoever was first.
            lock = FileLock(folder / f"genies-gpu-{gpu}.lock", mode=0o666)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            _held.append(lock)
            return gpu
        if not waiting:
            log.info("GPU %s in use by other jobs; waiting for one", ", ".join(gpus))
            waiting = True
        time.sleep(SECONDS_BETWEEN_TRIES)
