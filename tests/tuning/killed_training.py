"""Program of a test: train an intervention, and die by SIGKILL in the middle of a step.

Its argument is a JSON file with ``intervention``, ``parameters``, ``model`` (manifest), ``folder``, ``pairs`` and
``kill_in_step``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from genies.interventions.registry import make
from genies.interventions.text import TextPairs

job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
clip = torch.nn.utils.clip_grad_norm_
steps = iter(range(1, job["kill_in_step"]))


def clip_or_die(*args, **kwargs):
    """Clip gradients as ever, until the step in which the process is killed."""
    if next(steps, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return clip(*args, **kwargs)


torch.set_num_threads(1)
torch.nn.utils.clip_grad_norm_ = clip_or_die
pairs = TextPairs(*map(tuple, job["pairs"][:3]), np.array(job["pairs"][3]))
make(job["intervention"], job["parameters"]).bind(job["model"], "cpu", Path(job["folder"])).fit(pairs)
