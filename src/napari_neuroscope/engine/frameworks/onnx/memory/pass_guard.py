"""Passes of an ONNX file that nobody trusts yet: none is run before it is known to be bounded.

Mostly shapes tell how much memory a pass takes. Where they don't, as with a loop, the network is
opened once in a process of its own, which may hang or fill up.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from napari_neuroscope.engine.errors import Progress
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.trial import TrialError, try_in_process
from napari_neuroscope.engine.files.code.trust import require_trust
from napari_neuroscope.engine.frameworks.common import refuse_large_pass
from napari_neuroscope.engine.frameworks.onnx.files.load import OnnxFile
from napari_neuroscope.engine.frameworks.onnx.memory.pass_sizes import (
    OnnxSizes,
    PassSizes,
    ShapesError,
)
from napari_neuroscope.engine.spec.model_spec import ModelSpec

_TRIAL = "napari_neuroscope.engine.networks.opening_trial:open_file"


class PassGuard:
    """Says of each shape of input whether a pass may run.

    Parameters
    ----------
    file
        The model, without functions.
    sizes
        What tells the sizes of its tensors.
    """

    def __init__(self, file: OnnxFile, sizes: OnnxSizes) -> None:
        assert file.path is not None
        self._path, self._title, self._size = file.path, file.title, len(file.content)
        self._sizes = sizes
        self._sizes_of: dict[tuple[int, ...], PassSizes] = {}
        self._tried = self._misfit = False

    def admit(
        self, shape: Sequence[int], kept: Collection[str], spec: ModelSpec, progress: Progress
    ) -> None:
        """Let a pass run, or raise.

        Parameters
        ----------
        shape
            Of the input.
        kept
            The tensors that are asked for.
        spec
            What is known of the network meanwhile.
        progress
            Followed where it is tried; may raise `Cancelled`.

        Raises
        ------
        OutOfMemoryError
            Where it would take more memory than there is, or than any network needs.
        ShapesError
            Where the network doesn't take this size.
        UntrustedError
            Where it did not end well when it was tried.
        """
        if self._tried:
            return
        shape = tuple(shape)
        sizes = self._sizes_of.get(shape)
        if sizes is None:
            try:
                sizes = self._sizes.of(shape)
            except ShapesError:
                self._misfit = True
                raise
        if sizes is None:
            self._try(spec, progress)
            return
        self._sizes_of[shape] = sizes
        refuse_large_pass(
            shape,
            sizes.total,
            sizes.least(kept),
            title=self._title,
            advice="export it for a smaller one",
        )

    def try_whole(self, spec: ModelSpec, progress: Progress) -> bool:
        """Try the network in a process of its own, where no size seemed to fit; say whether it was.

        Raises
        ------
        UntrustedError
            Where it did not end well.
        """
        if self._tried or not self._misfit:
            return False
        self._try(spec, progress)
        return True

    def _try(self, spec: ModelSpec, progress: Progress) -> None:
        told = spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        try:
            try_in_process(
                _TRIAL,
                {"path": str(self._path), "kind": "onnx", "spec": told},
                memory=limits.TRIAL_MEMORY + 3 * self._size,
                progress=progress,
            )
        except TrialError as error:
            require_trust(
                self._path,
                f"operations whose trial failed, since {error.reason}",
                trust=False,
            )
        self._tried = True
