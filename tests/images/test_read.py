"""Reading: every mode and source gives uint8 RGB upright, and whatever cannot be read is one sentence."""

from __future__ import annotations

import contextlib
import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multibox.errors import DataError
from multibox.images.jpeg import read_header
from multibox.images.read import MAX_PIXELS, decode, read_at_least, read_image, read_size

RAMP = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (48, 1))


def photo(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture without symmetry, so that JPEG keeps it and turns show."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=2).astype(np.uint8)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_claiming(width: int, height: int, size: int) -> bytes:
    """A PNG of about `size` bytes whose header claims any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(np.random.default_rng(0).bytes(size), 0))
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_lossless_formats_give_the_very_pixels(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(read_image(encode(Image.fromarray(photo()), kind, **options)), photo())


def test_a_jpeg_gives_the_pixels_that_pillow_gives() -> None:
    data = encode(Image.fromarray(photo(241, 323)), "JPEG")
    np.testing.assert_array_equal(read_image(data), np.array(Image.open(io.BytesIO(data)).convert("RGB")))


def test_all_kinds_of_source_agree(tmp_path: Path) -> None:
    path = tmp_path / "ein foto.png"
    Image.fromarray(photo()).save(path)
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), photo(), Image.open(path)):
        np.testing.assert_array_equal(read_image(source), photo())


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_turns_are_applied_to_pixels_and_size(turn: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encode(Image.fromarray(photo()), kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {}))
    upright = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: np.rot90,
    }[turn](photo())
    pixels = read_image(data)
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).max() <= 12
    assert read_size(data) == (pixels.shape[1], pixels.shape[0])


@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
def test_a_reduced_jpeg_has_sides_rounded_up_and_the_same_colours(reduce: int) -> None:
    pixels = decode(encode(Image.fromarray(photo(101, 203)), "JPEG"), "x", reduce=reduce)
    assert pixels.shape == (-(-101 // reduce), -(-203 // reduce), 3)
    whole = decode(encode(Image.fromarray(photo(104, 208)), "JPEG"), "x", reduce=reduce)
    assert np.abs(whole.mean((0, 1)) - photo(104, 208).mean((0, 1))).max() < 2


@pytest.mark.parametrize(("side", "part"), [(60, 8), (61, 4), (121, 2), (240, 2), (241, 1)])
def test_a_jpeg_comes_as_small_as_its_shorter_side_allows_with_its_real_size(side: int, part: int) -> None:
    data = encode(Image.fromarray(photo(480, 641)), "JPEG")
    pixels, width, height = read_at_least(data, side)
    assert pixels.shape == (480 // part, -(-641 // part), 3)
    assert (width, height) == (641, 480)


def test_a_large_jpeg_whose_exif_is_broken_is_read_as_it_lies() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.fromarray(photo(480, 640)), "JPEG", exif=exif)
    at = data.index(b"Exif") + 6
    pixels, width, height = read_at_least(data[:at] + b"\xff" * 8 + data[at + 8 :], 120)
    assert pixels.shape == (120, 160, 3)
    assert (width, height) == (640, 480)


@pytest.mark.parametrize("turn", [3, 6, 8])
def test_a_smaller_jpeg_is_upright_too(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encode(Image.fromarray(photo(480, 640)), "JPEG", exif=exif, quality=95)
    pixels, width, height = read_at_least(data, 120)
    whole = read_image(data)
    assert (height, width) == whole.shape[:2] == (4 * pixels.shape[0], 4 * pixels.shape[1])
    means = whole.reshape(height // 4, 4, width // 4, 4, 3).mean((1, 3))
    assert np.abs(pixels - means).mean() < 2


def test_what_is_no_jpeg_and_what_is_decoded_already_keeps_its_size() -> None:
    for source in (encode(Image.fromarray(photo(96, 128)), "PNG"), photo(96, 128), Image.fromarray(photo(96, 128))):
        pixels, width, height = read_at_least(source, 10)
        np.testing.assert_array_equal(pixels, photo(96, 128))
        assert (width, height) == (128, 96)


def test_a_large_jpeg_with_a_cut_end_is_refused_at_a_smaller_size_too() -> None:
    data = encode(Image.fromarray(photo(480, 640)), "JPEG")
    with pytest.raises(DataError, match="damaged or truncated"):
        read_at_least(data[: len(data) // 2], 60)


def test_grey_palette_and_one_bit_become_rgb() -> None:
    grey = np.repeat(RAMP[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(read_image(encode(Image.fromarray(RAMP), "PNG")), grey)
    assert np.abs(read_image(encode(Image.fromarray(RAMP), "JPEG")).astype(int) - grey).max() <= 3
    palette = Image.fromarray(photo()).quantize(64)
    np.testing.assert_array_equal(read_image(encode(palette, "GIF")), np.array(palette.convert("RGB")))
    bits = Image.fromarray(RAMP).point(lambda value: 255 * (value > 99), mode="1")
    np.testing.assert_array_equal(read_image(encode(bits, "PNG")), np.where(grey > 99, 255, 0))


def test_transparency_lies_over_white() -> None:
    rgba = np.dstack([np.zeros((4, 5, 3), np.uint8), np.array([[0, 51, 128, 204, 255]] * 4, np.uint8)])
    expected = np.repeat(np.array([[255, 204, 127, 51, 0]] * 4, np.uint8)[:, :, None], 3, axis=2)
    for source in (encode(Image.fromarray(rgba), "PNG"), rgba, Image.fromarray(rgba)):
        np.testing.assert_array_equal(read_image(source), expected)


def test_sixteen_bits_are_scaled_not_cut() -> None:
    deep = RAMP.astype(np.uint16) * 257
    for source in (encode(Image.fromarray(deep), "PNG"), encode(Image.fromarray(deep), "TIFF"), deep):
        np.testing.assert_array_equal(read_image(source)[:, :, 1], RAMP)


def test_cmyk_keeps_its_colours() -> None:
    for kind in ("JPEG", "TIFF"):
        pixels = read_image(encode(Image.fromarray(photo()).convert("CMYK"), kind))
        assert np.abs(pixels.astype(int) - photo()).mean() < 4


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (8, 6), color) for color in ((250, 0, 0), (0, 0, 250))]
    pixels = read_image(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert (pixels == (250, 0, 0)).all()


def test_arrays_of_bool_and_float_are_scaled() -> None:
    assert (read_image(np.ones((2, 3), bool)) == 255).all()
    np.testing.assert_array_equal(read_image(np.full((2, 3, 1), 0.5)), np.full((2, 3, 3), 128))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3, 2), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((2, 2), np.int64),
        np.full((2, 2), 7.5),
        np.full((2, 2), np.nan),
        np.zeros((1, 2, 2, 3), np.uint8),
    ],
)
def test_arrays_of_another_kind_are_refused(array: np.ndarray) -> None:
    with pytest.raises(DataError, match="an image array"):
        read_image(array)


def test_a_small_png_that_claims_a_huge_size_is_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_claiming(20_000, 20_000, 600_000))
    start = time.perf_counter()
    with pytest.raises(DataError, match=r"bomb\.png claims .* and was not decoded"):
        read_image(path)
    assert time.perf_counter() - start < 0.2
    with pytest.raises(DataError, match="not decoded"):
        read_image(png_claiming(12_000, 12_000, 1000))


def test_a_jpeg_that_claims_too_many_pixels_is_refused_before_decoding() -> None:
    data = bytearray(encode(Image.fromarray(photo()), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    header = read_header(bytes(data))
    assert header is not None and header.width * header.height > MAX_PIXELS
    with pytest.raises(DataError, match="60000 x 60000 pixels"):
        read_image(bytes(data))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_truncated_file_is_refused_by_name(kind: str, share: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (90, 120, 3), np.uint8)
    data = encode(Image.fromarray(noise), kind)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"cut\.img"):
        read_image(path)


def test_a_truncated_jpeg_whose_thumbnail_is_whole_is_refused() -> None:
    thumbnail = encode(Image.fromarray(photo(16, 16)), "JPEG")
    data = encode(Image.fromarray(photo(200, 200)), "JPEG")
    segment = b"Exif\x00\x00" + thumbnail
    with_thumbnail = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    assert read_image(with_thumbnail).shape == (200, 200, 3)
    with pytest.raises(DataError, match="truncated"):
        read_image(with_thumbnail[: -len(data) // 3])


def test_bytes_after_the_end_of_a_jpeg_are_tolerated() -> None:
    data = encode(Image.fromarray(photo()), "JPEG")
    np.testing.assert_array_equal(read_image(data + b"junk" * 50), read_image(data))


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    text = tmp_path / "note.jpg"
    text.write_text("no pixels here")
    empty = tmp_path / "empty.png"
    empty.touch()
    for source, words in (
        (text, r"note\.jpg is not an image"),
        (empty, r"empty\.png is not an image"),
        (tmp_path, "is a folder"),
        (tmp_path / "gone.jpg", "no such image file: .*gone.jpg"),
        (b"", "image bytes is not an image"),
    ):
        with pytest.raises(DataError, match=words):
            read_image(source)


def test_no_byte_changed_anywhere_raises_anything_but_data_errors() -> None:
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"):
        data = encode(Image.fromarray(photo(20, 30)), kind)
        for _ in range(60):
            broken = bytearray(data)
            for at in rng.integers(0, min(len(data), 200), 3):
                broken[at] = rng.integers(256)
            with contextlib.suppress(DataError):
                assert read_image(bytes(broken)).shape[2] == 3
