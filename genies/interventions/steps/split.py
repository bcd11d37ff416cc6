"""The split of training pairs into those that directions are fitted on and those that choose and calibrate."""

from __future__ import annotations

import numpy as np

from genies.errors import DataError

FIT_SHARE = 0.7


def split_pairs(example: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split pairs 70/30 by example, so that no example is on both sides.

    The draw is that of the published code (GENIES, arXiv 2311.07723; also Li et al., arXiv 2306.03341): NumPy's legacy
    generator, whose stream is frozen, chooses int(0.7 n) of the n examples without replacement.

    Args:
        example: index of each pair's example, int64 (n_pairs,).
        seed: seed of ``numpy.random.RandomState``; published: 42.

    Returns:
        Rows of the fit pairs, in the order drawn, and rows of the validation pairs, ascending; int64 each.

    Raises:
        DataError: fewer than 2 fit or validation examples would be left.
    """
    examples, position = np.unique(example, return_inverse=True)
    drawn = np.random.RandomState(seed).choice(len(examples), int(FIT_SHARE * len(examples)), replace=False)
    if min(len(drawn), len(examples) - len(drawn)) < 2:
        raise DataError(
            f"training pairs: {len(examples)} examples cannot be split 70/30 with 2 on either side; "
            "give the source at least 4 training examples"
        )
    fit = np.concatenate([np.flatnonzero(position == index) for index in drawn])
    return fit, np.flatnonzero(~np.isin(position, drawn))
