"""What stops a whole batch: nothing can be written any more."""

from __future__ import annotations

import errno

from napari_neuroscope.engine.errors import NeuroscopeError

# What is wrong with one name or one file alone; all else is wrong with the place.
_OF_ONE_FILE = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOMEM, errno.EFBIG)


class OutputError(NeuroscopeError):
    """Nothing can be written any more, so that the whole batch stops."""


def stops_the_batch(error: BaseException) -> bool:
    """Whether an error of writing is the place's, such as a full disk, and not of one file."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause.errno not in _OF_ONE_FILE
        cause = cause.__cause__ or cause.__context__
    return False
