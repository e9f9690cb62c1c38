"""Processes of this machine."""

from __future__ import annotations

import pytest

from napari_neuroscope.engine.batch.local_cluster import environment


def test_each_worker_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [environment(n, "auto")["CUDA_VISIBLE_DEVICES"] for n in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [environment(n, "cuda")["CUDA_VISIBLE_DEVICES"] for n in range(2)] == ["5", "7"]
    assert environment(0, "cpu") == {}
    assert environment(0, "cuda:1") == {}
