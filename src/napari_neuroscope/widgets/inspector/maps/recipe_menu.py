"""The button that makes recipes of what is explained, and opens them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtGui import QAction, QGuiApplication
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.explain.recipe import Recipe
from napari_neuroscope.engine.explanation.recipe_document import SUFFIX
from napari_neuroscope.session.session import Session
from napari_neuroscope.viewer.state.latest_explanation import ChosenExplanation
from napari_neuroscope.widgets.parts.dialogs.question_box import agrees
from napari_neuroscope.widgets.parts.jobs.jobs import Jobs
from napari_neuroscope.widgets.parts.jobs.work_thread import WorkThread
from napari_neuroscope.widgets.parts.labels import file_name, plain_tooltip

_FILTER = f"Recipes (*{SUFFIX})"
_SAVE = "A small file from which the map is made again: here, elsewhere, of other images."
_PYTHON = "A script that makes the map again."
_COMMAND = "A command for a terminal (a POSIX shell) that makes the map again."
_OPEN = "Explain the current image as a recipe says. Nothing of it runs unasked."


class RecipeMenu(QPushButton):
    """Saves and copies the recipe of the selected map, or of the last one.

    Parameters
    ----------
    viewer, session
        The inspector's.
    open_recipe
        Takes the file of a recipe that is to be made again.
    say, fail
        Show what was done, and what went wrong.
    """

    def __init__(
        self,
        viewer: Any,
        session: Session,
        open_recipe: Callable[[Path], None],
        say: Callable[[str], None],
        fail: Callable[[Exception], None],
    ) -> None:
        super().__init__("Recipe")
        self._viewer, self._session = viewer, session
        self._open, self._say, self._fail = open_recipe, say, fail
        # Large networks are hashed, which waits for nothing that is computed.
        self._files = Jobs(WorkThread("neuroscope recipes"))
        self.setToolTip("How a map was made: to save, to copy, to make it again.")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.save = self._action(menu, "Save recipe…", self.ask_where)
        self.python = self._action(menu, "Copy as Python", self.copy_as_python)
        self.command = self._action(menu, "Copy as command", self.copy_as_command)
        menu.addSeparator()
        self.open = self._action(menu, "Open recipe…", self.ask_which)
        self.open.setToolTip(_OPEN)
        menu.aboutToShow.connect(self.refresh)
        self.setMenu(menu)

    @staticmethod
    def _action(menu: QMenu, text: str, slot: Callable[[], None]) -> QAction:
        action = QAction(text, menu)
        # The signal says whether the action is checked, which it never is.
        action.triggered.connect(lambda *_: slot())
        menu.addAction(action)
        return action

    def close_work(self) -> None:
        """Wait for what is being saved."""
        self._files.close()

    def refresh(self) -> None:
        """Offer what can be made of the chosen map, and say why the rest can't."""
        try:
            chosen = ChosenExplanation.of(self._viewer, self._session.explanation)
            recipe = chosen.recipe(hashed=False)
        except NeuroscopeError as error:
            for action in (self.save, self.python, self.command):
                _offer(action, "", str(error))
            return
        of = f"Of “{chosen.name}”. "
        _offer(self.save, of + _SAVE)
        for action, words, text_of in (
            (self.python, _PYTHON, recipe.as_python),
            (self.command, _COMMAND, recipe.as_command),
        ):
            try:
                text_of()
            except NeuroscopeError as error:
                _offer(action, "", str(error))
            else:
                _offer(action, of + words)

    # --- what is kept -----------------------------------------------------------------------------

    def ask_where(self) -> None:
        """Ask for a file, and save the recipe there."""
        try:
            chosen = ChosenExplanation.of(self._viewer, self._session.explanation)
            recipe = chosen.recipe(hashed=False)
        except NeuroscopeError as error:
            self._fail(error)
            return
        name, _ = QFileDialog.getSaveFileName(self, "Save recipe", _file_name(recipe), _FILTER)
        if not name:
            return
        path = _with_suffix(Path(name))
        # The dialog has asked already whether to replace the file that it knows of.
        if str(path) != name and path.exists() and not self._may_replace(path):
            return
        self._files.submit(
            "Saving the recipe",
            lambda _: chosen.recipe().save(path, overwrite=True),
            lambda _: self._say(
                f"The recipe of “{chosen.name}” is saved as {path}. Drop it on napari, or use "
                f"napari-neuroscope run, to make the map again."
            ),
            self._fail,
        )

    def _may_replace(self, path: Path) -> bool:
        words = f"{path} is there already. Replace it?"
        return agrees(self, "Replace the recipe?", words, "Replace")

    def copy_as_python(self) -> None:
        """Put a script on the clipboard that makes the map again."""
        self._copy("script", lambda recipe, files: recipe.as_python(**files))

    def copy_as_command(self) -> None:
        """Put a command on the clipboard that makes the map again."""
        self._copy("command", lambda recipe, files: recipe.as_command(**files))

    def _copy(self, what: str, text_of: Callable[[Recipe, dict[str, Path]], str]) -> None:
        try:
            chosen = ChosenExplanation.of(self._viewer, self._session.explanation)
        except NeuroscopeError as error:
            self._fail(error)
            return
        files = {} if chosen.image is None else {"image": chosen.image}
        said = "" if files else " Put the name of your image file in the place of image.tif."

        def done(text: str) -> None:
            clipboard = QGuiApplication.clipboard()
            assert clipboard is not None
            clipboard.setText(text)
            self._say(f"The {what} that makes “{chosen.name}” is on the clipboard.{said}")

        self._files.submit(
            f"Writing the {what}", lambda _: text_of(chosen.recipe(), files), done, self._fail
        )

    # --- what is opened ---------------------------------------------------------------------------

    def ask_which(self) -> None:
        """Ask for the file of a recipe, and have it made again."""
        name, _ = QFileDialog.getOpenFileName(self, "Open recipe", "", _FILTER)
        if name:
            self._open(Path(name))


def _offer(action: QAction, words: str, reason: str = "") -> None:
    action.setEnabled(not reason)
    action.setToolTip(plain_tooltip(reason or words))


def _file_name(recipe: Recipe) -> str:
    """Return what a recipe's file may be called."""
    classes = [str(target.class_) for target in recipe.targets if target.class_ is not None]
    words = [recipe.method, *classes[:2]]
    return f"{'-'.join(map(file_name, words))}{SUFFIX}"


def _with_suffix(path: Path) -> Path:
    """Return how a recipe is named whose name was typed without its ending, or with half of it."""
    if path.name.endswith(SUFFIX):
        return path
    stem = path.stem if path.suffix in (".yaml", ".yml") else path.name
    return path.with_name(f"{stem.removesuffix('.neuroscope-recipe')}{SUFFIX}")
