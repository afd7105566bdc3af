"""What img2dataset leaves: tar archives and parquet files of images, read from the start to the end or to the cut."""

from __future__ import annotations

import itertools
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from can.data.formats.listing import MOST_BYTES, SUFFIXES
from can.errors import DataError
from can.recipes.web_images.looks import ANNOTATION, HIDDEN, NO_BYTES

TARS = (".tar", ".tar.gz", ".tgz")
ENDINGS = (*TARS, ".parquet")
IMAGE_COLUMNS = ("jpg", "png", "webp", "image")
_BLOCK = 512  # bytes; two blocks of zeros end a tar archive
_DAMAGE = (tarfile.TarError, OSError, EOFError, ValueError, zlib.error)  # what reading a cut or damaged archive raises
# A column of images takes about as much in memory as in the file. One that takes more than this and so many times as
# much is a bomb.
_MOST_EXPANDED, _MOST_TIMES = 1 << 28, 32


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
    described = {path.removesuffix(ending) + ".parquet" for path in found for ending in TARS if path.endswith(ending)}
    paths = [path for path in found if path not in described]
    root = os.path.commonprefix(paths).rpartition("/")[0]
    return sorted(Shard(path[len(root) :].lstrip("/"), path, found[path]) for path in paths)


def read_shard(file: Any, name: str) -> Iterator[tuple[str, bytes | str]]:
    """The name and the bytes of each image, in the shard's order. The bytes may be of no image at all.

    A file that is called as images are and is none of the shard's gives, instead of bytes, one of `looks.NO_IMAGES`.

    Args:
      file: of the shard, open for reading bytes, with `seek`.
      name: tells by its ending what the shard is.

    Raises:
      CutShard: the rest of the shard cannot be read.
    """
    return _read_parquet(file) if name.endswith(".parquet") else _read_tar(file, packed=not name.endswith(".tar"))


def _read_tar(file: Any, *, packed: bool) -> Iterator[tuple[str, bytes | str]]:
    try:
        with tarfile.open(fileobj=file, mode="r:gz" if packed else "r:") as archive:
            for _, of_one_image in itertools.groupby(_images_in(archive), key=lambda image: _key(image[0])):
                yield from _without_annotations(of_one_image)
            unpacked = archive.fileobj
            assert unpacked is not None
            unpacked.seek(archive.offset)
            if unpacked.read(_BLOCK) != bytes(_BLOCK):  # tarfile takes a cut between two files for the end
                raise CutShard("the archive has no end")
    except _DAMAGE as error:
        raise CutShard(str(error)) from error


def _images_in(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes | str]]:
    for member in archive:
        if not (member.isfile() and member.name.lower().endswith(SUFFIXES)):
            continue
        name = member.name.encode(errors="replace").decode()  # it may be no text
        if name.rpartition("/")[2].startswith("."):  # such as macOS's `._0.jpg` beside `0.jpg`
            yield name, HIDDEN
            continue
        content = archive.extractfile(member)
        # A huge file is no image that can be decoded, and is not taken into memory.
        yield name, content.read() if content and member.size <= MOST_BYTES else b""


def _key(name: str) -> tuple[str, str]:
    """What the files of one image share, as WebDataset has it: the folder, and the name up to its first dot."""
    folder, _, file = name.rpartition("/")
    return folder, file.partition(".")[0] or file  # a hidden file is by itself


def _without_annotations(images: Iterable[tuple[str, bytes | str]]) -> Iterator[tuple[str, bytes | str]]:
    """The images, without those that annotate another: `0.seg.png` beside `0.jpg`; `a.1.jpg` alone is an image."""
    waiting: list[tuple[str, bytes | str]] = []
    cut: Exception | None = None
    try:
        waiting.extend(images)
    except _DAMAGE as error:  # what came before it counts
        cut = error
    plain = any(_dots(name) == 1 for name, _ in waiting)
    for name, data in waiting:
        yield name, ANNOTATION if plain and _dots(name) > 1 and isinstance(data, bytes) else data
    if cut is not None:
        raise cut


def _dots(name: str) -> int:
    return name.rpartition("/")[2].count(".")


def _read_parquet(file: Any) -> Iterator[tuple[str, bytes | str]]:
    """Rows without an image, which img2dataset could not fetch, are passed over; others that hold none are named."""
    import pyarrow  # here: of the extra `web`
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(file)
        columns = table.schema_arrow.names
        image = next((column for column in IMAGE_COLUMNS if column in columns), None)
        if image is None:
            raise CutShard(f"it has no column {', '.join(IMAGE_COLUMNS)}")
        wanted = [image, *(["key"] if "key" in columns else [])]
        _check_expansion(table.metadata, image)
        row = 0
        # A row at a time: many rows may share one large image of the file's dictionary, and each would get a copy.
        for batch in table.iter_batches(batch_size=1, columns=wanted):
            for values in batch.to_pylist():
                content = values[image]
                if isinstance(content, dict):  # of Hugging Face's sets: bytes and path, of which one may be all
                    content = content.get("bytes") or content.get("path")
                if content is not None:
                    yield str(values.get("key", row)), content if isinstance(content, bytes) else NO_BYTES
                row += 1
    except (pyarrow.ArrowException, OSError) as error:
        raise CutShard((str(error).splitlines() or ["it cannot be read"])[0]) from error


def endings_of(path: str) -> str:
    """What a file's kind is told by: `.json` of `00000_stats.json`, `.tar.bz2` of `a.tar.bz2`."""
    name = path.rpartition("/")[2]
    stem, dot, last = name.rpartition(".")
    if not dot or not stem:
        return "without suffix"
    return f".tar.{last}" if stem.endswith(".tar") else f".{last}"


def _check_expansion(metadata: Any, image: str) -> None:
    """Raises CutShard if the images of a parquet file promise to be far larger than the file."""
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            unpacked, packed = chunk.total_uncompressed_size, chunk.total_compressed_size
            if chunk.path_in_schema.partition(".")[0] == image and unpacked > max(_MOST_EXPANDED, _MOST_TIMES * packed):
                raise CutShard(f"{packed} bytes of it would take {unpacked / 1e6:.0f} MB unpacked")


def no_shards(sources: Iterable[str]) -> DataError:
    """The error for places that have no shards."""
    return DataError(
        f"there is no {', '.join(TARS)} or .parquet file in {', '.join(sources)}: pass --source with img2dataset's "
        "output, folders or patterns such as 'FOLDER/*.tar'"
    )
