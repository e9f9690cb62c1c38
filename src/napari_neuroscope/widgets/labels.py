"""Words and pictures in a dock."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QLabel


def note(*, selectable: bool = False) -> QLabel:
    """Return a label for sentences, whose text can be selected where it is worth copying."""
    label = QLabel()
    label.setWordWrap(True)
    if selectable:
        label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def pixmap(picture: np.ndarray) -> QPixmap:
    """Return a picture, uint8 (y, x, 3) or with opacity (y, x, 4), for Qt."""
    height, width, channels = picture.shape
    kind = QImage.Format.Format_RGB888 if channels == 3 else QImage.Format.Format_RGBA8888
    image = QImage(picture.tobytes(), width, height, channels * width, kind)
    # Qt does not keep the bytes.
    return QPixmap.fromImage(image.copy())
