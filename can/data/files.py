"""Image files in a folder or in zip archives as `Records`; the first folder of a file's path is its class.

Such sets come sorted by class. They are shuffled once, when they are opened, as TFDS shuffles its own when it writes
them: in the order of a hash of the names. `train[:80%]` is then a fair sample, the same on every machine, and a file
that is added or removed moves no other.
"""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from can.data.image_set import EncodedImages, sha256_of
from can.errors import DataError

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp", ".bmp")
_SHUFFLE_SEED = b"can"  # another one is another order, and so another fingerprint


@dataclass(frozen=True)
class FileRecords:
    """Files under `root`; `labels` holds None for each where the set is unlabelled."""

    root: Path
    names: Sequence[str]
    labels: Sequence[int | None]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[bytes, int | None]:
        """See `Records`."""
        try:
            return (self.root / self.names[index]).read_bytes(), self.labels[index]
        except OSError as error:
            raise DataError(f"{self.describe(index)} cannot be read: {error.strerror}") from error

    def label(self, index: int) -> int | None:
        """See `Records`."""
        return self.labels[index]

    def describe(self, index: int) -> str:
        """See `Records`."""
        return str(self.root / self.names[index])


@dataclass(frozen=True)
class ZipRecords:
    """Members of zip archives; each thread opens the archives for itself, since one handle serves one reader."""

    members: Sequence[tuple[Path, str]]
    labels: Sequence[int | None]
    _open: _OpenArchives = field(default_factory=lambda: _OpenArchives(), compare=False)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> tuple[bytes, int | None]:
        """See `Records`."""
        path, name = self.members[index]
        try:
            return self._open.archive(path).read(name), self.labels[index]
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self.describe(index)} cannot be read ({error}): fetch the archive again") from error

    def label(self, index: int) -> int | None:
        """See `Records`."""
        return self.labels[index]

    def describe(self, index: int) -> str:
        """See `Records`."""
        path, name = self.members[index]
        return f"{path}/{name}"


class _OpenArchives(threading.local):
    """Zip archives opened on first use, by each thread; pickled to other processes as empty."""

    def __init__(self) -> None:
        self._archives: dict[Path, zipfile.ZipFile] = {}

    def archive(self, path: Path) -> zipfile.ZipFile:
        if path not in self._archives:
            self._archives[path] = zipfile.ZipFile(path)
        return self._archives[path]

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()


def images_in_folder(name: str, split: str, root: Path) -> EncodedImages:
    """Every image below `root`, shuffled by `shuffle_key` of the paths; symbolic links are followed.

    Raises:
      DataError: there are none, or some lie in class subfolders and some do not.
    """
    sizes: dict[str, int] = {}
    for folder, subfolders, files in os.walk(root, followlinks=True):
        subfolders[:] = sorted(sub for sub in subfolders if not sub.startswith("."))
        for file in files:
            if _is_image(file):
                path = os.path.join(folder, file)
                sizes[os.path.relpath(path, root).replace(os.sep, "/")] = os.stat(path).st_size
    names = sorted(sizes, key=shuffle_key)
    classes, labels = labels_of(names, str(root))
    return EncodedImages(
        name=name,
        split=split,
        num_classes=len(classes) or None,
        class_names=classes,
        # Reading a large folder only to hash it would take hours: names and sizes stand for the content.
        fingerprint=sha256_of(*((file, sizes[file]) for file in names)),
        records=FileRecords(root, names, labels),
    )


def images_in_zips(name: str, split: str, paths: Iterable[Path]) -> EncodedImages:
    """Every image of the archives `paths`, shuffled by `shuffle_key` of the names in them.

    Raises:
      DataError: an archive is damaged, there are no images, or only some lie in class folders.
    """
    found: list[tuple[str, Path, int]] = []
    paths = sorted(paths)
    for path in paths:
        try:
            with zipfile.ZipFile(path) as archive:
                found += [(info.filename, path, info.CRC) for info in archive.infolist() if _is_image(info.filename)]
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is not a whole zip archive ({error}): fetch it again") from error
    found.sort(key=lambda entry: (shuffle_key(entry[0]), entry[1:]))  # a name may be in two archives
    classes, labels = labels_of([member for member, _, _ in found], ", ".join(map(str, paths)))
    return EncodedImages(
        name=name,
        split=split,
        num_classes=len(classes) or None,
        class_names=classes,
        fingerprint=sha256_of(*((member, crc) for member, _, crc in found)),
        records=ZipRecords([(path, member) for member, path, _ in found], labels),
    )


def shuffle_key(name: str) -> bytes:
    """What files are sorted by: a hash of the name, the same on every machine (names that are not UTF-8 included)."""
    return hashlib.blake2b(name.encode(errors="surrogateescape"), key=_SHUFFLE_SEED, digest_size=16).digest()


def labels_of(names: Sequence[str], where: str) -> tuple[tuple[str, ...], list[int | None]]:
    """The classes (sorted first folders) and each file's label; no classes and only None for files in no folder.

    Raises:
      DataError: there are no files, or only some are in a folder.
    """
    if not names:
        raise DataError(f"no images ({', '.join(SUFFIXES)}) in {where}")
    folders = [name.split("/")[0] if "/" in name else None for name in names]
    if all(folder is None for folder in folders):
        return (), [None] * len(names)
    if None in folders:
        loose = names[folders.index(None)]
        raise DataError(f"{where} has class folders and also loose images ({loose}): move or remove the loose ones")
    classes = sorted({folder for folder in folders if folder is not None})
    index = {folder: label for label, folder in enumerate(classes)}
    return tuple(classes), [index[folder] for folder in folders if folder is not None]


def _is_image(name: str) -> bool:
    parts = name.split("/")
    return name.lower().endswith(SUFFIXES) and not parts[-1].startswith(".") and parts[0] != "__MACOSX"
