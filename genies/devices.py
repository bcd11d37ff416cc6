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


def claim_gpu(device: str, locks: Path | None = None) -> str | None:
    """Where several GPUs are visible and the job needs any one, take the first that no other job has.

    It is held until the process ends, and is the only one that CUDA shows to it from now on; so this has to come before
    torch is asked for a device.

    Args:
        device: what was asked for: only ``auto`` and ``cuda`` leave the choice open.
        locks: folder of the lock files, the same for all jobs; default the folder for temporary files.

    Returns:
        The name of the GPU, or None where there was nothing to choose.
    """
    gpus = visible_gpus()
    if device not in ("auto", "cuda") or len(gpus) < 2:
        return None
    folder = locks or Path(tempfile.gettempdir())
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
            os.environ[VISIBLE] = gpu
            return gpu
        if not waiting:
            log.info("all %d GPUs are in use by other jobs; waiting for one", len(gpus))
            waiting = True
        time.sleep(SECONDS_BETWEEN_TRIES)
