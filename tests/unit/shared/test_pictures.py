"""The one reader of pictures: every mode, metadata that are wrong, files that lack their end, bounds."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shared.errors import SourceError
from shared.picture_formats import NOT_READ, SUFFIXES
from shared.pictures import default_max_pixels, from_image, open_picture, read_picture
from tests.support.heic import HEIC
from tests.support.pictures import huge_png, png_chunk, scan, with_chunk, with_exif

SHAPE = (3, 16, 16)
GREY = (1, 16, 16)


def read(path: Path, shape: tuple[int, int, int] = GREY) -> NDArray[np.int64]:
    return read_picture(path, shape).astype(np.int64)


@pytest.fixture
def control(tmp_path: Path) -> NDArray[np.int64]:
    Image.fromarray(scan()).save(tmp_path / "control.png")
    return read(tmp_path / "control.png")


@pytest.mark.parametrize(
    ("name", "picture"),
    [
        ("1.tif", lambda: Image.fromarray(scan() > 127)),
        ("l.webp", lambda: Image.fromarray(scan())),
        ("i16.png", lambda: Image.fromarray(scan().astype(np.uint16) * 257)),
        ("i16.tif", lambda: Image.fromarray(scan().astype(np.uint16) * 257)),
        ("i16.pgm", lambda: Image.fromarray(scan().astype(np.uint16) * 257)),
        ("dark16.pgm", lambda: Image.fromarray(scan().astype(np.uint16) // 2)),
        ("i32.tif", lambda: Image.fromarray(scan().astype(np.int32) * 257)),
        ("i8.tif", lambda: Image.fromarray(scan().astype(np.int32))),
        ("f1.tif", lambda: Image.fromarray(scan().astype(np.float32) / 255)),
        ("f255.tif", lambda: Image.fromarray(scan().astype(np.float32))),
        ("la.png", lambda: Image.fromarray(scan()).convert("LA")),
        ("rgba.png", lambda: Image.fromarray(scan()).convert("RGBA")),
        ("cmyk.tif", lambda: Image.fromarray(scan()).convert("CMYK")),
        ("palette.png", lambda: Image.fromarray(scan()).convert("P")),
        ("palette.gif", lambda: Image.fromarray(scan()).convert("P")),
    ],
)
def test_every_mode_gives_the_same_pixels(
    tmp_path: Path, name: str, picture: object, control: NDArray[np.int64]
) -> None:
    made = picture()  # type: ignore[operator]
    path = tmp_path / name
    made.save(path, **({"transparency": 3} if name == "palette.png" else {"lossless": True} if "webp" in name else {}))
    expected = {
        "1.tif": np.where(scan() > 127, 255, 0)[np.newaxis],
        "dark16.pgm": np.zeros_like(control),
    }.get(name, control)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = read(path)
        grey = np.abs(read(path, SHAPE) - found)
    assert np.abs(found - expected).max() <= 1
    assert grey.max() <= 1
    assert np.abs(from_image(made, GREY).astype(int) - expected).max() <= (128 if name == "dark16.pgm" else 1)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bits_in_both_byte_orders(tmp_path: Path, order: str, control: NDArray[np.int64]) -> None:
    raw = (scan().astype(np.uint16) * 256).astype(order).tobytes()
    mode = "I;16" if order == "<u2" else "I;16B"
    Image.frombytes(mode, (16, 16), raw).save(tmp_path / "x.tif")
    np.testing.assert_array_equal(read(tmp_path / "x.tif"), control)
    np.testing.assert_array_equal(from_image(Image.frombytes(mode, (16, 16), raw), GREY), control)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((8, 8), -1, np.int32), "whole numbers -1..-1"),
        (np.full((8, 8), 70_000, np.int32), "whole numbers 70000..70000"),
        (np.full((8, 8), np.nan, np.float32), "floats nan..nan"),
        (np.full((8, 8), 256.0, np.float32), r"floats 256..256"),
        (np.full((8, 8), -0.5, np.float32), r"floats -0.5..-0.5"),
    ],
)
def test_numbers_without_a_white_are_refused(tmp_path: Path, values: NDArray[np.generic], message: str) -> None:
    Image.fromarray(values).save(tmp_path / "x.tif")
    with pytest.raises(SourceError, match=message):
        read(tmp_path / "x.tif")


def test_white_may_be_zero(tmp_path: Path, control: NDArray[np.int64]) -> None:
    Image.fromarray((255 - scan()).astype(np.uint16) * 257).save(tmp_path / "x.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(read(tmp_path / "x.tif"), control)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright(tmp_path: Path, suffix: str, orientation: int) -> None:
    """As ImageOps does it, but for what else the metadata hold."""
    pixels = np.zeros((24, 40), np.uint8)
    pixels[:12, :20], pixels[:12, 20:] = 255, 128
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x{suffix}"
    Image.fromarray(pixels).save(path, exif=exif, quality=100)
    upright = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1],
        5: pixels.T, 6: np.rot90(pixels, -1), 7: pixels[::-1, ::-1].T, 8: np.rot90(pixels),
    }[orientation]  # fmt: skip
    found = np.asarray(open_picture(path, "L")).astype(int)
    assert found.shape == upright.shape
    assert np.abs(found - upright).max() <= 8


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: with_chunk(raw, png_chunk(b"eXIf", b"garbage that is no EXIF")),
        lambda raw: with_chunk(raw, png_chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(3_000_000)))),
        lambda raw: with_chunk(raw, png_chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(3_000_000)))),
        lambda raw: with_chunk(raw, png_chunk(b"iTXt", b"note\0\1\0\0\0" + zlib.compress(bytes(3_000_000)))),
        lambda raw: with_chunk(raw, png_chunk(b"iCCP", b"profile\0\0no zlib stream")),
        lambda raw: with_chunk(raw, png_chunk(b"tEXt", b"note\0wrong checksum")[:-1] + b"x"),
        lambda raw: with_chunk(raw, png_chunk(b"pHYs", b"short")),
    ],
    ids=["eXIf", "large iCCP", "large zTXt", "large iTXt", "damaged iCCP", "checksum", "pHYs"],
)
def test_metadata_of_a_png_refuse_no_pixels(
    tmp_path: Path, damage: Callable[[bytes], bytes], control: NDArray[np.int64]
) -> None:
    raw = (tmp_path / "control.png").read_bytes()
    (tmp_path / "x.png").write_bytes(damage(raw))
    np.testing.assert_array_equal(read(tmp_path / "x.png"), control)


def test_the_orientation_is_read_though_other_metadata_are_too_large(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(scan()).save(tmp_path / "x.png", exif=exif)
    raw = (tmp_path / "x.png").read_bytes()
    expected = read(tmp_path / "x.png")
    (tmp_path / "y.png").write_bytes(with_chunk(raw, png_chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(3_000_000)))))
    np.testing.assert_array_equal(read(tmp_path / "y.png"), expected)


@pytest.mark.parametrize(
    "exif",
    [
        b"garbage",
        b"II*\0" + struct.pack("<IH", 8, 60_000),  # many entries, none there
        # A rational whose denominator is 0, which cannot be written back.
        b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x829A, 5, 1, 26, 0) + struct.pack("<II", 1, 0),
    ],
    ids=["garbage", "cut off", "rational"],
)
def test_metadata_of_a_jpeg_refuse_no_pixels(tmp_path: Path, exif: bytes) -> None:
    Image.fromarray(scan()).save(tmp_path / "control.jpg")
    raw = (tmp_path / "control.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(with_exif(raw, exif))
    np.testing.assert_array_equal(read(tmp_path / "x.jpg"), read(tmp_path / "control.jpg"))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_its_end_is_shown_with_a_warning(
    tmp_path: Path, progressive: bool, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg", progressive=progressive)
    raw = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(raw[:-30])
    whole = np.asarray(open_picture(tmp_path / "whole.jpg")).astype(int)
    shown = np.asarray(open_picture(tmp_path / "x.jpg")).astype(int)
    assert np.abs(whole - shown)[:48].mean() < 20
    assert "x.jpg: it lacks its last bytes" in caplog.text
    with pytest.raises(SourceError, match="truncated"):
        open_picture(tmp_path / "x.jpg", torn=False)
    (tmp_path / "x.jpg").write_bytes(raw[:200])
    with pytest.raises(SourceError, match=r"no picture|damaged"):
        open_picture(tmp_path / "x.jpg")


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(huge_png(13_300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SourceError, match=r"^13300 x 13300 pixels are more than --max-pixels [\d,]+$"):
            read(tmp_path / "x.png")
    Image.new("L", (100, 50)).save(tmp_path / "y.png")
    assert read_picture(tmp_path / "y.png", GREY, max_pixels=5000).shape == GREY
    with pytest.raises(SourceError, match="100 x 50 pixels are more than --max-pixels 4,999"):
        read_picture(tmp_path / "y.png", GREY, max_pixels=4999)
    with pytest.raises(SourceError, match="more than --max-pixels"):
        from_image(Image.open(tmp_path / "y.png"), GREY, max_pixels=4999)
    (tmp_path / "x.png").write_bytes(huge_png(50_000))
    with pytest.raises(SourceError, match="more than 178,956,970 pixels"):
        read(tmp_path / "x.png")
    assert 0 < default_max_pixels() <= 89_478_485


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(tmp_path: Path) -> None:
    large = Image.fromarray(scan(64)).resize((1200, 1200), Image.Resampling.BICUBIC)
    large.save(tmp_path / "x.jpg", quality=95)
    assert open_picture(tmp_path / "x.jpg", needed=32).size == (150, 150)
    assert open_picture(tmp_path / "x.jpg").size == (1200, 1200)
    found, whole = read(tmp_path / "x.jpg"), from_image(large, GREY).astype(int)
    assert np.abs(found - whole).max() <= 4


def test_what_other_programs_would_have_to_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(SourceError, match="EPS is no format"):
        read(tmp_path / "x.png")


def test_every_ending_that_pillow_reads_counts() -> None:
    Image.init()
    readable = {
        suffix for suffix, form in Image.registered_extensions().items() if form in Image.OPEN and form not in NOT_READ
    }
    assert readable <= SUFFIXES


def test_heic_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    monkeypatch.setitem(__import__("sys").modules, "pi_heif", None)
    with pytest.raises(SourceError, match=r"HEIC needs the package pi-heif: pip install '\.\[heic\]'"):
        read(tmp_path / "x.heic")


def test_heic(tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    (tmp_path / "x.heic").write_bytes(HEIC)
    grey = scan(64)
    upright = np.stack([grey, grey[::-1], grey.T], 2).astype(np.int64)
    found = np.asarray(open_picture(tmp_path / "x.heic")).astype(np.int64)
    assert np.abs(found - upright).mean() < 10
    with pytest.raises(SourceError, match="more than --max-pixels 4,095"):
        open_picture(tmp_path / "x.heic", max_pixels=4095)
    for length in (12, 40, 400, len(HEIC) - 1):
        (tmp_path / "cut.heic").write_bytes(HEIC[:length])
        with pytest.raises(SourceError):
            open_picture(tmp_path / "cut.heic")


def tiff(values: NDArray[np.generic], sample_format: int, photometric: int) -> bytes:
    """A grey TIFF of these samples, little-endian, uncompressed."""
    height, width = values.shape
    data, bits = values.tobytes(), values.dtype.itemsize * 8
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height, 279: len(data)}
    tags[339] = sample_format
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


def test_floats_whose_white_is_zero(tmp_path: Path, control: NDArray[np.int64]) -> None:
    (tmp_path / "x.tif").write_bytes(tiff((1 - scan() / 255).astype("<f4"), 3, 0))
    assert np.abs(read(tmp_path / "x.tif") - control).max() <= 1


def test_eight_bits_with_a_sign_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(tiff((scan() >> 1).astype("i1"), 2, 1))
    with pytest.raises(SourceError, match="8 bits with a sign in a picture: white is not known"):
        read(tmp_path / "x.tif")


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBX", "RGBA", "HSV", "YCbCr", "CMYK", "I;16"])
def test_every_mode_of_a_program_s_picture(mode: str, control: NDArray[np.int64]) -> None:
    grey = Image.fromarray(scan())
    if mode == "I;16":
        made = Image.fromarray(scan().astype(np.uint16) * 257)
    else:
        way = {"La": "LA", "PA": "P"}.get(mode, "RGB")
        made = grey.convert(way).convert(mode)
    assert np.abs(from_image(made, GREY).astype(np.int64) - control).max() <= 2


def test_transparency_that_is_damaged_refuses_no_pixels(tmp_path: Path, control: NDArray[np.int64]) -> None:
    path = tmp_path / "x.png"
    Image.fromarray(scan()).convert("RGB").save(path)
    path.write_bytes(with_chunk(path.read_bytes(), png_chunk(b"tRNS", b"")))
    np.testing.assert_array_equal(read(path), control)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", "mpo", "avif"])
def test_the_first_frame_of_several(tmp_path: Path, suffix: str, control: NDArray[np.int64]) -> None:
    first = Image.fromarray(scan()).convert("RGB")
    others = [Image.new("RGB", first.size, colour) for colour in ("white", "black")]
    path = tmp_path / f"x.{suffix}"
    first.save(
        path, save_all=True, append_images=others, quality=100, **({"lossless": True} if suffix == "webp" else {})
    )
    with Image.open(path) as opened:
        assert opened.n_frames == 3  # type: ignore[attr-defined]
    assert np.abs(read(path) - control).mean() < 3


def test_a_picture_without_pixels_is_refused() -> None:
    for size in ((0, 0), (0, 9), (9, 0)):
        with pytest.raises(SourceError, match="pixels are no picture"):
            from_image(Image.new("L", size), GREY)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe, loop, folder = tmp_path / "pipe.png", tmp_path / "loop.png", tmp_path / "folder.png"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    folder.mkdir()
    for path, why in (
        (pipe, "no file"),
        (folder, "no file"),
        (loop, "cannot be read: "),
        (Path("/dev/zero"), "no file"),
    ):
        with pytest.raises(SourceError, match=why):
            read(path)
