"""`parquet:FILES`: images in parquet files, as Hugging Face's hub and img2dataset have them.

A parquet file cannot give one image without unpacking its neighbours. The images are copied once, under `data_dir`,
into Arrow files, which are memory-mapped: `datasets` does the same.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import logging

from can.data.contents import content_hashes, hashes_kept, state_of
from can.data.formats.arrow_records import ArrowRecords
from can.data.formats.named_columns import Asked, Columns, columns_of
from can.data.formats.numbered import fixed_order, number_labels
from can.data.formats.shards import by_split, files_of, needs
from can.data.image_set import EncodedImages, ImageSet, sha256_of
from can.data.prepared import prepare_once
from can.data.small_sets import decode_if_small
from can.errors import DataError, first_line

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 64  # copied at a time
_IMAGES = "images.arrow"


def load_parquet(name: str, pattern: str, asked: Asked, data_dir: Path) -> Mapping[str, ImageSet]:
    """The splits of parquet files, by the files' names; labels and names of classes as the files have them.

    Raises:
      UserError: pyarrow is not installed.
      DataError: a file is missing or damaged, files have different columns or classes, or there are no images.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise needs("pyarrow", "parquet:") from error
    files = by_split(files_of(pattern, ".parquet"), pattern)
    columns = _common_columns(list(itertools.chain(*files.values())), asked)
    raw = {
        split: [label for file in of for label in _labels(file, columns)] if columns.label else []
        for split, of in files.items()
    }
    numbered = number_labels(raw, columns.names, pattern)
    splits = {}
    for split, of in files.items():
        labels = numbered.labels[split]
        hashes = content_hashes([(file, state_of(file.stat())) for file in of], f"{pattern} {split}", data_dir)
        key = sha256_of(columns.image, *(digest.hex() for digest in hashes))
        folder = prepare_once(
            data_dir / "parquet" / f"{split}-{key[:16]}", functools.partial(_copy, of, columns, split=split)
        )
        if not (count := len(_column(folder / _IMAGES))):
            continue
        splits[split] = EncodedImages(
            name=name,
            split=split,
            num_classes=None if labels is None else numbered.num_classes,
            class_names=() if labels is None else numbered.names,
            fingerprint=sha256_of(key, columns.label, *numbered.names),
            hashes=hashes_kept(data_dir, key),
            records=ArrowRecords(
                functools.partial(_column, folder / _IMAGES), fixed_order(count), labels, f"{pattern} {split}"
            ),
        )
    if not splits:
        raise DataError(f"no images in {pattern}")
    return decode_if_small(splits, data_dir)


def _common_columns(files: Sequence[Path], asked: Asked) -> Columns:
    found = {file: columns_of(_opened(file).schema_arrow, asked, str(file)) for file in files}
    first = next(iter(found))
    for file, columns in found.items():
        if columns != found[first]:
            raise DataError(
                f"{file} has other columns or classes than {first.name} ({columns.image}, {columns.label} and "
                f"{found[first].image}, {found[first].label}): pass files of one data set"
            )
    return found[first]


def _opened(file: Path) -> pa.parquet.ParquetFile:
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(file)
    except Exception as error:  # Arrow's own, and the system's
        raise _damaged(file, error) from error


def _labels(file: Path, columns: Columns) -> list[int | str | None]:
    try:
        return _opened(file).read([columns.label]).column(0).to_pylist()
    except Exception as error:
        raise _damaged(file, error) from error


def _copy(files: Sequence[Path], columns: Columns, target: Path, *, split: str) -> None:
    """Writes the images of `files`, one after the other, into the folder `target`."""
    import pyarrow as pa

    size = sum(file.stat().st_size for file in files)
    logging.info("copying %.1f GB of parquet files of %s once, to read single images", size / 1e9, split)
    schema = pa.schema([("image", pa.large_binary())])
    with pa.OSFile(str(target / _IMAGES), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for file in files:
            for images in _encoded(file, columns.image):
                writer.write(pa.record_batch([images], schema=schema))


def _encoded(file: Path, column: str) -> Iterator[pa.Array]:
    import pyarrow as pa
    from pyarrow import compute

    try:
        for batch in _opened(file).iter_batches(_ROWS, columns=[column]):
            images = batch.column(0)
            if pa.types.is_struct(images.type):
                images = compute.struct_field(images, "bytes")
            yield images.cast(pa.large_binary())
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from error


def _column(path: Path) -> pa.ChunkedArray:
    import pyarrow as pa

    return pa.ipc.open_file(pa.memory_map(str(path))).read_all().column(0)


def _damaged(file: Path, error: Exception) -> DataError:
    return DataError(f"{file} is not a whole parquet file ({first_line(error)}): fetch it again")
