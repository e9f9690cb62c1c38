"""Model options: what a network expects of an image and what its answers mean, shown and asked."""

from __future__ import annotations

from pathlib import Path

import napari

from napari_neuroscope.engine.errors import NeuroscopeError, Progress
from napari_neuroscope.engine.networks.load import DEMOS, spec_path
from napari_neuroscope.engine.networks.network import Network
from napari_neuroscope.engine.spec.model_spec import ModelSpec
from napari_neuroscope.session.network_summary import NetworkSummary
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.image.preview import Preview
from napari_neuroscope.viewer.image.shown_image import ShownImage
from napari_neuroscope.widgets.model_options.form import SpecForm
from napari_neuroscope.widgets.model_options.preview import PreviewPane
from napari_neuroscope.widgets.model_options.words import found_out, still_unsaid
from napari_neuroscope.widgets.parts.dialogs.question_box import agrees
from napari_neuroscope.widgets.parts.dialogs.save_dialog import ask_and_save
from napari_neuroscope.widgets.parts.dock import Dock
from napari_neuroscope.widgets.parts.form import button, row
from napari_neuroscope.widgets.parts.labels import file_name, note, plain_tooltip

_DELAY_MS = 300


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

    Attributes
    ----------
    form
        The fields.
    preview
        The image as the network sees it.
    title, found_note, unsaid_note
        What is said of the network: which it is, what was found out, what is left to say.
    """

    name = "model-options"

    def __init__(self, napari_viewer: napari.viewer.Viewer, session: Session | None = None) -> None:
        super().__init__(napari_viewer, session)
        self._network: Network | None = None
        self._opened_spec: ModelSpec | None = None
        self._tried: Network | None = None
        self._build()
        self._try_soon = self.debounced(self._try, _DELAY_MS)
        self.follow(self.session.events.network, self._take_network)
        self.follow(self.session.events.network_summary, self._take_summary)
        self._take_network()
        self._take_summary(self.session.network_summary)

    def _build(self) -> None:
        self.title, self.found_note = note(selectable=True), note(selectable=True)
        self.unsaid_note = note(selectable=True)
        self.unsaid_note.setStyleSheet("font-weight: bold;")
        self.form = SpecForm(self._class_count)
        self.form.edited.connect(self._edited)
        self.preview = PreviewPane()
        self.save_button = button("Save", clicked=self.save)
        self.save_as_button = button("Save as…", clicked=self._ask_where)
        self.revert_button = button(
            "Revert", "Go back to the options with which the network was opened.", self.revert
        )
        self.lay_out(
            self.title,
            self.found_note,
            self.unsaid_note,
            self.form,
            self.preview.picture,
            self.preview.caption,
            self.preview.answer,
            self.message,
            row(self.save_button, self.save_as_button, self.revert_button),
            stretch=self.form,
            # The form never scrolls sideways; its bar for the height stands beside it.
            width=max(340, self.form.least_width + 28),
        )

    # --- what is shown ---

    def _take_network(self) -> None:
        """Show the options of the network that is chosen, unless they are shown already."""
        network = self.session.network
        if network is None or network is not self._network:
            self._network = network
            self._opened_spec = None if network is None else network.spec
            self.form.touched.clear()
            self._show_spec()
        self._describe()

    def _take_summary(self, summary: NetworkSummary | None) -> None:
        if summary is None or summary.network is not self._network:
            return
        self.preview.show_answer(summary)
        if not self.form.touched:
            # What was found out by looking, such as the number of classes.
            self._show_spec()
        if summary.network is not self._tried:
            self._show_as_prepared()
        self._describe()

    def _show_spec(self) -> None:
        self.form.setEnabled(self._network is not None)
        if self._network is None:
            self.preview.clear()
            self.message.clear()
        else:
            self.form.show_spec(self._network.spec)

    def _looked_at(self) -> NetworkSummary | None:
        """Return what a look at the network has told; None before that."""
        summary = self.session.network_summary
        return summary if summary is not None and summary.network is self._network else None

    def _class_count(self) -> int:
        summary = self._looked_at()
        return 0 if summary is None else len(summary.classes)

    def _describe(self) -> None:
        network = self._network
        file = None if network is None else _options_file(network)
        self.save_button.setEnabled(file is not None)
        self.save_as_button.setEnabled(network is not None)
        self.revert_button.setEnabled(bool(self.form.touched))
        if network is None:
            self.title.setText("Choose a network in the dock “Neuroscope”.")
            self.found_note.clear()
            self.unsaid_note.clear()
            return
        self.save_button.setToolTip(
            plain_tooltip(f"Save as {file}, which is used whenever the network is opened.")
            if file
            else "This network is of no file of yours; “Save as…” saves its options elsewhere."
        )
        self.title.setText(f"{network.name} · {network.framework} on {network.device}")
        self.found_note.setText(found_out(network, is_looked_at=self._looked_at() is not None))
        self.unsaid_note.setText(still_unsaid(network, self.form.touched))

    def _show_preview(self, preview: Preview | None) -> None:
        self.preview.show_preview(preview, self.width() - 20)

    def _show_as_prepared(self) -> None:
        network = self._network
        image = None if network is None else self._image()
        if network is None or image is None:
            self._show_preview(None)
            return
        self.jobs.submit(
            "Preparing the image",
            lambda _: Preview.of(network.prepare(image.image(network))),
            self._show_preview,
            self.fail,
        )

    def _image(self) -> ShownImage | None:
        layer = self.session.image
        return None if layer is None else ShownImage.of(layer, self._viewer)

    # --- what is asked ---

    def _edited(self, problem: str) -> None:
        if self._network is None:
            return
        if problem:
            self.message.setText(problem)
        self._try_soon()

    def asked(self) -> ModelSpec:
        """Return the spec that the fields say.

        Raises
        ------
        NeuroscopeError
            Where one of them says nothing that makes sense.
        """
        assert self._network is not None
        return self.form.asked(self._network.spec)

    def _try(self) -> None:
        """Try what the fields say, and go on with it where it makes sense."""
        if self._network is None:
            return
        try:
            spec = self.asked()
        except NeuroscopeError as error:
            self.message.setText(str(error))
            return
        self._go_on(self._network, spec)

    def _go_on(self, network: Network, spec: ModelSpec) -> None:
        image = self._image()

        def work(progress: Progress) -> tuple[NetworkSummary, Preview | None]:
            candidate = network.with_spec(spec)
            plane = None if image is None else image.image(candidate)
            summary = NetworkSummary.of(candidate, plane, progress)
            return summary, None if plane is None else Preview.of(candidate.prepare(plane))

        def done(answer: tuple[NetworkSummary, Preview | None]) -> None:
            if self._network is not network:
                return
            summary, preview = answer
            self._network = self._tried = summary.network
            self.message.clear()
            self._show_preview(preview)
            self.session.replace_network(summary)

        self.jobs.submit("Trying the options", work, done, self.fail)

    # --- what is kept ---

    def revert(self) -> None:
        """Go back to the options with which the network was opened."""
        if self._network is None or self._opened_spec is None:
            return
        self._try_soon.cancel()
        self.form.touched.clear()
        self._go_on(self._network, self._opened_spec)

    def _ask_where(self) -> None:
        if self._network is None:
            return
        offered = _options_file(self._network) or f"{file_name(self._network.name)}.neuroscope.yaml"
        ask_and_save(
            self, "Save model options", str(offered), "Model options (*.neuroscope.yaml)",
            self._write, self.fail,
        )  # fmt: skip

    def save(self) -> None:
        """Save the options beside the network's file, where they are found when it is opened."""
        file = None if self._network is None else _options_file(self._network)
        if file is None or (file.exists() and not self._may_replace(file)):
            return
        try:
            self._write(file)
        except NeuroscopeError as error:
            self.fail(error)

    def _may_replace(self, file: Path) -> bool:
        try:
            if ModelSpec.load(file) == self.asked():
                return True
        except NeuroscopeError:
            pass
        words = f"{file} holds other options. Replace them?"
        return agrees(self, "Replace the options?", words, "Replace")

    def _write(self, file: Path) -> None:
        if self._network is None:
            return
        spec = _all_stated(self.asked())
        spec.save(file)
        self._network.stated = self._opened_spec = spec
        self.form.touched.clear()
        self._describe()
        self.message.setText(f"Saved as {file}.")


def _options_file(network: Network) -> Path | None:
    """Return where a network's options lie, or None where it is of no file of the user's."""
    if network.path is None or network.name in DEMOS:
        return None
    return spec_path(network.path)


def _all_stated(spec: ModelSpec) -> ModelSpec:
    """Return a spec in which what only the user can say counts as said, as it stands."""
    stated = {name: getattr(spec.input, name) for name in ("normalization", "size", "resize")}
    return spec.model_copy(
        update={
            "task": spec.task,
            "classes": spec.classes,
            "input": spec.input.model_copy(update=stated),
        }
    )
