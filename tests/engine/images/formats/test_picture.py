"""Pictures are read as scikit-image and Pillow read them, turned as EXIF says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from napari_neuroscope.engine.images.formats import picture as pictures
from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.source import Source, read_image

RNG = np.random.default_rng(0)


COLOURS = RNG.integers(0, 255, (20, 30, 3), np.uint8)


GRAY = COLOURS[..., 0]


def moving(path: Path, frames: list[np.ndarray]) -> None:
    first, *more = map(Image.fromarray, frames)
    first.save(path, save_all=True, append_images=more)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    colours, gray = Image.fromarray(COLOURS), Image.fromarray(GRAY)
    few = colours.quantize(20)
    for name, picture in {
        "a.png": colours, "gray.png": gray, "alpha.png": Image.fromarray(np.dstack([COLOURS, GRAY])),
        "deep.png": Image.fromarray(GRAY.astype(np.uint16) * 257), "few.png": few, "few.gif": few,
        "one.png": Image.fromarray(GRAY > 128), "two.png": colours.convert("LA"), "a.jpg": colours,
        "inks.jpg": colours.convert("CMYK"), "a.bmp": colours, "few.bmp": few, "a.webp": colours,
        "a.ppm": colours, "a.tga": colours, "a.jp2": colours,
    }.items():  # fmt: skip
        picture.save(tmp_path / name)
    few.save(tmp_path / "clear.png", transparency=3)
    frames = [RNG.integers(0, 255, (20, 30, 3), np.uint8) for _ in range(3)]
    for name in ("film.gif", "film.png", "film.webp"):
        moving(tmp_path / name, frames)
    moving(tmp_path / "gray.gif", [frame[..., 0] for frame in frames])
    return tmp_path


@pytest.mark.parametrize("piece", [1 << 20, 100])
def test_pictures_are_read_as_scikit_image_reads_them(
    album: Path, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from skimage.io import imread

    monkeypatch.setattr(pictures, "_PIECE", piece)
    for path in album.iterdir():
        found, wanted = read_image(path), imread(path)
        # scikit-image leaves other colours as they are, and makes a stack of one frame.
        if path.name == "two.png":
            wanted = wanted[..., 0]
        elif path.name in {"inks.jpg", "few.gif"}:
            wanted = np.asarray(Image.open(path).convert("RGB"))
        assert found.dtype == wanted.dtype, path
        np.testing.assert_array_equal(found, wanted, err_msg=path.name)
        assert found.flags.writeable
        if path.suffix != ".gif" and not path.name.startswith("film"):
            assert Source.of(path).shape == found.shape, path


PHOTO_VALUES = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)


PHOTO = Image.fromarray(PHOTO_VALUES)


def seen(path: Path) -> np.ndarray:
    """Return an image as all ways of reading give it."""
    whole = read_image(path)
    with open_image(path) as image:
        np.testing.assert_array_equal(image[...], whole)
        assert image.spacing.axes[:2] == ("y", "x")
    assert Source.of(path).shape == whole.shape
    return whole


@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.png"])
@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LA", "RGBA", "P", "1"])
def test_colours_are_as_pillow_converts_them(name: str, mode: str, tmp_path: Path) -> None:
    path, picture = tmp_path / name, PHOTO.convert(mode)
    try:
        picture.save(path)
    except OSError:
        pytest.skip("no file of this kind has such colours")
    wanted = np.asarray(
        Image.open(path).convert(
            {"LA": "L", "RGBA": "RGBA", "1": "1" if name != "a.jpg" else "L"}.get(mode, "RGB")
        )
    )
    np.testing.assert_allclose(seen(path).astype(int), wanted.astype(int), atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_exif_says_is_turned_is_turned(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.jpg", "a.png", "a.webp"):
        PHOTO.save(tmp_path / name, exif=exif)
        wanted = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / name)))
        np.testing.assert_array_equal(seen(tmp_path / name), wanted)
    # Behind the pixels, where others write it.
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    last = len(content) - 12
    late = content[:start] + content[end:last] + content[start:end] + content[last:]
    (tmp_path / "late.png").write_bytes(late)
    np.testing.assert_array_equal(seen(tmp_path / "late.png"), seen(tmp_path / "a.png"))
    PHOTO.save(tmp_path / "a.tif", tiffinfo={0x0112: orientation})
    np.testing.assert_array_equal(seen(tmp_path / "a.tif"), seen(tmp_path / "a.png"))


def test_one_frame_is_a_picture(tmp_path: Path) -> None:
    few = PHOTO.quantize(16)
    few.save(tmp_path / "a.gif")
    np.testing.assert_array_equal(seen(tmp_path / "a.gif"), np.asarray(few.convert("RGB")))
