"""Files from the network: verified before they get their name, so that no half file is ever taken for a whole one."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from absl import logging

from can.errors import DataError

_TIMEOUT_S = 30
_CHUNK = 1 << 20


class DownloadError(DataError):
    """An address that gave nothing; `reason` is the network's own word for it."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def download(url: str, target: Path, sha256: str) -> Path:
    """Fetches `url` into the file `target`, whose folder exists.

    Args:
      url: http, https or file address.
      target: the file to make; it appears whole and verified, or not at all.
      sha256: what the content must hash to, hexadecimal.

    Raises:
      DownloadError: the address cannot be reached.
      DataError: the transfer ended early or the checksum is wrong.
    """
    logging.info("downloading %s", url)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        digest, size, expected = _stream(url, part)
        if expected is not None and size != expected:
            raise DataError(f"{url} was cut short: {size} of {expected} bytes arrived; nothing was kept, start again")
        check_sha256(url, digest, sha256)
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _stream(url: str, part: Path) -> tuple[str, int, int | None]:
    """Writes the answer into `part`; returns its sha256, its size and the size the server announced."""
    digest, size = hashlib.sha256(), 0
    try:
        with part.open("wb") as file, urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            announced = response.headers.get("Content-Length")
            while chunk := response.read(_CHUNK):
                digest.update(chunk)
                size += file.write(chunk)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DownloadError(f"cannot download {url} ({reason}): check the network", str(reason)) from error
    return digest.hexdigest(), size, int(announced) if announced else None


def taken_by_hand(file_name: str, data_dir: Path, target: Path, sha256: str) -> bool:
    """Whether a user has put the file into `data_dir`; it is copied into the folder `target` then.

    Raises DataError if its checksum is wrong.
    """
    by_hand = data_dir / file_name
    if not by_hand.is_file():
        return False
    check_sha256(str(by_hand), sha256_of_file(by_hand), sha256)
    shutil.copy(by_hand, target)
    return True


def sha256_of_file(path: Path) -> str:
    """Hexadecimal sha256 of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(what: str, found: str, expected: str) -> None:
    """Raises DataError unless the two hexadecimal digests are equal."""
    if found != expected:
        raise DataError(
            f"checksum error: {what} has sha256 {found[:16]}..., not {expected[:16]}... "
            "(a truncated or changed download): nothing was kept, start again"
        )
