"""Features of any images as a file: one row an image, with where it came from and its label."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32
from tqdm import tqdm

from can.data import EncodedImages, ImageSet
from can.errors import ConfigError
from can.evals.encoder import Encoder
from can.evals.on_mesh import NO_LABEL, eval_batches_on, on_all_hosts
from can.sharding import make_mesh

KINDS = (".npz", ".parquet")


class Part(NamedTuple):
    """Some images in a row."""

    files: list[str]  # a path or a record's number
    labels: Int32[np.ndarray, " n"]  # -1 where the set has none
    features: Float32[np.ndarray, "n features"]


def check_path(path: Path) -> None:
    """Raises ConfigError for a file of another kind, or without what writes it."""
    if path.suffix not in KINDS:
        raise ConfigError(f"--out={path} must end in {' or '.join(KINDS)}")
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ConfigError("parquet needs pyarrow: pip install -e '.[sources]', or write --out=NAME.npz") from error


def write_features(encoder: Encoder, images: ImageSet, path: Path) -> int:
    """Writes the features of every image, in the set's order, and returns their number. Never holds all of them.

    A `.npz` has `features` [n, D], `label` [n] and `file` [n]; a `.parquet` has a row an image with `file`, `label`
    and `feature`. The file appears when it is whole.

    Raises ConfigError as `check_path`, DataError for a damaged image.
    """
    check_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    parts = tqdm(
        feature_parts(encoder, images), total=-(-len(images) // encoder.batch_size), unit="batch", disable=None
    )
    try:
        (_write_npz if path.suffix == ".npz" else _write_parquet)(unfinished, parts, len(images), encoder.num_features)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return len(images)


def feature_parts(encoder: Encoder, images: ImageSet) -> Iterator[Part]:
    """The features of every image, in the set's order, a batch at a time. Raises DataError for a damaged image."""
    mesh, start = make_mesh(), 0
    placed = encoder.on(mesh)
    for batch, count in eval_batches_on(mesh, images, encoder.batch_size, encoder.image_size):
        asked = {"features": placed.features(batch["image"])}
        if "label" in batch:
            asked["label"] = batch["label"]
        found = on_all_hosts(asked)
        labels = found["label"][:count] if "label" in found else np.full(count, NO_LABEL)
        files = [_origin(images, index) for index in range(start, start + count)]
        yield Part(files, labels.astype(np.int32), np.asarray(found["features"][:count], np.float32))
        start += count


def _origin(images: ImageSet, index: int) -> str:
    """Where an image came from: its file or record, or its place in a set that is kept decoded."""
    return images.describe(index) if isinstance(images, EncodedImages) else f"{images.name} {images.split} {index}"


def _write_npz(path: Path, parts: tqdm, count: int, width: int) -> None:
    files: list[str] = []
    labels = []
    with zipfile.ZipFile(path, "w") as archive:  # the members of a .npz are .npy files
        with archive.open("features.npy", "w", force_zip64=True) as member:
            header: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
            np.lib.format.write_array_header_1_0(member, header)
            for part in parts:
                member.write(np.ascontiguousarray(part.features, "<f4").data)
                files += part.files
                labels.append(part.labels)
        for name, array in (("label", np.concatenate(labels)), ("file", np.array(files))):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _write_parquet(path: Path, parts: tqdm, count: int, width: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([("file", pa.string()), ("label", pa.int32()), ("feature", pa.list_(pa.float32(), width))])
    with parquet.ParquetWriter(path, schema) as writer:
        for part in parts:
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.features.reshape(-1)), width)
            writer.write_table(pa.table([pa.array(part.files), pa.array(part.labels), vectors], schema=schema))
