"""Debian packages: found by hand, fetched with apt-get or from the pool, unpacked with and without dpkg."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile

import pytest

from can.errors import DataError
from can.recipes import debian
from can.recipes.debian import DebianPackage, PackageUnavailable, unpacked


def deb(files):
    """A package file: an ar archive with debian-binary, control.tar.xz and data.tar.xz."""

    def tar(members):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:xz") as archive:
            for name, content in members.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return file.getvalue()

    control = b"Package: pictures\nVersion: 1.0\nArchitecture: all\nMaintainer: n\nDescription: d\n"
    parts = {"debian-binary": b"2.0\n", "control.tar.xz": tar({"control": control}), "data.tar.xz": tar(files)}
    archive = b"!<arch>\n"
    for name, content in parts.items():
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content
        archive += b"\n" * (len(content) % 2)
    return archive


CONTENT = deb({"usr/share/pictures/a.txt": b"picture"})
PACKAGE = DebianPackage(
    "pictures", "pool/pictures_1.0_all.deb", hashlib.sha256(CONTENT).hexdigest(), "usr/share/pictures"
)


def fake_apt_get(tmp_path, monkeypatch, script):
    """The only program there is; it notes its arguments in tmp_path/log."""
    fake = tmp_path / "bin" / "apt-get"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/log\n{script}')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(fake.parent))


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """A named mirror that is an empty folder, and no programs."""
    monkeypatch.setenv(debian.MIRROR_VARIABLE, (tmp_path / "mirror").as_uri())
    monkeypatch.setenv("PATH", "")
    return tmp_path / "mirror"


def scratch(data_dir):
    folder = data_dir / "scratch"
    folder.mkdir(exist_ok=True)
    return folder


def read(data_dir):
    with unpacked(PACKAGE, data_dir, scratch(data_dir)) as package:
        return (package.folder / "a.txt").read_bytes(), package.origin


@pytest.mark.parametrize("path", ["", None], ids=["without dpkg", "with dpkg if there is one"])
def test_a_package_put_into_the_data_folder_is_used(tmp_path, monkeypatch, path):
    if path is not None:
        monkeypatch.setenv("PATH", path)
    (tmp_path / "pictures_1.0_all.deb").write_bytes(CONTENT)
    assert read(tmp_path) == (b"picture", "pictures_1.0_all.deb")
    assert not list(scratch(tmp_path).iterdir())  # the unpacked files are gone


def test_without_apt_the_pinned_version_comes_from_the_pool_once(no_network, tmp_path):
    (no_network / "pool").mkdir(parents=True)
    (no_network / PACKAGE.pool).write_bytes(CONTENT)
    assert read(tmp_path)[0] == b"picture"
    (no_network / PACKAGE.pool).unlink()
    assert read(tmp_path)[0] == b"picture"


def test_a_changed_file_in_the_pool_is_a_checksum_error(no_network, tmp_path):
    (no_network / "pool").mkdir(parents=True)
    (no_network / PACKAGE.pool).write_bytes(CONTENT + b"x")
    with pytest.raises(DataError, match="checksum error"):
        read(tmp_path)
    assert not list(tmp_path.rglob("*.deb.*"))


def test_a_package_that_cannot_be_had_is_answered_with_every_way_and_what_to_pass_instead(
    no_network, tmp_path, monkeypatch
):
    with pytest.raises(PackageUnavailable) as error:
        read(tmp_path)
    text = str(error.value)
    assert "\n" not in text
    for part in ("package pictures cannot be had", "no apt-get here", "file://", f"put its .deb file into {tmp_path}"):
        assert part in text
    assert "--uncurated=folder:PATH" in text
    monkeypatch.delenv(debian.MIRROR_VARIABLE)
    with pytest.raises(PackageUnavailable, match=r"no CAN_DEBIAN_MIRROR\): install it, .* or set CAN_DEBIAN_MIRROR to"):
        read(tmp_path)


def test_apt_get_is_asked_again_with_lists_in_a_private_folder_where_the_system_has_none(
    no_network, tmp_path, monkeypatch
):
    (tmp_path / "package").write_bytes(CONTENT)
    fake_apt_get(
        tmp_path,
        monkeypatch,
        f"""
case "$*" in
  *Dir::State=*update) : > "$(echo "$*" | /bin/sed 's/.*Dir::State=\\([^ ]*\\).*/\\1/')/lists/fetched" ;;
  *Dir::State=*download*pictures)
    test -e "$(echo "$*" | /bin/sed 's/.*Dir::State=\\([^ ]*\\).*/\\1/')/lists/fetched" &&
    /bin/cp {tmp_path}/package pictures_2.0_all.deb ;;
  *) echo "E: Unable to locate package pictures" >&2; exit 100 ;;
esac
""",
    )
    assert read(tmp_path) == (b"picture", "pictures_2.0_all.deb")
    asked = (tmp_path / "log").read_text().splitlines()
    assert len(asked) == 3
    assert "Dir::State" not in asked[0]


def newer_in_apt(tmp_path, monkeypatch):
    """An apt-get whose lists hold version 2.0 alone, configured with the folder `apt-mirror` and a disc."""
    newer = deb({"usr/share/pictures/a.txt": b"newer picture"})
    (tmp_path / "package").write_bytes(newer)
    fake_apt_get(
        tmp_path,
        monkeypatch,
        f"""
case "$*" in
  *indextargets*) echo "cdrom:[Debian]/"; for i in 1 2; do echo "{(tmp_path / "apt-mirror").as_uri()}/"; done ;;
  *download*pictures) /bin/cp {tmp_path}/package pictures_2.0_all.deb ;;
esac
""",
    )
    monkeypatch.delenv(debian.MIRROR_VARIABLE)


def test_the_pinned_version_is_taken_from_apts_own_mirror_where_apt_knows_another(no_network, tmp_path, monkeypatch):
    newer_in_apt(tmp_path, monkeypatch)
    (tmp_path / "apt-mirror" / "pool").mkdir(parents=True)
    (tmp_path / "apt-mirror" / PACKAGE.pool).write_bytes(CONTENT)
    assert read(tmp_path) == (b"picture", "pictures_1.0_all.deb")
    assert len(list((tmp_path / "debian").rglob("*.deb"))) == 1


def test_a_version_that_no_mirror_has_any_more_is_replaced_by_apts_with_a_warning(
    no_network, tmp_path, monkeypatch, caplog
):
    newer_in_apt(tmp_path, monkeypatch)
    assert read(tmp_path) == (b"newer picture", "pictures_2.0_all.deb")
    assert "pictures_2.0_all.deb is not pictures_1.0_all.deb, the version that the published numbers" in caplog.text


def test_another_version_that_is_put_there_by_hand_is_used_with_a_warning(no_network, tmp_path, caplog):
    (tmp_path / "pictures_3.0_all.deb").write_bytes(deb({"usr/share/pictures/a.txt": b"by hand"}))
    assert read(tmp_path)[0] == b"by hand"
    assert "pictures_3.0_all.deb is not pictures_1.0_all.deb" in caplog.text


def test_a_damaged_package_names_the_file_to_delete(tmp_path):
    (tmp_path / "pictures_1.0_all.deb").write_bytes(CONTENT[: len(CONTENT) // 2])
    with pytest.raises(DataError, match=r"pictures_1\.0_all\.deb cannot be unpacked .*delete it"):
        read(tmp_path)


def test_a_package_without_the_wanted_folder_is_an_error(tmp_path):
    (tmp_path / "pictures_1.0_all.deb").write_bytes(deb({"usr/share/other/a.txt": b"x"}))
    with pytest.raises(DataError, match="has no usr/share/pictures"):
        read(tmp_path)
