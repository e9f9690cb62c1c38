"""Sets of TIFF files are one image, where they lie in one folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from napari_neuroscope.engine.images.formats.image_file import open_image
from napari_neuroscope.engine.images.source import read_image

RNG = np.random.default_rng(0)


DEEP = RNG.integers(0, 60_000, (70, 90)).astype(np.uint16)


def test_a_set_of_one_folder_is_one_image(tmp_path: Path) -> None:
    names = ["a_t0.ome.tif", "a_t1.ome.tif"]
    data = "".join(
        f'<TiffData IFD="0" FirstT="{n}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{n}</UUID>'
        f"</TiffData>"
        for n, name in enumerate(names)
    )
    for n, name in enumerate(names):
        xml = (
            f'<?xml version="1.0"?><OME UUID="urn:uuid:{n}" xmlns="http://www.openmicroscopy.org/'
            f'Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
            f'Type="uint16" SizeX="90" SizeY="70" SizeZ="1" SizeC="1" SizeT="2">{data}</Pixels>'
            f"</Image></OME>"
        )
        plane = DEEP[:: 1 - 2 * n]
        tifffile.imwrite(tmp_path / name, plane, description=xml, metadata=None, compression="zlib")
    for name in names:
        wanted = tifffile.imread(tmp_path / name)
        np.testing.assert_array_equal(wanted, [DEEP, DEEP[::-1]])
        np.testing.assert_array_equal(read_image(tmp_path / name), wanted)
        with open_image(tmp_path / name) as image:
            np.testing.assert_array_equal(image[1, 5:9], wanted[1, 5:9])
