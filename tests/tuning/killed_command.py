"""Program of a test: run a verb of genies, and die by SIGKILL in the middle of an optimizer step.

Its arguments are the number of that step, counted over all trainings of the command, and the command line.
"""

from __future__ import annotations

import os
import signal
import sys

import torch

from genies.cli import main

clip = torch.nn.utils.clip_grad_norm_
steps = iter(range(1, int(sys.argv[1])))


def clip_or_die(*args, **kwargs):
    """Clip gradients as ever, until the step in which the process is killed."""
    if next(steps, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return clip(*args, **kwargs)


torch.set_num_threads(1)
torch.nn.utils.clip_grad_norm_ = clip_or_die
sys.exit(main(sys.argv[2:]))
