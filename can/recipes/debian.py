"""Pictures and data sets out of Debian packages, fetched and unpacked without root.

apt's own client and configuration say from where. What is looked for is the version that the published numbers were
made with; where no place has it any more, the version that apt knows is taken, with a warning.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from absl import logging

from can.data.prepared import prepare_once
from can.errors import DataError, first_line
from can.recipes.clients import ClientError, run_client
from can.recipes.download import DownloadError, download, sha256_of_file

MIRROR_VARIABLE = "CAN_DEBIAN_MIRROR"  # address of a Debian mirror, for systems without apt


@dataclass(frozen=True)
class DebianPackage:
    """A package, and the version that the published numbers were made with.

    Attributes:
      name: as apt knows it.
      pool: path of that version on a Debian mirror.
      sha256: of that version's file.
      contents: folder of the package that is wanted, relative to the root.
    """

    name: str
    pool: str
    sha256: str
    contents: str


class PackageUnavailable(DataError):
    """A package that no way led to; `tried` lists the ways and why each failed."""

    def __init__(self, package: DebianPackage, data_dir: Path, tried: str) -> None:
        super().__init__(
            f"the Debian package {package.name} cannot be had ({tried}): install it, put its .deb file into "
            f"{data_dir}, or set {MIRROR_VARIABLE} to the address of a Debian mirror; "
            "for pre-training, another data set will do too (--uncurated=folder:PATH or a TFDS name)"
        )
        self.tried = tried


class Unpacked(NamedTuple):
    """Where a package's contents lie while they are used, and what they are."""

    folder: Path
    origin: str  # name of the .deb file, which holds the version, or "installed"


@contextmanager
def unpacked(package: DebianPackage, data_dir: Path, scratch: Path) -> Iterator[Unpacked]:
    """The package's `contents` in a temporary folder below `scratch`; if the package is installed, the installed ones.

    The package file is kept under `data_dir/debian`, where a user without network may put it too.

    Raises:
      PackageUnavailable: the package cannot be had; says every way that was tried.
      DataError: it cannot be unpacked.
    """
    installed = Path("/") / package.contents
    if installed.is_dir() and any(installed.iterdir()):
        yield Unpacked(installed, "installed")
        return
    folder = prepare_once(data_dir / "debian" / package.name, lambda target: _fetch(package, data_dir, target))
    files = sorted(folder.glob("*.deb"))
    if not files:
        raise DataError(f"{folder} holds no .deb file: delete that folder, and the package is fetched again")
    with tempfile.TemporaryDirectory(dir=scratch) as root:
        _unpack(files[0], Path(root))
        if not (Path(root) / package.contents).is_dir():
            raise DataError(f"{files[0]} has no {package.contents}: delete it, or put another version there")
        yield Unpacked(Path(root) / package.contents, unquote(files[0].name))


def _fetch(package: DebianPackage, data_dir: Path, target: Path) -> None:
    by_hand = sorted(data_dir.glob(f"{package.name}_*.deb"))
    if by_hand:
        _warn_of_another_version(package, by_hand[0])
        shutil.copy(by_hand[0], target)
        return
    logging.info("fetching the Debian package %s", package.name)
    tried = []
    if shutil.which("apt-get"):
        try:
            _apt_get_download(package.name, target)
        except ClientError as error:
            tried.append(f"apt-get download: {error.last}")
    else:
        tried.append("no apt-get here")
    by_apt = sorted(target.glob("*.deb"))
    if by_apt and sha256_of_file(by_apt[0]) == package.sha256:
        return
    mirrors = _mirrors()
    for mirror in mirrors:  # may have the wanted version still where apt knows another one, or none
        try:
            download(f"{mirror}/{package.pool}", target / Path(package.pool).name, package.sha256)
        except DownloadError as error:
            tried.append(f"{mirror}/{package.pool}: {error.reason}")
        else:
            for file in by_apt:
                file.unlink()
            return
    if by_apt:
        _warn_of_another_version(package, by_apt[0])
        return
    if not mirrors:
        tried.append(f"no {MIRROR_VARIABLE}")
    raise PackageUnavailable(package, data_dir, "; ".join(tried))


def _mirrors() -> list[str]:
    """The address that `MIRROR_VARIABLE` names, else those that apt is configured with."""
    if named := os.environ.get(MIRROR_VARIABLE):
        return [named.rstrip("/")]
    if not shutil.which("apt-get"):
        return []
    try:
        sites = run_client(["apt-get", "indextargets", "--no-release-info", "--format", "$(SITE)"]).split()
    except ClientError:
        return []
    return list(dict.fromkeys(site.rstrip("/") for site in sites if site.startswith(("http:", "https:", "file:"))))


def _warn_of_another_version(package: DebianPackage, file: Path) -> None:
    if sha256_of_file(file) != package.sha256:
        logging.warning(
            "%s is not %s, the version that the published numbers were made with: what is built of it may differ",
            unquote(file.name),
            Path(package.pool).name,
        )


def _apt_get_download(name: str, target: Path) -> None:
    """`apt-get download` with the system's package lists or, where it has none, with lists in a private folder."""
    apt_get = ["apt-get", "-qq", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=2"]
    try:
        run_client([*apt_get, "download", name], target)
        return
    except ClientError:
        logging.info("the system's package lists do not have %s: fetching lists into a private folder", name)
    with tempfile.TemporaryDirectory(prefix="can-apt-") as folder:
        for part in ("state/lists/partial", "cache/archives/partial"):
            (Path(folder) / part).mkdir(parents=True)
        status = Path("/var/lib/dpkg/status")
        private = {
            "Dir::State": f"{folder}/state",
            "Dir::State::status": status if status.exists() else "/dev/null",
            "Dir::Cache": f"{folder}/cache",
            "APT::Sandbox::User": "root",  # apt's own user cannot write here; without root this changes nothing
        }
        apt_get += [word for key, value in private.items() for word in ("-o", f"{key}={value}")]
        run_client([*apt_get, "update"], target)
        run_client([*apt_get, "download", name], target)


def _unpack(deb: Path, root: Path) -> None:
    try:
        if shutil.which("dpkg"):
            run_client(["dpkg", "-x", str(deb), str(root)])
        else:
            _unpack_without_dpkg(deb, root)
    except (ClientError, tarfile.TarError, ValueError) as error:
        reason = error.last if isinstance(error, ClientError) else first_line(error)
        raise DataError(f"{deb} cannot be unpacked ({reason}): delete it, and it is fetched again") from error


def _unpack_without_dpkg(deb: Path, root: Path) -> None:
    """A .deb is an `ar` archive: 60-byte headers (name 0:16, size 48:58), members padded to even lengths."""
    with deb.open("rb") as file:
        if file.read(8) != b"!<arch>\n":
            raise ValueError("not an ar archive")
        while header := file.read(60):
            name, size = header[:16].decode().strip(), int(header[48:58])
            if name.startswith("data.tar"):
                with tarfile.open(fileobj=io.BytesIO(file.read(size))) as archive:
                    archive.extractall(root, filter="data")
                return
            file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError("it has no data.tar")
