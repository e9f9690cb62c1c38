"""The image as the network gets it, and what the network makes of it."""

from __future__ import annotations

from qtpy.QtCore import Qt

from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.viewer.image.preview import Preview
from napari_neuroscope.widgets.parts.labels import PlainLabel, note, pixmap

_HEIGHT = 160
_MOST_CLASSES = 5


class PreviewPane:
    """A picture with its caption, and the classes that are answered.

    Attributes
    ----------
    picture, caption, answer
        Labels, for the dock to lay out.
    """

    def __init__(self) -> None:
        self.picture = PlainLabel()
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.picture.setMinimumHeight(120)
        self.picture.setAccessibleName("The image as the network sees it")
        self.caption, self.answer = note(selectable=True), note(selectable=True)

    def clear(self) -> None:
        """Show nothing."""
        self.show_preview(None, 0)
        self.answer.clear()

    def show_preview(self, preview: Preview | None, width: int) -> None:
        """Show an image as it is prepared, at most so wide."""
        if preview is None:
            self.picture.clear()
            self.caption.clear()
            return
        # The pixels of a small image are to be seen.
        is_small = max(preview.picture.shape[:2]) < _HEIGHT
        modes = Qt.TransformationMode
        smooth = modes.FastTransformation if is_small else modes.SmoothTransformation
        self.picture.setPixmap(
            pixmap(preview.picture).scaled(
                max(width, _HEIGHT), _HEIGHT, Qt.AspectRatioMode.KeepAspectRatio, smooth
            )
        )
        self.caption.setText(f"As the network sees it: {preview.caption}.")

    def show_answer(self, summary: NetworkSummary) -> None:
        """Say which classes the network finds."""
        if summary.prediction is None:
            self.answer.setText("Choose an image to see what the network makes of it.")
            return
        segments = summary.network.spec.task == "segmentation"
        unit = "of the pixels" if segments else "probable"
        ranked = sorted(summary.classes, key=lambda entry: -entry[2])[:_MOST_CLASSES]
        self.answer.setText("\n".join(f"{name}: {share:.1%} {unit}" for _, name, share in ranked))
