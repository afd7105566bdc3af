"""What is whole is read, whatever marker it lacks; what is cut is refused, however it is cut."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from can.data.cut_short import jpeg_with_end, png_with_end
from can.data.decode import decode_rgb
from can.errors import DataError

REPOSITORY = Path(__file__).resolve().parent.parent


def photo(seed: int = 0, size: tuple[int, int] = (90, 120)) -> Image.Image:
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, size[1])[None, :, None] + np.linspace(0, 40, size[0])[:, None, None]
    return Image.fromarray((ramp + rng.integers(0, 15, (*size, 3))).astype(np.uint8))


def encoded(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    (image or photo()).save(file, kind, **options)
    return file.getvalue()


JPEGS = {
    "baseline": encoded("JPEG"),
    "progressive": encoded("JPEG", progressive=True),
    "grey": encoded("JPEG", photo().convert("L")),
    "cmyk": encoded("JPEG", photo().convert("CMYK")),
}


@pytest.mark.parametrize("form", JPEGS)
def test_a_jpeg_without_its_end_marker_is_read(form: str) -> None:
    whole = JPEGS[form]
    assert whole.endswith(b"\xff\xd9")
    np.testing.assert_array_equal(decode_rgb(whole[:-2], "cat.jpg"), decode_rgb(whole, "cat.jpg"))
    np.testing.assert_array_equal(decode_rgb(whole[:-1], "cat.jpg"), decode_rgb(whole, "cat.jpg"))


@pytest.mark.parametrize("form", JPEGS)
@pytest.mark.parametrize("ending", [b"", b"\xff\xd9"])
def test_a_jpeg_that_is_cut_anywhere_is_refused(form: str, ending: bytes) -> None:
    whole = JPEGS[form]
    for kept in np.linspace(0.05, 0.98, 12):
        with pytest.raises(DataError, match=r"cat\.jpg is (cut short|not an image)"):
            decode_rgb(whole[: int(kept * len(whole))] + ending, "cat.jpg")


def test_a_progressive_jpeg_that_is_cut_between_two_scans_is_refused() -> None:
    whole = JPEGS["progressive"]
    scans = [place for place in range(len(whole)) if whole[place : place + 2] in (b"\xff\xda", b"\xff\xc4")]
    cuts = [place for place in scans if whole[:place].count(b"\xff\xda") > 1]
    assert len(cuts) > 5
    for place in cuts:
        with pytest.raises(DataError, match=r"cat\.jpg is cut short"):
            decode_rgb(whole[:place], "cat.jpg")


def in_three_scans() -> bytes:
    """A baseline JPEG with a scan for each component: three grey ones that have the same tables in one frame."""
    greys = [encoded("JPEG", photo(seed).convert("L")) for seed in range(3)]
    frame, scan = (greys[0].index(marker) for marker in (b"\xff\xc0", b"\xff\xda"))
    components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    new_frame = b"\xff\xc0" + struct.pack(">H", 17) + greys[0][frame + 4 : frame + 9] + b"\x03" + components
    parts = [greys[0][:frame], new_frame, greys[0][frame + 13 : scan]]
    for number, grey in enumerate(greys, start=1):
        parts.append(b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, number, 0, 0, 63, 0) + grey[scan + 10 : -2])
    return b"".join(parts) + b"\xff\xd9"


def test_a_baseline_jpeg_that_is_cut_between_the_scans_of_its_components_is_refused() -> None:
    whole = in_three_scans()
    expected = np.asarray(Image.open(io.BytesIO(whole)).convert("RGB"))
    np.testing.assert_allclose(decode_rgb(whole, "cat.jpg"), expected, atol=2)
    np.testing.assert_array_equal(decode_rgb(whole[:-2], "cat.jpg"), decode_rgb(whole, "cat.jpg"))
    cuts = [place for place in range(len(whole)) if whole[place : place + 2] == b"\xff\xda"]
    assert len(cuts) == 3
    for place in cuts:
        with pytest.raises(DataError, match=r"cat\.jpg is (cut short|not an image)"):
            decode_rgb(whole[:place], "cat.jpg")


def test_the_end_marker_of_a_thumbnail_is_not_the_images() -> None:
    """The thumbnail is most of what is left of the file."""
    thumbnail = encoded("JPEG", photo(1, (80, 100)))
    whole = JPEGS["baseline"]
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 8) + b"thumb\0" + thumbnail
    inside = whole[:2] + segment + whole[2:]
    np.testing.assert_array_equal(decode_rgb(inside, "cat.jpg"), decode_rgb(whole, "cat.jpg"))
    with pytest.raises(DataError, match="cut short"):
        decode_rgb(inside[: len(segment) + len(whole) * 2 // 3], "cat.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_what_follows_an_image_is_passed_over(kind: str) -> None:
    """A film behind a photograph, as some telephones keep it."""
    whole = encoded(kind)
    np.testing.assert_array_equal(decode_rgb(whole + bytes(3 * len(whole)), "cat"), decode_rgb(whole, "cat"))


def test_a_png_without_its_end_is_read_and_one_without_pixels_is_refused() -> None:
    whole = encoded("PNG", photo(2, (200, 300)))
    expected = decode_rgb(whole, "cat.png")
    for lost in (1, 4, 11, 12):
        np.testing.assert_array_equal(decode_rgb(whole[:-lost], "cat.png"), expected)
    for lost in (17, 30, 1000, len(whole) // 2):
        with pytest.raises(DataError, match=r"cat\.png is cut short"):
            decode_rgb(whole[:-lost], "cat.png")
    without = whole[: whole.index(b"IDAT") - 4] + whole[-12:]
    with pytest.raises(DataError, match=r"cat\.png is not an image"):
        decode_rgb(without, "cat.png")


def test_a_bomb_in_a_png_that_lacks_its_end_is_unpacked_in_pieces() -> None:
    data = zlib.compress(bytes(200_000_000))
    cut = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(data)) + b"IDAT" + data + bytes(4)
    assert (png_with_end(cut) or b"").endswith(b"IEND\xaeB`\x82")
    assert png_with_end(cut[:-100]) is None


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_other_files_that_are_cut_are_refused(kind: str) -> None:
    whole = encoded(kind)
    for kept in (0.2, 0.6, 0.95):
        with pytest.raises(DataError, match="cat is not an image"):
            decode_rgb(whole[: int(kept * len(whole))], "cat")


def test_deep_grey_is_scaled_and_not_cut_off() -> None:
    deep = Image.fromarray(np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8))
    for kind in ("PNG", "TIFF"):
        np.testing.assert_allclose(decode_rgb(encoded(kind, deep), "x")[..., 0], np.asarray(deep) / 256, atol=1)
    with pytest.raises(DataError, match="x is not an image that can be decoded"):
        decode_rgb(encoded("TIFF", Image.fromarray(np.ones((8, 8), np.float32))), "x")


def test_bytes_that_are_no_segments_end_the_walk() -> None:
    for data in (
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe1",
        b"\xff\xd8\xff\xe1\x00\x00",
        b"\xff\xd8" + b"\xff" * 99,
    ):
        assert jpeg_with_end(data) is None


@pytest.mark.parametrize(
    ("start", "filling"),
    [(b"\x89PNG\r\n\x1a\n", bytes(20)), (b"\xff\xd8", b"\xff\x00"), (b"\xff\xd8", b"\xff\xe0\x00\x02")],
)
def test_what_repeats_without_end_is_not_walked_through(start: bytes, filling: bytes) -> None:
    """An archive holds half a gigabyte of it in half a megabyte; it took a minute to say that it is no image."""
    started = time.process_time()
    with pytest.raises(DataError, match=r"cat is (cut short|not an image)"):
        decode_rgb(start + filling * (50_000_000 // len(filling)), "cat")
    assert time.process_time() - started < 2


def test_no_words_of_a_librarys_own_stand_before_the_line() -> None:
    """They would lack the file's name."""
    large = encoded("TIFF", Image.new("1", (10_000, 10_000)), compression="group4")
    torn = encoded("TIFF", compression="tiff_lzw")[:-100]
    code = (
        "import sys\nfrom can.data.decode import decode_rgb\nfrom can.errors import DataError\n"
        "for data in sys.stdin.buffer.read().split(b'--next--'):\n"
        "    try:\n        decode_rgb(data, 'cat.tif')\n    except DataError as error:\n        print(error)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=large + b"--next--" + torn, cwd=REPOSITORY, capture_output=True, check=True)
    assert done.stdout.count(b"cat.tif") == 2 and done.stderr == b""
