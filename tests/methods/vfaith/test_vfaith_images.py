"""Pictures of every odd kind come in as plain pixels, or are refused in one line."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import pickle
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from planish.methods.vfaith import images
from planish.methods.vfaith.images import (
    FLAGS,
    Loaded,
    decode,
    encode,
    keep,
    open_image,
    open_mask,
    write_bytes,
)
from planish.models import pictures
from planish.models.pictures import open_picture
from planish.records import BadInput
from planish.runs import DiskFull

RED, BLUE = (255, 0, 0), (0, 0, 255)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def halves(mode: str = "RGB") -> Image.Image:
    """Red above, blue below; 6 wide, 4 high."""
    image = Image.new("RGB", (6, 4), RED)
    image.paste(BLUE, (0, 2, 6, 4))
    return image.convert(mode)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def giant_png(width: int, height: int) -> bytes:
    """A file of a few bytes that says it is large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 64)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def refused(data: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        decode(data, "photo")
    line = str(caught.value)
    assert line.startswith("photo: ")
    assert "\n" not in line
    return line


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_pixels_survive_the_way_to_a_file_and_back(pixels: Any) -> None:
    back = decode(encode(pixels), "it")
    assert back.flags == ()
    assert (back.pixels == pixels).all()
    assert back.size == (pixels.shape[1], pixels.shape[0])


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 4), (1, 1), (1, 1, 4)])
def test_grey_and_transparent_pixels_are_written_as_they_are(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    back = Image.open(io.BytesIO(encode(pixels)))
    assert back.mode == ("L" if len(shape) == 2 else "RGBA")
    assert (np.asarray(back) == pixels).all()


@pytest.mark.parametrize("array", [np.zeros((2, 2), np.float32), np.zeros((2, 2, 2), np.uint8)])
def test_what_is_no_picture_is_not_written(array: Any) -> None:
    with pytest.raises(TypeError, match="no picture"):
        encode(array)


def test_the_same_pixels_are_the_same_bytes_whatever_came_with_them() -> None:
    image = halves()
    bare = encode(image)
    image.info.update(dpi=(300, 300), icc_profile=b"profile", transparency=(0, 0, 255))
    assert encode(image) == bare
    assert encode(np.asarray(image)) == bare
    assert encode(np.asfortranarray(np.asarray(image))) == bare


def test_jpeg_rotated_by_its_tag_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[274] = 6  # the camera was held on its side
    picture = decode(saved(halves(), "JPEG", exif=exif, quality=100), "it")
    assert picture.flags == ("rotated",)
    assert picture.size == (4, 6)
    # A turn to the right: what was above is right.
    assert picture.pixels[0, 3].argmax() == 0
    assert picture.pixels[0, 0].argmax() == 2


def test_cmyk_alpha_palette_and_grey_become_rgb_and_are_told() -> None:
    cmyk = decode(saved(halves("CMYK"), "TIFF"), "it")
    assert cmyk.flags == ("cmyk",)
    assert (cmyk.pixels == np.asarray(halves())).all()

    clear = halves("RGBA")
    clear.putpixel((0, 0), (255, 0, 0, 0))
    alpha = decode(saved(clear), "it")
    assert alpha.flags == ("alpha",)
    assert alpha.pixels[0, 0].tolist() == [255, 255, 255]
    assert alpha.pixels[0, 1].tolist() == list(RED)

    palette = decode(saved(halves().quantize(2)), "it")
    assert palette.flags == ("palette",)
    assert (palette.pixels == np.asarray(halves())).all()

    see_through = decode(saved(halves().quantize(2), transparency=0), "it")
    assert see_through.flags == ("alpha", "palette")

    grey = decode(saved(Image.new("L", (3, 2), 7)), "it")
    assert (grey.flags, grey.pixels.shape, grey.pixels.max()) == (("grey",), (2, 3, 3), 7)
    assert decode(saved(Image.new("1", (3, 2), 1)), "it").pixels.min() == 255


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    picture = decode(saved(Image.fromarray(deep)), "it")
    assert picture.flags == ("16-bit", "grey")
    assert (picture.pixels[..., 0] == np.arange(256).reshape(16, 16)).all()


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    moving = decode(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]), "it")
    assert "animation" in moving.flags
    assert (moving.pixels == RED).all()
    assert "animation" not in decode(saved(frames[0], "GIF"), "it").flags


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_file_cut_off_anywhere_is_refused_or_whole(kind: str) -> None:
    """Some formats end with bytes that carry no pixels: then the pixels must be the right ones."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))
    data = saved(noise, kind)
    whole = decode(data, "photo").pixels
    lines = list[str]()
    for length in range(0, len(data) - 1, max(1, len(data) // 60)):
        try:
            assert (decode(data[:length], "photo").pixels == whole).all()
        except BadInput as error:
            lines.append(str(error))
    assert len(lines) > 50
    assert all(line.startswith("photo: ") and "\n" not in line for line in lines)


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_file_is_refused_in_one_line_or_read(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]))
    good = bytearray(saved(halves(), kind))
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)), max_size=6)
    ):
        good[place] = value
    with contextlib.suppress(BadInput):  # whose message is one line by itself
        assert isinstance(decode(bytes(good), "it"), Loaded)


def test_damaged_tags_are_no_warning() -> None:
    good = bytearray(saved(halves(), "TIFF"))
    good[130] = 1  # a tag that reaches beyond the file
    with contextlib.suppress(BadInput):
        decode(bytes(good), "it")


@given(st.binary(max_size=64))
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    refused(data)


@pytest.mark.parametrize(
    ("width", "height"), [(20_000, 20_000), (20_000, 2), (2, 20_000), (9_000, 9_000)]
)
def test_too_large_a_picture_is_refused_before_its_pixels(width: int, height: int) -> None:
    line = refused(giant_png(width, height))
    assert "too many" in line
    assert "megapixels" in line


def test_what_runs_programs_or_has_no_known_range_is_not_opened() -> None:
    assert "not a picture" in refused(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    floats = Image.fromarray(np.ones((4, 4), np.float32))
    assert "no known range" in refused(saved(floats, "TIFF"))
    assert "empty" in refused(b"")


def test_a_missing_file_or_a_folder_is_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "no.png", tmp_path):
        with pytest.raises(BadInput, match="check the path"):
            open_image(path)


def test_what_has_no_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(pipe := tmp_path / "pipe.png")
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(BadInput, match="not a plain file"):
            open_image(path)
        with pytest.raises(BadInput, match="not a plain file"):
            open_mask(path, (4, 4))
    monkeypatch.setattr(pictures, "_LARGEST", 10)
    (large := tmp_path / "large.png").write_bytes(bytes(11))
    with pytest.raises(BadInput, match="File too large"):
        open_image(large)


def mask(tmp_path: Path, image: Image.Image, name: str = "mask.png", **options: Any) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


def some(mode: str = "L") -> Image.Image:
    image = Image.new("L", (6, 4), 0)
    image.paste(1, (0, 0, 2, 1))  # as faint as can be
    return image if mode == "L" else image.convert(mode)


def test_a_mask_is_editable_where_it_is_not_black(tmp_path: Path) -> None:
    expected = np.zeros((4, 6), bool)
    expected[0, :2] = True
    for mode in ("L", "RGB", "RGBA"):
        assert (open_mask(mask(tmp_path, some(mode)), (6, 4)) == expected).all()
    deep = Image.fromarray(np.asarray(some()).astype(np.uint16))
    assert (open_mask(mask(tmp_path, deep), (6, 4)) == expected).all()
    white = some().point(lambda value: 255 * (value > 0)).convert("1")
    assert (open_mask(mask(tmp_path, white), (6, 4)) == expected).all()
    path = tmp_path / "ours.png"
    path.write_bytes(encode(expected))
    assert (open_mask(path, (6, 4)) == expected).all()


def test_a_mask_that_says_nothing_or_two_things_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="6 x 4 pixels, its picture 4 x 6"):
        open_mask(mask(tmp_path, some()), (4, 6))
    with pytest.raises(BadInput, match="nothing of the picture is editable"):
        open_mask(mask(tmp_path, Image.new("L", (6, 4), 0)), (6, 4))
    with pytest.raises(BadInput, match="all of the picture is editable"):
        open_mask(mask(tmp_path, Image.new("L", (6, 4), 255)), (6, 4))
    hole = Image.new("RGBA", (6, 4), (255, 255, 255, 255))
    hole.putpixel((0, 0), (0, 0, 0, 0))
    with pytest.raises(BadInput, match="transparent"):
        open_mask(mask(tmp_path, hole), (6, 4))
    with pytest.raises(BadInput, match="JPEG"):
        open_mask(mask(tmp_path, some(), "mask.jpg"), (6, 4))


def test_pictures_are_kept_once_under_their_hash(tmp_path: Path) -> None:
    data = encode(halves())
    name, digest = keep(tmp_path, "images", data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert name == f"images/{digest}.png"
    path = tmp_path / name
    written = path.stat().st_mtime_ns
    assert keep(tmp_path, "images", data) == (name, digest)
    assert path.stat().st_mtime_ns == written
    path.write_bytes(b"")  # as a power cut may leave it
    keep(tmp_path, "images", data)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o444
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("no folder")
    with pytest.raises(BadInput, match="can be written"):
        keep(tmp_path, "images", encode(halves()))


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "it"
    contents = [bytes([value]) * 200_000 for value in (1, 2)]
    write_bytes(path, contents[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                write_bytes(path, content)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        assert all(path.read_bytes() in contents for _ in range(50))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert [file.name for file in tmp_path.iterdir()] == ["it"]


def test_every_flag_has_a_meaning() -> None:
    assert all(FLAGS.values())


def test_a_broken_list_of_frames_is_refused_in_one_line(tmp_path: Path) -> None:
    """Pillow looks for further frames only when it is asked how many there are."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "TIFF")
    data = bytearray(stream.getvalue())
    first = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[first : first + 2], "little")
    after = first + 2 + 12 * entries
    data[after : after + 4] = (len(data)).to_bytes(4, "little")  # the next frame: no frame at all
    data += (1).to_bytes(2, "little") + b"\x00" * 7
    with contextlib.suppress(BadInput):
        assert decode(bytes(data), "x.tif").pixels.shape == (8, 8, 3)


def test_models_and_gates_see_the_same_picture(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    path = tmp_path / "deep.png"
    Image.fromarray(deep).save(path)
    seen = np.asarray(open_picture(str(path)))
    assert (seen == open_image(path).pixels).all()
    assert len(np.unique(seen)) > 32
    for name, start in (("page.png", b"%!PS-Adobe-3.0 EPSF-3.0\n"), ("empty.png", b"")):
        (tmp_path / name).write_bytes(start)
        with pytest.raises(BadInput, match=name):
            open_picture(str(tmp_path / name))


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(images, "write_bytes", full)
    with pytest.raises(DiskFull, match="free some space") as caught:
        keep(tmp_path, "images", b"data")
    # It comes through from the process that drew.
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.errno) == (str(caught.value), errno.ENOSPC)


def mask_file(folder, name, **options):
    pixels = np.zeros((20, 30), np.uint8)
    pixels[2:6, 3:9] = 255
    path = folder / name
    Image.fromarray(pixels).save(path, **options)
    return path, pixels > 0


def test_a_mask_is_turned_as_its_picture_is(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # to be turned by a quarter, clockwise
    path, stored = mask_file(tmp_path, "mask.png", exif=exif)
    assert np.array_equal(open_mask(path, (20, 30)), np.rot90(stored, -1))
    with pytest.raises(BadInput, match="20 x 30 pixels, its picture 30 x 20"):
        open_mask(path, (30, 20))


def test_a_mask_that_is_lossy_or_has_several_frames_is_refused(tmp_path):
    lossless, stored = mask_file(tmp_path, "mask.webp", lossless=True)
    if (np.asarray(Image.open(lossless).convert("L")) == stored * 255).all():
        assert np.array_equal(open_mask(lossless, (30, 20)), stored)
    lossy, _ = mask_file(tmp_path, "lossy.webp", quality=80)
    tiff, _ = mask_file(tmp_path, "lossy.tif", compression="jpeg")
    for path in (lossy, tiff):
        with pytest.raises(BadInput, match="mask is blurred"):
            open_mask(path, (30, 20))
    for name in ("mask.gif", "mask.tif"):
        more = [Image.fromarray(np.full((20, 30), 255, np.uint8))]
        path, _ = mask_file(tmp_path, name, save_all=True, append_images=more)
        with pytest.raises(BadInput, match="several frames"):
            open_mask(path, (30, 20))
