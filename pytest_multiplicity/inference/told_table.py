"""A table of one model's answers; which column is which is seen by the data it is asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from pytest_multiplicity.data import Data
from pytest_multiplicity.design import Told, read_table
from pytest_multiplicity.errors import DataError
from pytest_multiplicity.inference.told import ToldAnswers
from pytest_multiplicity.interventions import Chain
from pytest_multiplicity.store import fingerprint

FILES = (".csv", ".parquet", ".pq")


def is_table(made: object) -> bool:
    """Return whether this is a table, or the path of one."""
    if isinstance(made, pd.DataFrame | pd.Series):
        return True
    return isinstance(made, str | Path) and Path(made).suffix in FILES


class ToldTable(ToldAnswers):
    """One model's answers in a table, a row for each sample, in any order.

    The column that names samples is the attribute of the data that the table has, too; the others
    that are no attributes hold the answers: labels or values, or a probability for each class.
    """

    def __init__(self, table: Any, where: str, id_name: str | None) -> None:
        if isinstance(table, pd.Series):
            table = table.to_frame(table.name if table.name is not None else "answer")
        if isinstance(table, pd.DataFrame) and any(each is not None for each in table.index.names):
            table = table.reset_index()
        self._frame, self._wanted = read_table(table, where, "answers"), id_name
        if self._frame.empty:
            raise DataError(f"the table of answers that {where} returned has no rows")
        columns = {str(name): self._frame[name].tolist() for name in self._frame}
        self.fingerprint = fingerprint(["told table, checked", repr(columns), id_name])

    def about(self, data: Data, under: Chain) -> Tensor:
        """Return the answers `[n, ...]` about a data set.

        Raises DataError: samples that the table lacks, or has twice; no column that names samples.
        """
        name, known = self._id_of(data), set(data.attributes if data.attributes is not None else ())
        ids = self._frame[name].tolist()
        if len(set(ids)) < len(ids):
            twice = next(each for each in ids if ids.count(each) > 1)
            raise DataError(
                f"sample {twice!r} stands {ids.count(twice)} times in the table: keep one row for "
                "each sample"
            )
        columns = [each for each in self._frame if each != name and each not in known]
        said = self._frame[columns]
        numbers = len(columns) > 1 and all(said[each].dtype.kind in "fiu" for each in columns)
        if len(columns) != 1 and not numbers:
            raise DataError(
                f"which column of the table holds the answers? There are "
                f"{', '.join(map(str, columns)) or 'none'} beside {name!r}: keep one, or one of "
                "probabilities for each class"
            )
        told = Told(tuple(ids), said, numbers, None, self._names(said))
        return ToldAnswers(told, name, None).about(data, under)

    def _names(self, said: pd.DataFrame) -> tuple[str, ...]:
        first = said.iloc[:, 0].tolist()
        return tuple(sorted({each for each in first if isinstance(each, str)}))

    def _id_of(self, data: Data) -> str:
        """Return the column that names samples."""
        attributes = [] if data.attributes is None else list(data.attributes)
        columns = [str(each) for each in self._frame]
        if self._wanted is not None:
            if self._wanted in columns:
                return self._wanted
            raise DataError(f"the table has no column {self._wanted!r}: there are {columns}")
        shared = [each for each in columns if each in attributes]
        if len(shared) > 1:
            shared = [each for each in shared if self._frame[each].is_unique]
        if len(shared) == 1:
            return shared[0]
        raise DataError(
            f"answers in a table are matched by a column that names samples and is an attribute of "
            f"the data, too: the table has {', '.join(columns)}, and {data.name!r} "
            f"{', '.join(map(str, attributes)) or 'no attributes'}; give both one, and say "
            '@pm.incumbent(id="...") where several fit'
        )
