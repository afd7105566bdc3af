"""Which files in a folder or in zip archives are images; what else is there is counted and said."""

from __future__ import annotations

import functools
import heapq
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import logging

from can.data.contents import state_of
from can.errors import DataError

SUFFIXES = (
    *(".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
    *(".avif", ".jp2", ".pbm", ".pgm", ".ppm", ".pnm", ".tga", ".ico"),
)
MOST_BYTES = (
    1 << 29
)  # of a file: what the most pixels take, uncompressed and with 16 bits. An archive may promise more.
_UNPACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)  # not Deflate64
_NO_FOLDERS = ("", ".", "..")  # in names of archives: `./roses/1.jpg` and `/roses/1.jpg` lie in `roses`
# What zipfile and what it unpacks with raise for damaged archives.
ZIP_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    KeyError,
    OverflowError,
    struct.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)


class ImageFile(NamedTuple):
    """A file that should be an image.

    Attributes:
      name: below the root or in the archive, with "/" between folders.
      source: the root folder, or the archive.
      member: its name for `source`.
      content: what stands for its content: a file's `can.data.contents.state_of`, a member's size and CRC.
    """

    name: str
    source: Path
    member: str
    content: tuple[int, ...]


def list_folder(root: Path) -> list[ImageFile]:
    """The image files below `root`, in no order. Symbolic links are followed, and what they lead to counts once.

    A folder or a file that lies below `root` under its own name counts under that; of several links to another one, the
    first in the order of their names.

    Raises DataError for a folder or a link that cannot be read, and for a file of more than `MOST_BYTES`.
    """
    found: list[ImageFile] = []
    left_out: Counter[str] = Counter()
    folders: set[tuple[int, int]] = set()  # whose files are listed, by device and inode
    files: set[tuple[int, int]] = set()  # likewise
    links: list[str] = []  # to folders and files, as a heap

    def take(path: str, *, linked: bool) -> None:
        about = _stat(path)
        if linked and _identity(about) in files:  # of hard links, both are files like any other
            left_out["links to images that are there already"] += 1
            return
        if not stat.S_ISREG(about.st_mode):  # a pipe would never end
            left_out["no regular files"] += 1
            return
        _check_size(about.st_size, path)
        name = os.path.relpath(path, root).replace(os.sep, "/")
        found.append(ImageFile(name, root, name, state_of(about)))
        files.add(_identity(about))

    def walk(top: str, *, linked: bool) -> None:
        for folder, subfolders, names in os.walk(top, onerror=_unreadable):
            identity = _identity(_stat(folder))
            if identity in folders:
                left_out["folders that are there already"] += 1
                subfolders.clear()
                continue
            folders.add(identity)
            subfolders[:] = [sub for sub in subfolders if not _is_hidden(sub)]
            for sub in subfolders:
                if os.path.islink(path := os.path.join(folder, sub)):
                    heapq.heappush(links, path)
            for name in names:
                path = os.path.join(folder, name)
                if _is_hidden(name):
                    continue
                if not name.lower().endswith(SUFFIXES):
                    left_out[_suffix_of(name)] += 1
                elif os.path.islink(path):
                    heapq.heappush(links, path)
                else:
                    take(path, linked=linked)

    walk(str(root), linked=False)
    while links:
        path = heapq.heappop(links)
        if stat.S_ISDIR(_stat(path).st_mode):
            walk(path, linked=True)
        else:
            take(path, linked=True)
    _say(str(root), tuple(sorted(left_out.items())))
    return found


def list_zips(paths: Iterable[Path]) -> list[ImageFile]:
    """The image files in the archives, in no order.

    Raises DataError for an archive that is damaged, and for an image in it that is encrypted, compressed in a way that
    Python cannot unpack, or larger than `MOST_BYTES`.
    """
    found: list[ImageFile] = []
    for path in paths:
        left_out: Counter[str] = Counter()
        try:
            with zipfile.ZipFile(path) as archive:
                members = {info.filename: info for info in archive.infolist()}  # of two with one name, the last counts
        except ZIP_ERRORS as error:
            raise DataError(f"{path} is not a whole zip archive ({error}): fetch it again") from error
        for info in members.values():
            whole = info.filename.replace("\\", "/")  # as some programs for Windows write it
            parts = [part for part in whole.split("/") if part not in _NO_FOLDERS]
            name = "/".join(parts)
            if whole.endswith("/") or "__MACOSX" in parts or any(map(_is_hidden, parts)):
                continue
            if not name.lower().endswith(SUFFIXES):
                left_out[_suffix_of(name)] += 1
                continue
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                left_out["no regular files"] += 1
                continue
            if info.flag_bits & 1:
                raise DataError(f"{path}/{name} is encrypted: unpack the archive with its password, pass the folder")
            if info.compress_type not in _UNPACKED:
                raise DataError(
                    f"{path}/{name} is compressed in a way (number {info.compress_type}) that Python cannot unpack: "
                    "unpack the archive and pass the folder, or pack it anew by `zip -r`"
                )
            _check_size(info.file_size, f"{path}/{name}")
            found.append(ImageFile(name, path, info.filename, (info.file_size, info.CRC)))
        _say(str(path), tuple(sorted(left_out.items())))
    return found


@functools.cache
def _say(where: str, left_out: Sequence[tuple[str, int]]) -> None:
    """Once for each place and what lies there: a set is opened several times."""
    if left_out:
        counts = ", ".join(f"{count} {what}" for what, count in left_out)
        logging.info("left out of %s, since they are no images that can be read: %s", where, counts)


def _check_size(size: int, what: str) -> None:
    if size > MOST_BYTES:
        raise DataError(
            f"{what} takes {size / 1e6:.0f} MB unpacked, more than the {MOST_BYTES / 1e6:.0f} MB of an image that can "
            "be read: remove it"
        )


def _unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error


def _stat(path: str) -> os.stat_result:
    """Of what a path leads to."""
    try:
        return os.stat(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): restore or remove it") from error


def _identity(about: os.stat_result) -> tuple[int, int]:
    return about.st_dev, about.st_ino


def _suffix_of(name: str) -> str:
    suffix = os.path.splitext(name)[1].lower()
    return suffix if suffix.isprintable() and suffix else "without suffix"


def _is_hidden(name: str) -> bool:
    return name.startswith(".")
