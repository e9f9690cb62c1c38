"""Arrays between PyTorch and TensorFlow."""

from __future__ import annotations

import pytest
import torch

from napari_neuroscope.engine.frameworks.keras.arrays import to_tensorflow, to_torch

pytest.importorskip("tensorflow", reason="TensorFlow is not installed")


import tensorflow as tf


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_arrays_are_handed_over(dtype: torch.dtype) -> None:
    """Memory that is not aligned would end the process."""
    whole = torch.arange(64, dtype=dtype)
    for values in (whole, whole[1:], whole[::2], whole.reshape(8, 8).T):
        there = to_tensorflow(values)
        assert torch.equal(to_torch(tf.nn.relu(there), torch.device("cpu")), values)
    assert to_torch(to_tensorflow(whole), torch.device("cpu")).data_ptr() == whole.data_ptr()
