"""What img2dataset leaves: tar archives and parquet files of images, read from the start to the end or to the cut."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from can.data.listing import MOST_BYTES, SUFFIXES
from can.errors import DataError

ENDINGS = (".tar", ".parquet")
IMAGE_COLUMNS = ("jpg", "png", "webp", "image")
_BLOCK = 512  # bytes; two blocks of zeros end a tar archive
_ROWS = 256  # of a parquet file that are in memory at a time


class Shard(NamedTuple):
    """A file of images.

    Attributes:
      name: its path below the folder that all shards are in: what tells shards apart, wherever they lie.
      path: where it is.
      content: what stands for its content: bytes and time of change.
    """

    name: str
    path: str
    content: tuple[int, float]


class CutShard(Exception):
    """A shard that ends too early or is damaged; what came before was read."""


def name_shards(files: Iterable[tuple[str, int, float]]) -> list[Shard]:
    """The shards among files, sorted by name.

    A parquet file beside a tar archive of its name holds what img2dataset knows of those images, and is no shard.

    Args:
      files: path, bytes and time of change of each.
    """
    found = {path: (size, changed) for path, size, changed in files if path.endswith(ENDINGS)}
    paths = [path for path in found if path.endswith(".tar") or f"{path.removesuffix('.parquet')}.tar" not in found]
    root = os.path.commonprefix(paths).rpartition("/")[0]
    return sorted(Shard(path[len(root) :].lstrip("/"), path, found[path]) for path in paths)


def read_shard(file: Any, name: str) -> Iterator[tuple[str, bytes]]:
    """The name and the bytes of each image, in the shard's order. The bytes may be of no image at all.

    Args:
      file: of the shard, open for reading bytes, with `seek`.
      name: tells by its ending what the shard is.

    Raises:
      CutShard: the rest of the shard cannot be read.
    """
    return _read_parquet(file) if name.endswith(".parquet") else _read_tar(file)


def _read_tar(file: Any) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if member.isfile() and member.name.lower().endswith(SUFFIXES):
                    content = archive.extractfile(member)
                    # A huge file is no image that can be decoded, and is not taken into memory.
                    data = content.read() if content and member.size <= MOST_BYTES else b""
                    yield member.name.encode(errors="replace").decode(), data  # the name may be no text
            file.seek(archive.offset)
            if file.read(_BLOCK) != bytes(_BLOCK):  # tarfile takes a cut between two files for the end
                raise CutShard("the archive has no end")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise CutShard(str(error)) from error


def _read_parquet(file: Any) -> Iterator[tuple[str, bytes]]:
    """Rows without an image, which img2dataset could not fetch, are passed over."""
    import pyarrow  # here: of the extra `web`
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
        columns = table.schema_arrow.names
        image = next((column for column in IMAGE_COLUMNS if column in columns), None)
        if image is None:
            raise CutShard(f"it has no column {', '.join(IMAGE_COLUMNS)}")
        wanted = [image, *(["key"] if "key" in columns else [])]
        row = 0
        for batch in table.iter_batches(batch_size=_ROWS, columns=wanted):
            for values in batch.to_pylist():
                content = values[image]
                if isinstance(content, dict):  # of Hugging Face's sets: bytes and path
                    content = content.get("bytes")
                if content is not None:
                    yield str(values.get("key", row)), content
                row += 1
    except (pyarrow.ArrowException, OSError) as error:
        raise CutShard((str(error).splitlines() or ["it cannot be read"])[0]) from error


def no_shards(sources: Iterable[str]) -> DataError:
    """The error for places that have no shards."""
    return DataError(
        f"there is no {' or '.join(ENDINGS)} file in {', '.join(sources)}: pass --source with img2dataset's output, "
        "folders or patterns such as 'FOLDER/*.tar'"
    )
