"""Which labels the methods doubt most, and what corrected labels change.

A method that was fitted on the training split of a target has not seen the target's test pairs. Where several such
methods rank the response that is labelled worse higher, and surely so, the label deserves a look (confident learning;
Northcutt, Jiang and Chuang, Journal of Artificial Intelligence Research 70, 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from genies.evaluation.scored import scored

KEYS = ("target", "example", "pair")
"""Columns that name a test pair."""
DOUBTS: dict[str, type[pl.DataType]] = {
    "target": pl.String,
    "example": pl.Int64,
    "pair": pl.Int64,
    "doubt": pl.Float64,
    "against": pl.Int64,
    "fits": pl.Int64,
}
"""Columns of ``doubts``: ``doubt`` is the mean probability given to the response that is labelled worse, over ``fits``
of that many methods and models; ``against`` of them rank it higher."""
CORRECTED: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("model", "intervention", "source", "target"), pl.String),
    **dict.fromkeys(("pairs", "reviewed", "wrong"), pl.Int64),
    **dict.fromkeys(("accuracy", "corrected_accuracy", "ceiling"), pl.Float64),
}
"""Columns of ``corrected``: pairs of the target, how many of them were reviewed, and how many of these are labelled
wrongly; accuracy against the labels as they are and as corrected, of several seeds the means. ``ceiling`` is the
accuracy against the labels as they are of a method that is always right; wrong labels among pairs that were not
reviewed make it lower still."""


def doubts(evaluations: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Test pairs with the doubts about their labels, the most doubtful first; columns as in ``DOUBTS``.

    Args:
        evaluations: what each fit says of test pairs, columns as in ``genies.evaluation.evaluations.PAIR_COLUMNS``;
            fits on the training splits of the very targets.
    """
    known = [frame.select(*KEYS, "probability").drop_nulls() for frame in evaluations]
    if not known:
        return pl.DataFrame(schema=DOUBTS)
    worse = 1 - pl.col("probability")
    found = pl.concat(known).group_by(KEYS).agg(
        doubt=worse.mean(), against=(worse > 0.5).sum().cast(pl.Int64), fits=pl.len().cast(pl.Int64)
    )  # fmt: skip
    return found.sort("doubt", *KEYS, descending=[True, False, False, False]).select(list(DOUBTS))


def corrected(cells: Mapping[tuple[str, str, str, str], pl.DataFrame], reviewed: pl.DataFrame) -> pl.DataFrame:
    """Accuracies against labels as they are and as corrected, columns as in ``CORRECTED``.

    Args:
        cells: rows of an evaluation by model, intervention, source and target.
        reviewed: columns of ``KEYS`` and ``wrong``, bool: what a person says of the label. Cells of targets without a
            reviewed pair are left out.
    """
    rows = []
    for names, pairs in cells.items():
        judged = pairs.drop_nulls("probability").join(reviewed, on=KEYS, how="left")
        known, wrong = judged["wrong"].is_not_null(), judged["wrong"].fill_null(value=False)
        if not known.any():
            continue
        right = pl.Series(scored(judged).correct)
        counts = {"pairs": len(judged), "reviewed": int(known.sum()), "wrong": int(wrong.sum())}
        turned = pl.select(pl.when(wrong).then(1 - right).otherwise(right)).to_series()
        accuracies = {"accuracy": right.mean(), "corrected_accuracy": turned.mean()}
        ceiling = 1 - counts["wrong"] / len(judged)
        rows.append({**dict(zip(CORRECTED, names, strict=False)), **counts, **accuracies, "ceiling": ceiling})
    return pl.DataFrame(rows, schema=CORRECTED)
