"""A set out of images of the web: what is read, what is left out and why, and the same set after every interruption."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from absl import logging

from analysis.lib.benchmarks.web_images import TABLES as WEB_TABLES
from can.data import EncodedImages, load
from can.errors import ConfigError, DataError, UserError
from can.recipes.make_web_images import main, make_web_images
from can.recipes.perceptual_hash import perceptual_hash
from can.recipes.web_images.duplicates import Place, first_and_count
from can.recipes.web_images.looks import Limits, Look, look_at, reason_to_drop, scaled_down
from can.recipes.web_images.shards import CutShard, endings_of, name_shards, read_shard
from can.recipes.web_images.tally import shown, tally


def scene(seed, height=72, width=90):
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def png(pixels, level=3):
    return cv2.imencode(".png", pixels[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, level])[1].tobytes()


def jpeg(pixels, quality=90):
    return cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def archive(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def read_to_the_cut(content, name="0.tar"):
    found = []
    try:
        for image in read_shard(io.BytesIO(content), name):
            found.append(image)
    except CutShard:
        return found, True
    return found, False


def test_an_archives_images_come_in_its_order_and_other_files_do_not():
    files = {"b.jpg": b"1", "b.json": b"{}", "b.txt": b"a caption", "a.png": b"2", "c/d.webp": b"3"}
    found, cut = read_to_the_cut(archive(files))
    assert found == [("b.jpg", b"1"), ("a.png", b"2"), ("c/d.webp", b"3")]
    assert not cut


def test_what_is_called_as_an_image_and_is_none_is_told_apart():
    """`0.seg.png` became a training image, and `._0.jpg` was counted as damaged."""
    files = {"x/._0.jpg": b"mac", "x/0.depth.png": b"d", "x/0.jpg": b"0", "x/0.seg.png": b"s", "x/0.txt": b"caption"}
    files |= {"a.1.jpg": b"1", "a.2.jpg": b"2", ".hidden.png": b"h", "y/0.png": b"other folder"}
    expected = [("x/._0.jpg", "hidden file"), ("x/0.depth.png", "annotation"), ("x/0.jpg", b"0")]
    expected += [("x/0.seg.png", "annotation"), ("a.1.jpg", b"1"), ("a.2.jpg", b"2"), (".hidden.png", "hidden file")]
    expected += [("y/0.png", b"other folder")]
    assert read_to_the_cut(archive(files)) == (expected, False)
    assert [reason_to_drop(look_at(name, data), Limits(1), frozenset()) for name, data in expected[:3]] == [
        *("hidden file", "annotation"),
        "damaged",
    ]


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz"])
def test_a_packed_archive_is_read_and_so_is_what_is_before_a_cut(ending):
    files = {f"{index}.jpg": np.random.default_rng(index).bytes(20_000) for index in range(5)}
    packed = gzip.compress(archive(files))
    assert read_to_the_cut(packed, f"0{ending}") == ([*files.items()], False)
    found, cut = read_to_the_cut(packed[: len(packed) // 2], f"0{ending}")
    assert cut and found == [*files.items()][: len(found)] and len(found) >= 1
    assert read_to_the_cut(b"no archive", f"0{ending}") == ([], True)
    shards = name_shards((f"/d/{name}", 1, 0.0) for name in (f"0{ending}", "0.parquet", "1.tar", "2.parquet"))
    assert [shard.name for shard in shards] == [f"0{ending}", "1.tar", "2.parquet"]


def test_the_kind_of_a_file_that_is_no_shard():
    names = ("/d/0_stats.json", "gs://b/a.tar.bz2", "b.v1.zip", "README", ".hidden")
    assert [endings_of(name) for name in names] == [".json", ".tar.bz2", ".zip", "without suffix", "without suffix"]


def test_a_cut_archive_gives_what_is_before_the_cut_and_says_that_it_is_cut():
    content = archive({f"{index}.jpg": bytes([index]) * 700 for index in range(3)})
    end = 3 * (512 + 1024)  # a header and two blocks each
    for length in range(0, end + 1, 128):  # the blocks of zeros behind it are its end
        found, cut = read_to_the_cut(content[:length])
        assert cut, length
        whole = length // (512 + 1024)
        assert [name for name, _ in found][:whole] == [f"{index}.jpg" for index in range(whole)]
        assert all(data == bytes([int(name[0])]) * 700 for name, data in found)
    assert read_to_the_cut(b"no archive at all" * 99) == ([], True)


def test_a_parquet_files_images_come_with_their_keys_and_what_was_not_fetched_is_passed_over():
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def written(columns):
        buffer = io.BytesIO()
        parquet.write_table(pyarrow.table(columns), buffer)
        return buffer.getvalue()

    content = written({"key": ["k0", "k1", "k2"], "jpg": [b"0", None, b"2"], "url": ["x", "y", "z"]})
    assert read_to_the_cut(content, "0.parquet") == ([("k0", b"0"), ("k2", b"2")], False)
    nested = written({"image": [{"bytes": b"0", "path": "a"}, {"bytes": b"1", "path": "b"}]})
    assert read_to_the_cut(nested, "0.parquet") == ([("0", b"0"), ("1", b"1")], False)
    texts = written({"key": ["k0", "k1"], "jpg": ["aGVsbG8=", None]})  # a traceback
    assert read_to_the_cut(texts, "0.parquet") == ([("k0", "no bytes")], False)
    paths = written({"image": [{"bytes": None, "path": "a.jpg"}, {"bytes": b"1", "path": "b"}]})
    assert read_to_the_cut(paths, "0.parquet") == ([("0", "no bytes"), ("1", b"1")], False)
    assert read_to_the_cut(content[:-9], "0.parquet") == ([], True)
    assert read_to_the_cut(written({"url": ["x"]}), "0.parquet") == ([], True)


def test_a_parquet_file_that_unpacks_to_gigabytes_takes_no_more_memory_than_one_of_its_images():
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def written(images, **options):
        buffer = io.BytesIO()
        parquet.write_table(pyarrow.table({"jpg": images}), buffer, compression="zstd", **options)
        return buffer.getvalue()

    shared = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 64, pyarrow.int32()), [bytes(1 << 22)])
    small = written(shared, dictionary_pagesize_limit=1 << 25)
    assert len(small) < 2000
    most = 0
    for count, (_, data) in enumerate(read_shard(io.BytesIO(small), "0.parquet"), 1):  # noqa: B007  their number
        most = max(most, pyarrow.total_allocated_bytes())
        assert len(data) == 1 << 22
    assert count == 64 and most < 10 * (1 << 22)  # not all 64 at a time
    huge = written([bytes(300 << 20)], use_dictionary=False)
    assert len(huge) < 100_000 and read_to_the_cut(huge, "0.parquet") == ([], True)


def test_shards_are_named_alike_wherever_they_lie_and_metadata_is_no_shard():
    def names(root):
        files = ["b/1.tar", "b/1.parquet", "a/2.parquet", "a/notes.json"]
        return [shard.name for shard in name_shards((f"{root}/{file}", 1, 0.0) for file in files)]

    assert names("/data") == names("gs://bucket/elsewhere") == ["a/2.parquet", "b/1.tar"]
    assert [shard.name for shard in name_shards([("/data/00000.tar", 1, 0.0)])] == ["00000.tar"]


def test_equal_pixels_are_found_in_other_bytes_and_other_pixels_are_not():
    pixels = scene(0)
    one, other = (look_at("a", png(pixels, level)) for level in (0, 9))
    assert png(pixels, 0) != png(pixels, 9)
    assert one.pixels == other.pixels
    assert (one.height, one.width) == (72, 90)
    pixels[0, 0, 0] ^= 1
    assert look_at("a", png(pixels)).pixels != one.pixels
    square = np.zeros((4, 4, 3), np.uint8)
    assert look_at("a", png(square)).pixels != look_at("a", png(square.reshape(2, 8, 3))).pixels


def test_the_hash_is_that_of_the_cells_means_and_contrast_is_a_standard_deviation():
    pixels = scene(1, height=8 * 6, width=9 * 7)
    look = look_at("a", png(pixels))
    cells = pixels.astype(float).mean(-1).reshape(8, 6, 9, 7).mean((1, 3))
    bits = "".join("1" if cells[y, x + 1] > cells[y, x] + 1 else "0" for y in range(8) for x in range(8))
    assert look.likeness == perceptual_hash(pixels) == int(bits, 2)
    assert look.contrast == pytest.approx(pixels.astype(float).std((0, 1)).max())


def test_each_reason_holds_up_to_its_limit():
    limits = Limits(min_side=100, max_aspect=2, min_contrast=5)
    sound = Look("a", 100, 200, 5.0, "", 7)

    def reason(**changes):
        return reason_to_drop(sound._replace(**changes), limits, frozenset({8}))

    assert reason() is None
    assert reason(height=0, width=0) == "damaged"
    assert reason(height=99) == "too small"
    assert reason(width=201) == "too long"
    assert reason(height=401, width=200) == "too long"
    assert reason(contrast=4.9) == "flat"
    assert reason(likeness=8) == "excluded"
    assert look_at("a", jpeg(scene(0))[:-300]).height == 0


def test_an_image_is_only_scaled_down_if_it_is_larger():
    data = jpeg(scene(0, 120, 180))
    assert scaled_down(data, 0, "a") == scaled_down(data, 120, "a") == data
    look = look_at("a", scaled_down(data, 60, "a"))
    assert (look.height, look.width) == (60, 90)


def test_the_first_of_duplicates_is_the_same_in_every_grouping():
    places = [Place(f"{index % 3}.tar", index, "", index % 2) for index in range(12)]
    whole = first_and_count((place, 1) for place in places)
    parts = [first_and_count((place, 1) for place in places[start::5][::-1]) for start in range(5)]
    assert whole == first_and_count(parts[::-1]) == (Place("0.tar", 0, "", 0), 12)


def test_limits_that_cannot_be_are_errors():
    for limits in (dict(min_side=0), dict(max_aspect=0.5), dict(min_contrast=-1), dict(max_side=10)):
        with pytest.raises(ConfigError, match=next(iter(limits))):
            Limits(**limits)


def test_the_table_has_every_reason_and_the_shards_that_were_cut():
    found = tally({"read": 10, "kept": 7, "flat": 2, "duplicate": 1}, 2, {"1.tar": "no end"}, {})
    text = shown(found)
    assert "flat                         2   20.0%" in text and "damaged                      0" in text
    assert "1.tar (no end)" in text


def test_without_beam_a_line_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
    with pytest.raises(SystemExit, match=r"pip install -e '\.\[web\]'"):
        main([f"--source={tmp_path}", f"--data_dir={tmp_path}"])


def test_the_predicted_cost_is_300_million_images_at_the_measured_rate(tmp_path):
    row = "side,images,bytes_per_image,reading_per_s,decoding_per_s,comparing_per_s,images_per_core_s\n"
    (tmp_path / "web_images.csv").write_text(row + "256,3000,50000,9000,900,800,250\n")
    table = WEB_TABLES["web_images"].markdown(tmp_path)
    cells = [cell.strip() for cell in table.splitlines()[2].split("|")[1:-1]]
    assert cells == ["256", "50", "3,000", "9,000", "900", "800", "250", "333", "15.0"]  # 3e8 / 250 / 3600


# From here on with Beam.

LIMITS = Limits(min_side=60)
PLANTED = {"damaged": 3, "too small": 2, "too long": 2, "flat": 2, "duplicate": 3, "near duplicate": 2}


@pytest.fixture
def beam():
    return pytest.importorskip("apache_beam")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Six shards of 12 images, PLANTED among them; in each, those that are kept."""
    folder = tmp_path_factory.mktemp("shards")
    images = {f"{index:05d}.jpg": jpeg(scene(index)) for index in range(72)}
    kept = dict(images)
    planted = {}
    for index in (3, 30, 60):
        planted[f"{index:05d}.jpg"] = images[f"{index:05d}.jpg"][:600]
    planted |= {"00004.jpg": jpeg(scene(4, 59, 90)), "00040.jpg": jpeg(scene(40, 90, 59))}
    planted |= {"00005.jpg": jpeg(scene(5, 60, 181)), "00050.jpg": jpeg(scene(50, 181, 60))}
    planted |= {f"{index:05d}.jpg": jpeg(np.full((72, 90, 3), index, np.uint8)) for index in (6, 61)}
    planted |= {"00010.jpg": images["00000.jpg"], "00071.jpg": images["00000.jpg"], "00065.jpg": images["00064.jpg"]}
    for index, times in ((20, 2), (66, 3)):  # larger, in another file: equal cells
        larger = np.kron(decoded(images["00002.jpg"]), np.ones((times, times, 1), np.uint8))
        planted[f"{index:05d}.jpg"] = png(larger)
    for name in planted:
        del kept[name]
    images |= planted
    names = sorted(images)
    for shard in range(6):
        part = {name: images[name] for name in names[12 * shard : 12 * shard + 12]}
        (folder / f"{shard}.tar").write_bytes(archive(part))
    return folder, kept


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def contents(data_dir, name="web_images"):
    images = load(name, "train", data_dir=data_dir)
    assert isinstance(images, EncodedImages) and images.num_classes is None
    return [images[index][0] for index in range(len(images))]


def make(folder, data_dir, **options):
    return make_web_images([str(folder)], str(data_dir), **(dict(limits=LIMITS) | options))


def test_what_is_planted_is_left_out_counted_and_adds_up(beam, shards, tmp_path):
    folder, kept = shards
    found = make(folder, tmp_path)
    assert {reason: count for reason, count in found["dropped"].items() if count} == PLANTED
    assert found["read"] == 72 == found["kept"] + sum(PLANTED.values())
    assert sorted(contents(tmp_path)) == sorted(kept.values())  # the bytes as they were
    assert json.loads((tmp_path / "web_images/1.0.0/dropped.json").read_text()) == found
    assert not (tmp_path / "web_images/.looked").exists()
    assert "tensorflow" not in sys.modules
    with pytest.raises(DataError, match="exists already"):
        make(folder, tmp_path)


@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_workers_and_places_change_neither_the_images_nor_their_order(beam, shards, tmp_path, mode):
    folder, _ = shards
    make(folder, tmp_path / "one")
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in reversed(sorted(folder.iterdir())):
        (moved / path.name).write_bytes(path.read_bytes())
    many = make(moved, tmp_path / "many", beam_options=["direct_num_workers=3", f"direct_running_mode={mode}"])
    assert many["kept"] == len(contents(tmp_path / "many"))
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_images_of_an_excluded_set_are_left_out(beam, shards, tmp_path):
    folder, kept = shards
    (tmp_path / "test").mkdir()
    for name in ("00001.jpg", "00007.jpg"):
        (tmp_path / "test" / name).write_bytes(kept[name])
    (tmp_path / "test" / "other.jpg").write_bytes(jpeg(scene(1000, 80, 80)))
    found = make(folder, tmp_path / "data", exclude=[f"folder:{tmp_path / 'test'}@train"])
    assert found["dropped"]["excluded"] == 2 and found["kept"] == len(kept) - 2
    assert not {kept["00001.jpg"], kept["00007.jpg"]} & set(contents(tmp_path / "data"))
    with pytest.raises(ConfigError, match="cifar10@test"):
        make(folder, tmp_path / "other", exclude=["cifar10"])


def test_a_cut_shard_is_read_to_the_cut_and_named_and_if_all_are_it_is_an_error(beam, shards, tmp_path):
    folder, _ = shards
    (tmp_path / "shards").mkdir()
    for shard in range(2):
        (tmp_path / "shards" / f"{shard}.tar").write_bytes((folder / f"{shard}.tar").read_bytes())
    whole = (folder / "1.tar").read_bytes()
    (tmp_path / "shards" / "1.tar").write_bytes(whole[: len(whole) // 2])
    found = make(tmp_path / "shards", tmp_path / "data")
    assert list(found["cut_shards"]) == ["1.tar"]
    assert 12 < found["read"] < 24
    assert len(contents(tmp_path / "data")) == found["kept"] == found["read"] - sum(found["dropped"].values())
    for shard in range(2):
        (tmp_path / "shards" / f"{shard}.tar").write_bytes(whole[:300])
    with pytest.raises(DataError, match=r"none of 0 images is left(.|\n)*0.tar(.|\n)*1.tar"):
        make(tmp_path / "shards", tmp_path / "other")
    assert not (tmp_path / "other/web_images/1.0.0").exists()


@pytest.mark.parametrize("moment", ["*[0-9a-f].json", "dropped.json"], ids=["looking", "copying"])
def test_a_killed_command_that_is_started_again_makes_the_same_set(beam, shards, tmp_path, moment):
    folder, _ = shards
    make(folder, tmp_path / "whole")
    work, target = tmp_path / "data/web_images/.looked", tmp_path / "data/web_images/1.0.0"
    command = [sys.executable, "-m", "can.recipes.make_web_images", f"--source={folder}", "--min_side=60"]
    command.append(f"--data_dir={tmp_path / 'data'}")
    variables = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    process = subprocess.Popen(command, env=variables, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(work.glob(moment)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not target.exists()
    noted = {path.name for path in work.glob("*[0-9a-f].json")}
    assert noted
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=True)
    assert "kept" in done.stdout
    assert contents(tmp_path / "data") == contents(tmp_path / "whole")
    assert (target / "dropped.json").read_text() == (tmp_path / "whole/web_images/1.0.0/dropped.json").read_text()
    assert {path.name for path in target.parent.iterdir()} == {"1.0.0", ".1.0.0.lock"}  # nothing is left


def test_a_shard_that_was_looked_at_is_not_looked_at_again(beam, shards, tmp_path, monkeypatch):
    from can.recipes.web_images import pipeline

    folder, _ = shards
    shard = pipeline.find_shards([str(folder / "0*.tar")])[0]
    first = pipeline._look_over(shard, str(tmp_path))
    monkeypatch.setattr(pipeline, "look_at", None)
    assert pipeline._look_over(shard, str(tmp_path)) == first
    assert len(first.looks) == 12


def test_a_shard_that_changed_after_it_was_looked_at_is_an_error(beam, shards, tmp_path):
    from can.recipes.web_images import pipeline

    with pytest.raises(DataError, match="has changed"):
        list(pipeline._copy((("0.tar", str(shards[0] / "0.tar")), [11, 12]), 0, ""))


def test_parquet_files_are_shards_too_and_large_images_are_scaled_down(beam, shards, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    small, large = jpeg(scene(200)), jpeg(scene(201, 200, 300))
    (tmp_path / "shards").mkdir()
    parquet.write_table(pyarrow.table({"jpg": [small, large, small]}), tmp_path / "shards" / "0.parquet")
    found = make(tmp_path / "shards", tmp_path / "data", limits=Limits(min_side=60, max_side=100))
    assert (found["read"], found["kept"], found["dropped"]["duplicate"]) == (3, 2, 1)
    images = contents(tmp_path / "data")
    assert small in images
    assert sorted(decoded(image).shape for image in images) == [(72, 90, 3), (100, 150, 3)]


def test_all_that_lies_beside_images_and_shards_is_read_or_counted_by_name(beam, tmp_path, monkeypatch):
    """`.tar.gz` beside `.tar` was left out without a word, and `0.seg.png` became a training image."""
    told = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: told.append(text % values))
    (tmp_path / "shards").mkdir()
    images = {f"{index}.jpg": jpeg(scene(index)) for index in range(6)}
    first = {name: images[name] for name in ("0.jpg", "1.jpg")} | {"._0.jpg": b"mac"}
    second = {"2.jpg": images["2.jpg"], "2.seg.png": png(scene(99)), "3.jpg": images["3.jpg"]}
    written = {"0.tar": archive(first), "1.tar.gz": gzip.compress(archive(second)), "0_stats.json": b"{}", "x.zip": b""}
    written |= {"2.tgz": gzip.compress(archive({name: images[name] for name in ("4.jpg", "5.jpg")})), "y.zip": b""}
    for name, content in written.items():
        (tmp_path / "shards" / name).write_bytes(content)
    found = make(tmp_path / "shards", tmp_path / "data")
    dropped = {reason: count for reason, count in found["dropped"].items() if count}
    assert (found["read"], found["kept"], found["shards"], found["cut_shards"]) == (8, 6, 3, {})
    assert dropped == {"hidden file": 1, "annotation": 1}
    assert sorted(contents(tmp_path / "data")) == sorted(images.values())
    assert [line for line in told if "no shards" in line] == [
        f"left out of {tmp_path / 'shards'}, as they are no shards: 1 .json, 2 .zip"
    ]


def test_a_pipe_with_the_name_of_a_shard_is_left_out(beam, tmp_path):
    """To read it would take for ever."""
    from can.recipes.web_images.pipeline import find_shards

    os.mkfifo(tmp_path / "0.tar")
    with pytest.raises(UserError, match="file in"):
        find_shards([str(tmp_path)])
    (tmp_path / "1.tar").write_bytes(archive({}))
    assert [shard.name for shard in find_shards([str(tmp_path)])] == ["1.tar"]


def test_places_without_shards_are_an_error(beam, tmp_path):
    with pytest.raises(UserError, match=r"no \.tar, \.tar\.gz, \.tgz or \.parquet file"):
        make(tmp_path, tmp_path / "data")
