"""What files hold, as hashes: read once, and again when a file's size, times or place on the disk say that it changed.

A copy of a set has the same hashes, and images that another program has put in their place have others, though names,
sizes and times of change are equal.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from absl import logging

from can.errors import DataError, UserError
from can.system.files import write_atomic
from can.system.machine import usable_cpus

_SETTLED_NS = 2_000_000_000  # a file that changed so shortly ago may change again without another time
_SAID_FROM = 1 << 30  # bytes: to read so many takes a while
_SAID_FROM_IMAGES = 100_000
_AT_ONCE = 4096  # images that wait for a thread
_BYTES = 16  # of a key, and of a hash: of a million files no two have the same by chance

State = tuple[int, ...]  # device, inode, bytes, times of change of content and of the file, in nanoseconds


def state_of(about: os.stat_result) -> State:
    """What a change of a file touches; the last cannot be set by a program."""
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


def content_hashes(files: Sequence[tuple[str | Path, State]], where: str, data_dir: Path) -> list[bytes]:
    """The hash of what each file holds, in their order.

    Args:
      files: each with its `state_of`.
      where: the set, for the log; its hashes are kept together.
      data_dir: below it they are kept, by the files' states, so that a file is read once.

    Raises DataError for a file that cannot be read.
    """
    store = data_dir / "contents" / f"{hashlib.sha256(os.fsencode(where)).hexdigest()[:16]}.npz"
    keys = [hashlib.blake2b(repr(state).encode(), digest_size=_BYTES).digest() for _, state in files]
    known = _read(store)
    missing = [index for index, key in enumerate(keys) if key not in known]
    if missing:
        size = sum(files[index][1][2] for index in missing)
        if size >= _SAID_FROM:
            logging.info("reading %.1f GB of %s once, to know these images again", size / 1e9, where)
        with ThreadPoolExecutor(usable_cpus()) as pool:
            made = pool.map(_hash_of, (files[index][0] for index in missing))
            found = {keys[index]: digest for index, digest in zip(missing, made, strict=True)}
        now = time.time_ns()
        settled = {key for key, (_, state) in zip(keys, files, strict=True) if state[-1] < now - _SETTLED_NS}
        known |= found
        _write(store, {key: known[key] for key in keys if key in settled})
    return [known[key] for key in keys]


def _hash_of(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()[:_BYTES]
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): restore or remove it") from error


def _read(store: Path) -> dict[bytes, bytes]:
    """What `_write` left; nothing if there is nothing, or it is damaged: it is made again."""
    try:
        with store.open("rb") as file, np.load(file) as arrays:
            keys, hashes = arrays["keys"], arrays["hashes"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return {}
    if keys.shape != hashes.shape or keys.shape[1:] != (_BYTES,) or {keys.dtype, hashes.dtype} != {np.dtype(np.uint8)}:
        return {}
    return {key.tobytes(): value.tobytes() for key, value in zip(keys, hashes, strict=True)}


def _write(store: Path, hashes: dict[bytes, bytes]) -> None:
    if not hashes:
        return
    buffer = io.BytesIO()
    keys, values = (
        np.frombuffer(b"".join(part), np.uint8).reshape(-1, _BYTES) for part in (hashes.keys(), hashes.values())
    )
    np.savez(buffer, keys=keys, hashes=values)
    with contextlib.suppress(OSError, UserError):  # a set may be read where nothing can be written
        store.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(store, buffer.getvalue())


def hashes_kept(data_dir: Path, fingerprint: str) -> Path:
    """Where `image_hashes` keeps those of a set whose fingerprint is of what its files hold."""
    return data_dir / "contents" / f"images-{fingerprint[:16]}.npy"


def image_hashes(images: Callable[[int], bytes], count: int, kept: Path, where: str) -> list[bytes]:
    """The hash of each image of a set whose files hold many. All are read once; the hashes are kept in a file.

    `images` gives the bytes of one of `count`. One that cannot be read equals no other: who needs it will be told.
    """
    with contextlib.suppress(OSError, EOFError, ValueError):
        found = np.load(kept)
        if found.shape == (count, _BYTES) and found.dtype == np.uint8:
            return [row.tobytes() for row in found]

    def hash_of(index: int) -> bytes:
        try:
            content = images(index)
        except DataError:
            content = f"image {index} of {where} cannot be read".encode()
        return hashlib.blake2b(content, digest_size=_BYTES).digest()

    if count >= _SAID_FROM_IMAGES:
        logging.info("reading the %d images of %s once, to count those that are in another split, too", count, where)
    hashes: list[bytes] = []
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for start in range(0, count, _AT_ONCE):
            hashes += pool.map(hash_of, range(start, min(start + _AT_ONCE, count)))
    buffer = io.BytesIO()
    np.save(buffer, np.frombuffer(b"".join(hashes), np.uint8).reshape(count, _BYTES))
    with contextlib.suppress(OSError, UserError):
        write_atomic(kept, buffer.getvalue())
    return hashes
