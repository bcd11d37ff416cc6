"""Tables of a run: each is declared once, by its file and its columns, and written and read as CSV."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from genies.errors import StoreError, first_line
from genies.files import whole_file

UNNAMED = "has a column without a name, as programs write an index; write it without one (index=False in pandas)"
LARGEST = 1e100
"""No table holds larger numbers; the squares of smaller ones have finite sums."""


@dataclass(frozen=True)
class Rows:
    """What the rows of a table must have, for a page to be made of it.

    Attributes:
        keys: name a row; no two rows are alike in these.
        filled: further columns that no row leaves empty.
        blank: keys that a row may leave empty.
        where: the rows that ``own`` is about, those in which this column is empty, or else all.
        own: columns that these rows do not leave empty either.
        repeats: whether rows may be alike in the keys after all.
    """

    keys: tuple[str, ...]
    filled: tuple[str, ...] = ()
    blank: tuple[str, ...] = ()
    where: str = ""
    own: tuple[str, ...] = ()
    repeats: bool = False

    @property
    def present(self) -> tuple[str, ...]:
        """Columns that no row leaves empty."""
        return (*(key for key in self.keys if key not in self.blank), *self.filled)


@dataclass(frozen=True, eq=False)
class Table:
    """A table; each is equal to itself alone.

    Attributes:
        file: its name in a run's folder.
        columns: types by name, in order.
        optional: whether a run may lack the file, as one of an earlier version does, and then has no rows. New tables
            are optional, so that earlier runs can still be shown next to others.
        rows: what they must have; of a table without it nothing is checked.
    """

    file: str
    columns: Mapping[str, Any]
    optional: bool = False
    rows: Rows | None = None

    @property
    def needed(self) -> frozenset[str]:
        """Columns without which nothing can be said of a run; it may lack the others, as earlier ones do."""
        return frozenset((*self.rows.keys, *self.rows.filled, *self.rows.own)) if self.rows else frozenset()

    def frame(self, rows: Iterable[Mapping[str, Any]] = ()) -> pl.DataFrame:
        """These rows with the columns of the table; what a row lacks is null."""
        return pl.DataFrame(list(rows), schema=dict(self.columns))

    def write(self, frame: pl.DataFrame, folder: Path) -> None:
        """Write it into a run's folder; see ``write_csv``."""
        write_csv(frame, folder / self.file)

    def read(self, folder: Path, may_lack: Collection[str] = ()) -> pl.DataFrame:
        """Read it from a run's folder, as ``write`` wrote it; no rows where it is optional and not there.

        Args:
            folder: of the run's results.
            may_lack: as in ``read_csv``.

        Raises:
            StoreError: it is missing, damaged, or has other columns.
        """
        path = Path(folder) / self.file
        return self.frame() if self.optional and not path.is_file() else read_csv(path, self.columns, may_lack)


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    """Write a table as CSV, whole or not at all; null becomes an empty field.

    Names that come from elsewhere can command neither a spreadsheet nor a terminal: what would begin a formula has an
    apostrophe in front, and a control character becomes �.

    Raises:
        ValueError: a number is NaN or infinite, which stands for a mistake upstream.
    """
    for name, kind in frame.schema.items():
        if kind.is_float() and not frame[name].drop_nulls().is_finite().all():
            raise ValueError(f"{path}: column {name} holds a number that is not finite")
    texts = pl.col(pl.String).str.replace_all(r"\p{Cc}", "\ufffd").str.replace(r"^[=+\-@]", "'$0")
    with whole_file(path) as partial:
        frame.with_columns(texts).write_csv(partial)


def _unlike(found: list[str], wanted: list[str]) -> str:
    """How the columns of a file differ from those of its table."""
    lacks = [name for name in wanted if name not in found]
    more = [name for name in found if name not in wanted]
    if not lacks and not more:
        return f"has its columns in another order: {', '.join(found)}"
    told = [f"{what} {', '.join(names)}" for what, names in (("lacks", lacks), ("has more:", more)) if names]
    return f"{' and '.join(told)}"


def header_of(path: Path) -> list[str]:
    """Names of the columns of a CSV file, in order."""
    return pl.read_csv(path, n_rows=0, glob=False).columns


def read_csv(path: Path, columns: Mapping[str, Any], may_lack: Collection[str] = ()) -> pl.DataFrame:
    """A table that ``write_csv`` wrote, with these columns.

    Args:
        path: of the file.
        columns: types by name, in order.
        may_lack: columns that are null throughout where the file lacks them, as one of an earlier version does.

    Raises:
        StoreError: it is missing, damaged, or has other columns.
    """
    if not Path(path).is_file():
        raise StoreError(f"{path}: file not found; run snakemake again to make it")
    try:
        header = header_of(path)
        if "" in header:
            raise StoreError(f"{path}: {UNNAMED}")
        present = {name: kind for name, kind in columns.items() if name in header or name not in may_lack}
        if header != list(present):
            raise StoreError(f"{path}: {_unlike(header, list(present))}; delete it and run snakemake again")
        # Programs write whole numbers with a point where a cell of their column is empty.
        whole = {name: kind for name, kind in present.items() if kind.is_integer()}
        frame = pl.read_csv(path, schema={**present, **dict.fromkeys(whole, pl.String)}, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"{path}: cannot be read ({first_line(error)}); delete it and run snakemake again") from None
    frame = frame.with_columns(_whole(frame[name], kind, path) for name, kind in whole.items())
    for name, kind in frame.schema.items():
        if kind.is_float() and not frame[name].drop_nulls().is_between(-LARGEST, LARGEST).all():
            raise StoreError(
                f"{path}: column {name} holds a number that no run gives; delete it and run snakemake again"
            )
    lacking = {name: kind for name, kind in columns.items() if name not in present}
    return frame.with_columns(pl.lit(None, kind).alias(name) for name, kind in lacking.items()).select(*columns)


def gathered(table: Table, paths: Iterable[Path]) -> pl.DataFrame:
    """The rows of those files that have the name of the table's, with its columns."""
    found = [read_csv(path, table.columns) for path in paths if path.name == table.file]
    return pl.concat(found) if found else table.frame()


def _whole(texts: pl.Series, kind: Any, path: Path) -> pl.Series:
    """Whole numbers, be they written with a point and zeros."""
    texts = texts.replace("", None)
    values = texts.str.replace(r"\.0*$", "").cast(kind, strict=False)
    if (odd := texts.filter(values.is_null() & texts.is_not_null())).len():
        raise StoreError(
            f"{path}: column {texts.name} holds {first_line(ValueError(odd[0]))}, which is no whole number; restore "
            "the file, or delete it and make it again"
        )
    return values
