"""Tables of a run that follow from its evaluations, a module each.

A module is found by its name, which is that of its file: ``seeds`` makes ``seeds.csv``. It has ``TABLE``, and either
``rows(run)``, which gives the whole table of a ``genies.evaluation.measurements.Measurements``, or ``row(pairs)``,
which gives the row of one cell from the pairs of its evaluation, or None where the cell has no row.
"""

from __future__ import annotations

from pathlib import Path

NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py")))
