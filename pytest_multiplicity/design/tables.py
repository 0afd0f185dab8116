"""Tables that users give: a path, relative to the file that calls, or a DataFrame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_multiplicity.errors import ScoresError

if TYPE_CHECKING:
    import pandas as pd


def read_table(table: Any, where: str, what: str) -> pd.DataFrame:
    """Return a table, read from a CSV or parquet file where it is a path.

    Args:
        table: a DataFrame, or a path.
        where: `file:line` of the caller, whose folder a path is relative to.
        what: the table holds, for messages: "scores".

    Raises:
        ScoresError: the file can't be read.
    """
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        return table.reset_index(drop=True)
    path = Path(table)
    if not path.is_absolute():
        path = Path(where.rsplit(":", 1)[0]).parent / path
    parquet = path.suffix in (".parquet", ".pq")
    try:
        return pd.read_parquet(path) if parquet else pd.read_csv(path)
    except OSError as error:
        raise ScoresError(f"can't read the {what} {str(path)!r}: {error.strerror}") from None
    except ImportError as error:
        raise ScoresError(f"{str(path)!r} needs pyarrow: pip install pyarrow ({error})") from None
    except (ValueError, pd.errors.ParserError) as error:
        kind = "parquet" if parquet else "comma-separated values"
        raise ScoresError(f"{str(path)!r} is no table of {kind}: {error}") from None
