"""The weights of a Keras model: whether they changed, and a hash of them for the record."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils import dlpack

from napari_neuroscope.engine.frameworks.common import digest_of_weights

_ROW = 64
# Fixed, and unlike for each place in a row, so that values that change places are noticed too.
_FACTORS = np.cos(np.arange(1, _ROW + 1, dtype=np.float32) ** np.float32(1.5)) + np.float32(1.5)


def named_weights(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of all weights, in order, by names of which each is there once."""
    for number, weight in enumerate(model.weights):
        yield f"{number}:{weight.path}", weight.value.read_value()


def fingerprints(model: Any) -> Hashable:
    """Return what changes with the values, at the cost of reading them once."""
    return tuple(_fingerprint(value) for _, value in named_weights(model))


def digest_of(model: Any) -> str:
    """Return a hash of all weights."""
    return digest_of_weights(
        (f"{name}:{value.dtype.name}:{tuple(value.shape)}", value.numpy())
        for name, value in named_weights(model)
    )


def _fingerprint(value: Any) -> int:
    """Return a number that changes with the values: one product for each row of 64 of them."""
    import tensorflow as tf

    if not value.dtype.is_floating:
        return hash(value.numpy().tobytes())
    if "GPU" in value.device:
        flat = tf.cast(tf.reshape(value, [-1]), tf.float32)
        whole = int(flat.shape[0]) // _ROW * _ROW
        rows = tf.linalg.matvec(tf.reshape(flat[:whole], [-1, _ROW]), tf.constant(_FACTORS))
        return hash((rows.numpy().tobytes(), flat[whole:].numpy().tobytes()))
    plain = dlpack.from_dlpack(tf.experimental.dlpack.to_dlpack(value))
    numbers = plain.reshape(-1).float()
    whole = numbers.numel() // _ROW * _ROW
    products = torch.mv(numbers[:whole].reshape(-1, _ROW), torch.from_numpy(_FACTORS))
    return hash((products.numpy().tobytes(), numbers[whole:].numpy().tobytes()))
