"""Model options: what a network expects of an image and what its answers mean, shown and asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.networks.load import DEMOS, spec_path
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.spec.inference import unsaid
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.preview import Preview
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.widgets.model_options.class_table import ClassTable
from napari_neuroscope.widgets.model_options.resizing_fields import RESIZING, ResizingFields
from napari_neuroscope.widgets.model_options.spec_fields import SpecField, SpecFields, or_none
from napari_neuroscope.widgets.model_options.spec_texts import (
    numbers_of,
    numbers_text,
    range_of,
    range_text,
    size_of,
    size_text,
)
from napari_neuroscope.widgets.parts.dialogs import agrees
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.labels import (
    PlainLabel,
    file_name,
    note,
    pixmap,
    plain_tooltip,
)
from napari_neuroscope.widgets.parts.sentences import in_a_sentence

_DELAY_MS = 300
_TASKS = {"classification": "Classification", "segmentation": "Segmentation"}
_ORDERS = {None: "Found out", "rgb": "RGB", "bgr": "BGR", "gray": "Gray", "n": "Other channels"}
_ENDS = {None: "Found out", "none": "Scores (logits)", "softmax": "Softmax", "sigmoid": "Sigmoid"}


class ModelOptions(Dock):
    """Shows what was found out about the chosen network, and asks for the rest.

    Every change that makes sense is tried at once: the preview shows the image as the network then
    gets it, with what it answers, and the inspector goes on with it.

    Parameters
    ----------
    napari_viewer
        The viewer.
    session
        What is chosen; the viewer's if not given.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self._network: Network | None = None
        self._first: ModelSpec | None = None
        self._tried: Network | None = None
        self._touched: set[tuple[str, ...]] = set()
        self._fields = SpecFields(self._edited)
        self._showing = False
        self._build()
        self._soon = self.debounced(self._try, _DELAY_MS)
        self.follow(self.session.events.network, self._take_network)
        self.follow(self.session.events.network_summary, self._take_findings)
        self._take_network()
        self._take_findings(self.session.network_summary)

    # --- what it looks like ---

    def _build(self) -> None:
        self.setObjectName("neuroscope-model-options")
        self._title, self._found, self._left = (
            note(selectable=True),
            note(selectable=True),
            note(selectable=True),
        )
        self._left.setStyleSheet("font-weight: bold;")
        self._trouble = note(selectable=True)
        self._picture = PlainLabel()
        self._picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._picture.setMinimumHeight(120)
        self._picture.setAccessibleName("The image as the network sees it")
        self._caption, self._answer = note(selectable=True), note(selectable=True)

        inside = QWidget()
        self._form = QVBoxLayout(inside)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._section("Task and image", self._task_fields())
        self._section("Input of the network", self._input_fields())
        self._section("Output of the network", self._output_fields())
        self._section("Classes", self._class_fields())
        self._form.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(inside)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._asked = scroll

        self._save = QPushButton("Save")
        self._save.clicked.connect(self.save)
        self._save_as = QPushButton("Save as…")
        self._save_as.clicked.connect(self._ask_where)
        self._revert = QPushButton("Revert")
        self._revert.setToolTip("Go back to the options with which the network was opened.")
        self._revert.clicked.connect(self.revert)
        buttons = QHBoxLayout()
        for button in (self._save, self._save_as, self._revert):
            buttons.addWidget(button)

        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        for line in (self._title, self._found, self._left):
            layout.addWidget(line)
        layout.addWidget(scroll, 1)
        for line in (self._picture, self._caption, self._answer, self._trouble):
            layout.addWidget(line)
        layout.addLayout(buttons)
        self.setMinimumWidth(max(340, inside.minimumSizeHint().width() + 28))

    def _section(self, title: str, rows: dict[str, QWidget]) -> None:
        box = QWidget()
        form = QFormLayout(box)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for label, widget in rows.items():
            if label:
                widget.setAccessibleName(label)
                form.addRow(label, widget)
            else:
                form.addRow(widget)
        part = QCollapsible(title)
        part.addWidget(box)
        part.expand(animate=False)
        self._form.addWidget(part)

    def _task_fields(self) -> dict[str, QWidget]:
        return {
            "Task": self._fields.choice(
                ("task",), _TASKS,
                "Whether the network answers one class for an image, or one for each of its pixels.",
            ),
            "Image axes": self._fields.line(
                ("image_axes",), str, or_none(str.lower), "found out",
                "The axes of your images: y, x, z and c(hannel), such as yx, yxc or cyx.",
            ),
            "Pixel size": self._fields.line(
                ("pixel_size",), numbers_text, numbers_of, "unknown",
                "The edge lengths of a pixel on which the network was trained, in micrometres.",
            ),
        }  # fmt: skip

    def _input_fields(self) -> dict[str, QWidget]:
        self._resizing = ResizingFields(self._fields)
        return {
            "Axes": self._fields.line(
                ("input", "axes"), str, str.lower, "bcyx",
                "The order of the network's own input axes: b(atch), c(hannel), z, y, x.",
            ),
            "Size": self._fields.line(
                ("input", "size"), size_text, self._size, "any",
                "any, a fixed size such as 224 × 224, or sizes such as 32 + n · 16.",
            ),
            **self._resizing.rows,
            "Channels": self._fields.choice(
                ("input", "order"), _ORDERS,
                "What the network's channels are, in its own order.",
            ),
            "Values": self._fields.line(
                ("input", "value_range"), range_text, range_of, "auto",
                "Which values of the image become 0 and 1: auto (the range of its type), data "
                "(its own lowest and highest), or two numbers such as 0, 4095.",
            ),
            "Normalise": self._fields.normalization(),
        }  # fmt: skip

    def _output_fields(self) -> dict[str, QWidget]:
        return {
            "Output": self._fields.line(
                ("output", "index"), str, or_none(lambda t: int(t) if t.isdecimal() else t),
                "found out", "Which of several outputs: its name or number.",
            ),
            "Axes": self._fields.line(
                ("output", "axes"), str, or_none(str.lower), "found out",
                "The order of the output's axes, such as bcyx or byxc.",
            ),
            "Ends in": self._fields.choice(
                ("output", "activation"), _ENDS,
                "Whether the network's answers are scores, or probabilities already.",
            ),
            "": self._fields.check(
                ("output", "multi_label"), "Classes are independent of each other",
                "Probabilities are then a sigmoid of each score, not a softmax over all.",
            ),
        }  # fmt: skip

    def _class_fields(self) -> dict[str, QWidget]:
        self._table = ClassTable()
        self._fields.add(
            ("classes",), self._table, self._table.changed, self._show_classes, self._table.read
        )
        return {
            "": self._table,
            "Ignore label": self._fields.line(
                ("ignore_label",), str, or_none(int), "none",
                "The value in ground truth that counts as no class, such as 255.",
            ),
        }  # fmt: skip

    def _size(self, text: str) -> Any:
        axes = self._fields.at("input", "axes").read()
        return size_of(text, sum(axis in "zyx" for axis in axes))

    # --- what is shown ---

    def _take_network(self, *_: Any) -> None:
        """Show the options of the network that is chosen, unless they are shown already."""
        if self.closed:
            return
        network = self.session.network
        if network is None or network is not self._network:
            self._network = network
            self._first = None if network is None else network.spec
            self._touched.clear()
            self._show_spec()
        self._describe()

    def _take_findings(self, findings: NetworkSummary | None) -> None:
        if findings is None or self.closed or findings.network is not self._network:
            return
        self._show_answer(findings)
        if not self._touched:
            # What was found out by looking, such as the number of classes.
            self._show_spec()
        if findings.network is not self._tried:
            self._preview()
        self._describe()

    def _show_spec(self) -> None:
        self._asked.setEnabled(self._network is not None)
        if self._network is None:
            self._picture.clear()
            for line in (self._caption, self._answer, self._trouble):
                line.clear()
            return
        self._showing = True
        try:
            for field in self._fields:
                field.show(field.of(self._network.spec))
                self._mark(field, "")
            self._resizing.lay_out()
        finally:
            self._showing = False

    def _show_classes(self, classes: Any) -> None:
        findings = self.session.network_summary
        known = findings is not None and findings.network is self._network
        self._table.show_classes(classes, len(findings.classes) if known and findings else 0)

    def _describe(self) -> None:
        network = self._network
        own = network is not None and _beside(network) is not None
        self._save.setEnabled(own)
        self._save_as.setEnabled(network is not None)
        self._revert.setEnabled(bool(self._touched))
        if network is None:
            self._title.setText("Choose a network in the dock “Neuroscope”.")
            self._found.clear()
            self._left.clear()
            return
        where = _beside(network)
        self._save.setToolTip(
            plain_tooltip(f"Save as {where}, which is used whenever the network is opened.")
            if where
            else "This network is of no file of yours; “Save as…” saves its options elsewhere."
        )
        self._title.setText(f"{network.name} · {network.framework} on {network.device}")
        found = [f"{network.channels} channels"]
        if (
            self.session.network_summary is not None
            and self.session.network_summary.network is network
        ):
            found.append(f"{len(network.class_names)} classes")
            if final := network.layers.final_activation:
                found.append(f"ends in {final[1]}, cut off at “{final[0]}”")
            if (choice := network.output_choice) is not None and choice.is_of_several:
                found.append(f"output “{choice.key}” of {len(choice.offered)}")
        self._found.setText(f"Found out: {network.spec.task}, {', '.join(found)}.")
        left = {name: words for name, words in unsaid(network.stated, network.spec).items()
                if not any(name in place for place in self._touched)}  # fmt: skip
        self._left.setText(
            f"Only you can say: {', '.join(left.values())}." if left else "Nothing is left to say."
        )

    def _show_answer(self, findings: NetworkSummary) -> None:
        segments = findings.network.spec.task == "segmentation"
        if findings.prediction is None:
            self._answer.setText("Choose an image to see what the network makes of it.")
            return
        ranked = sorted(findings.classes, key=lambda row: -row[2])[:5]
        what = "of the pixels" if segments else "probable"
        self._answer.setText("\n".join(f"{name}: {share:.1%} {what}" for _, name, share in ranked))

    def _show_preview(self, preview: Preview | None) -> None:
        if preview is None:
            self._picture.clear()
            self._caption.clear()
            return
        smooth = Qt.TransformationMode.SmoothTransformation
        if max(preview.picture.shape[:2]) < 160:
            smooth = Qt.TransformationMode.FastTransformation
        self._picture.setPixmap(
            pixmap(preview.picture).scaled(
                max(self.width() - 20, 160), 160, Qt.AspectRatioMode.KeepAspectRatio, smooth
            )
        )
        self._caption.setText(f"As the network sees it: {preview.caption}.")

    # --- what is asked ---

    def _edited(self, field: SpecField) -> None:
        if self._showing or self._network is None:
            return
        self._touched.add(field.place)
        if field.place in RESIZING:
            self._resizing.lay_out()
        try:
            field.read()
        except ValueError as error:
            self._mark(field, str(error))
        else:
            self._mark(field, "")
        self._soon()

    def _mark(self, field: SpecField, problem: str) -> None:
        field.mark(wrong=bool(problem))
        if problem:
            self._trouble.setText(f"{field.widget.accessibleName()}: {problem}.")

    def asked(self) -> ModelSpec:
        """Return the spec that the fields say.

        Raises
        ------
        NeuroscopeError
            Where one of them says nothing that makes sense.
        """
        assert self._network is not None
        raw = self._network.spec.model_dump(exclude_unset=True)
        raw["classes"] = [c.model_dump() for c in self._network.spec.classes]
        for field in self._fields:
            touched = field.place in self._touched
            if field.applies is None and not touched:
                continue
            if field.applies is not None and not field.applies():
                if self._touched.intersection(RESIZING):
                    field.leave_out(raw)
                continue
            try:
                value = field.read()
            except ValueError as error:
                self._mark(field, str(error))
                raise NeuroscopeError(f"{field.widget.accessibleName()}: {error}.") from error
            self._mark(field, "")
            # What applies again counts as it stands there.
            if touched or value != field.of(self._network.spec):
                field.put(raw, value)
        return ModelSpec.parse(raw, where="What is asked")

    def _try(self) -> None:
        """Try what the fields say, and go on with it where it makes sense."""
        network = self._network
        if self.closed or network is None:
            return
        try:
            spec = self.asked()
        except NeuroscopeError as error:
            self._trouble.setText(str(error))
            return
        self._go_on(network, spec)

    def _go_on(self, network: Network, spec: ModelSpec) -> None:
        image = self._image(network)

        def work(progress: Any) -> tuple[NetworkSummary, Preview | None]:
            candidate = network.with_spec(spec)
            plane = None if image is None else image.image(candidate)
            findings = NetworkSummary.of(candidate, plane, progress)
            return findings, None if plane is None else Preview.of(candidate.prepare(plane))

        def done(made: tuple[NetworkSummary, Preview | None]) -> None:
            if self._network is not network:
                return
            findings, preview = made
            self._network = self._tried = findings.network
            self._trouble.clear()
            self._show_preview(preview)
            self.session.replace_network(findings)

        self.jobs.submit("Trying the options", work, done, self._fail)

    def _preview(self) -> None:
        network = self._network
        image = None if network is None else self._image(network)
        if network is None or image is None:
            self._show_preview(None)
            return
        self.jobs.submit(
            "Preparing the image",
            lambda _: Preview.of(network.prepare(image.image(network))),
            self._show_preview,
            self._fail,
        )

    def _image(self, network: Network) -> ShownImage | None:
        layer = self.session.image
        return None if layer is None else ShownImage.of(layer, self._viewer)

    def _fail(self, error: Exception) -> None:
        self._trouble.setText(in_a_sentence(error))

    # --- what is kept ---

    def revert(self) -> None:
        """Go back to the options with which the network was opened."""
        if self._network is None or self._first is None:
            return
        self._soon.cancel()
        self._touched.clear()
        self._go_on(self._network, self._first)

    def _ask_where(self) -> None:
        if self._network is None:
            return
        place = _beside(self._network) or Path(f"{file_name(self._network.name)}.neuroscope.yaml")
        chosen, _ = QFileDialog.getSaveFileName(
            self, "Save model options", str(place), "Model options (*.neuroscope.yaml)"
        )
        if chosen:
            # The dialog has asked already whether to replace a file.
            self._write(Path(chosen))

    def save(self) -> None:
        """Save the options beside the network's file, where they are found when it is opened."""
        where = None if self._network is None else _beside(self._network)
        if where is None:
            return
        if where.exists() and not self._may_replace(where):
            return
        self._write(where)

    def _may_replace(self, where: Path) -> bool:
        try:
            if ModelSpec.load(where) == self.asked():
                return True
        except NeuroscopeError:
            pass
        words = f"{where} holds other options. Replace them?"
        return agrees(self, "Replace the options?", words, "Replace")

    def _write(self, where: Path) -> None:
        if self._network is None:
            return
        try:
            spec = _all_said(self.asked())
            spec.save(where)
        except NeuroscopeError as error:
            self._trouble.setText(str(error))
            return
        self._network.stated = spec
        self._first = spec
        self._touched.clear()
        self._describe()
        self._trouble.setText(f"Saved as {where}.")


def _beside(network: Network) -> Path | None:
    """Return where a network's options lie, or None where it is of no file of the user's."""
    if network.path is None or network.name in DEMOS:
        return None
    return spec_path(network.path)


def _all_said(spec: ModelSpec) -> ModelSpec:
    """Return a spec in which what only the user can say counts as said, as it stands."""
    said = {name: getattr(spec.input, name) for name in ("normalization", "size", "resize")}
    return spec.model_copy(
        update={
            "task": spec.task,
            "classes": spec.classes,
            "input": spec.input.model_copy(update=said),
        }
    )
