"""`hf:DIR`: what Hugging Face's `datasets` wrote there with `save_to_disk`, opened by `datasets` itself."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from can.data.contents import content_hashes, hashes_kept, state_of
from can.data.formats.arrow_records import ArrowRecords
from can.data.formats.layout import TRAIN
from can.data.formats.named_columns import Asked, columns_of
from can.data.formats.numbered import fixed_order, number_labels
from can.data.formats.shards import needs
from can.data.image_set import EncodedImages, ImageSet, sha256_of
from can.data.small_sets import decode_if_small
from can.errors import DataError, first_line

if TYPE_CHECKING:
    import pyarrow as pa


def load_hf(name: str, path: Path, asked: Asked, data_dir: Path) -> Mapping[str, ImageSet]:
    """The splits of a `DatasetDict`, or a `Dataset` as its own split, else "train".

    Raises:
      UserError: `datasets` is not installed.
      DataError: there is no such folder, `datasets` cannot read it, or it has no column of encoded images.
    """
    parts = _open(path)
    columns = {split: columns_of(part.features.arrow_schema, asked, f"{path} {split}") for split, part in parts.items()}
    if len({(of.image, of.label, of.names) for of in columns.values()}) > 1:
        described = "; ".join(f"{split}: {of.image}, {of.label}" for split, of in columns.items())
        raise DataError(f"{path} has splits with other columns or classes ({described}): save them one by one")
    image, label, names = next(iter(columns.values()))
    raw = {split: [] if label is None else part.data.column(label).to_pylist() for split, part in parts.items()}
    numbered = number_labels(raw, names, str(path))
    splits = {}
    for split, part in parts.items():
        if not len(part):
            continue
        labels = numbered.labels[split]
        files = [file["filename"] for file in part.cache_files]
        hashes = content_hashes([(file, state_of(Path(file).stat())) for file in files], f"{path} {split}", data_dir)
        fingerprint = sha256_of(image, label, *(digest.hex() for digest in hashes), *numbered.names)
        splits[split] = EncodedImages(
            name=name,
            split=split,
            num_classes=None if labels is None else numbered.num_classes,
            class_names=() if labels is None else numbered.names,
            fingerprint=fingerprint,
            hashes=hashes_kept(data_dir, fingerprint),
            records=ArrowRecords(
                functools.partial(_column, path, split, image), fixed_order(len(part)), labels, f"{path} {split}"
            ),
        )
    if not splits:
        raise DataError(f"no images in {path}")
    return decode_if_small(splits, data_dir)


def _column(path: Path, split: str, column: str) -> pa.ChunkedArray:
    return _open(path)[split].data.column(column)


def _open(path: Path) -> dict[str, Any]:
    """The data sets of the splits, memory-mapped."""
    try:
        import datasets
    except ImportError as error:
        raise needs("datasets", "hf:") from error
    if not path.is_dir():
        raise DataError(f"there is no folder {path}: pass hf:DIR with what save_to_disk wrote")
    if not any((path / found).is_file() for found in ("dataset_dict.json", "state.json")):
        raise DataError(
            f"{path} was not written by save_to_disk (it has no dataset_dict.json or state.json): pass parquet:{path} "
            f"if it has .parquet files, wds:{path} for .tar files, folder:{path} for images"
        )
    try:
        found = datasets.load_from_disk(str(path), keep_in_memory=False)
    except Exception as error:  # json's, pyarrow's and its own
        raise DataError(f"{path} is damaged ({first_line(error)}): save the data set again") from error
    return dict(found) if isinstance(found, datasets.DatasetDict) else {str(found.split or TRAIN): found}
