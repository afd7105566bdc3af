"""Images in a column of an Arrow table, memory-mapped: what `datasets` saves, and copies of parquet files."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int32, Int64

from can.errors import DataError, first_line

if TYPE_CHECKING:
    import pyarrow as pa


class ArrowRecords:
    """Encoded images of a column, in an order of their own; see `Records`. Other processes open the table again."""

    def __init__(
        self,
        open_column: Callable[[], pa.ChunkedArray],
        order: Int64[np.ndarray, " n"],
        labels: Int32[np.ndarray, " n"] | None,
        what: str,
    ) -> None:
        self._open = open_column
        self._order = order
        self._labels = labels  # in the table's order
        self._what = what

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> tuple[bytes, int | None]:
        """See `Records`."""
        try:
            value = self._column[int(self._order[index])].as_py()
            data = _bytes_of(value)
        except Exception as error:  # pyarrow raises whatever it happens upon in a damaged file
            reason = first_line(error)
            raise DataError(f"{self.describe(index)} cannot be read ({reason}): write the data set again") from error
        if data is None:
            raise DataError(f"{self.describe(index)} has no encoded image: remove that record")
        return data, self.label(index)

    def label(self, index: int) -> int | None:
        """See `Records`."""
        return None if self._labels is None else int(self._labels[self._order[index]])

    def describe(self, index: int) -> str:
        """See `Records`."""
        return f"record {self._order[index]} of {self._what}"

    @cached_property
    def _column(self) -> pa.ChunkedArray:
        return self._open()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_column"}


def _bytes_of(value: Any) -> bytes | None:
    """The bytes of an encoded image; a record without them may name a file."""
    if not isinstance(value, dict):
        return value
    if value.get("bytes") is None and value.get("path"):
        return Path(value["path"]).read_bytes()
    return value.get("bytes")
