"""npm packages: found by hand, fetched by npm's own client, or from the registry that npm's configuration names."""

from __future__ import annotations

import hashlib
import stat

import pytest

from can.errors import DataError
from can.recipes.npm import NpmPackage, tarball

PACKAGE = NpmPackage("pictures", "1.0.0", hashlib.sha256(b"content").hexdigest())


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A machine without npm, without configuration and without network."""
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path / "project")
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def registry(tmp_path):
    served = tmp_path / "registry/pictures/-/pictures-1.0.0.tgz"
    served.parent.mkdir(parents=True)
    served.write_bytes(b"content")
    return (tmp_path / "registry").as_uri()


def fake_npm(tmp_path, monkeypatch, script):
    """An npm that notes its arguments, one a line, and then does as the script says; $to is where tarballs go."""
    fake = tmp_path / "bin" / "npm"
    fake.parent.mkdir()
    fake.write_text(
        "#!/bin/sh\n"
        f'for word in "$@"; do echo "$word" >> {tmp_path}/log; done\n'
        'while [ "$1" != --pack-destination ]; do shift; done; to="$2"\n' + script
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(fake.parent))


def test_a_package_put_into_the_data_folder_is_used_if_it_is_the_right_one(home, tmp_path):
    (tmp_path / "pictures-1.0.0.tgz").write_bytes(b"content")
    assert tarball(PACKAGE, tmp_path).read_bytes() == b"content"
    (tmp_path / "b").mkdir()
    (tmp_path / "b/pictures-1.0.0.tgz").write_bytes(b"other")
    with pytest.raises(DataError, match="checksum"):
        tarball(PACKAGE, tmp_path / "b")


def test_npms_own_client_fetches_it_once(home, tmp_path, monkeypatch):
    fake_npm(tmp_path, monkeypatch, 'printf content > "$to/pictures-1.0.0.tgz"; echo pictures-1.0.0.tgz\n')
    for _ in range(2):
        assert tarball(PACKAGE, tmp_path).read_bytes() == b"content"
    words = (tmp_path / "log").read_text().splitlines()
    assert words.count("pack") == words.count("pictures@1.0.0") == 1


def test_what_the_client_brings_is_checked(home, tmp_path, monkeypatch):
    fake_npm(tmp_path, monkeypatch, 'printf other > "$to/pictures-1.0.0.tgz"\n')
    with pytest.raises(DataError, match=r"checksum error: .*pictures-1\.0\.0\.tgz"):
        tarball(PACKAGE, tmp_path)
    assert not (tmp_path / "npm" / "pictures-1.0.0").exists()


@pytest.mark.parametrize("place", ["npm_config_registry", "NPM_CONFIG_REGISTRY", "project/.npmrc", "home/.npmrc"])
def test_without_npm_the_registry_of_its_configuration_is_asked(home, registry, tmp_path, monkeypatch, place):
    if place.endswith(".npmrc"):
        (tmp_path / place).write_text(f"fund=false\n; registry=nowhere\nregistry = {registry}/\n")
    else:
        monkeypatch.setenv(place, f"{registry}/")
    assert tarball(PACKAGE, tmp_path / "data").read_bytes() == b"content"


def test_where_the_client_fails_the_configured_registry_is_asked(home, registry, tmp_path, monkeypatch):
    fake_npm(tmp_path, monkeypatch, "echo 'npm error code E503' >&2; exit 1\n")
    monkeypatch.setenv("npm_config_registry", registry)
    assert tarball(PACKAGE, tmp_path / "data").read_bytes() == b"content"


def test_one_that_cannot_be_had_is_answered_with_every_way_and_what_helps(home, tmp_path, monkeypatch):
    with pytest.raises(DataError) as error:
        tarball(PACKAGE, tmp_path / "data")
    for part in (
        "npm package pictures 1.0.0 cannot be had",
        "no npm here",
        "no registry configured",
        f"put its tarball pictures-1.0.0.tgz into {tmp_path / 'data'}",
        "install npm",
        "npm_config_registry",
    ):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
    fake_npm(tmp_path, monkeypatch, "echo 'npm error code E404' >&2; echo 'npm error 404 none' >&2; exit 1\n")
    monkeypatch.setenv("npm_config_registry", (tmp_path / "nowhere").as_uri())
    with pytest.raises(DataError, match=r"\(npm pack: npm error code E404; the configured registry: .*No such file"):
        tarball(PACKAGE, tmp_path / "data")
