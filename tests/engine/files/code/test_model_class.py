"""Classes of networks are built on trial, and not where they reach out or fill the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from named_factories import UNET, named
from napari_neuroscope.engine.files.code.factory import build
from napari_neuroscope.engine.files.code.model_class import (
    NotTriedError,
    build_on_trial,
    tried_class,
)
from napari_neuroscope.engine.files.code.trust import UntrustedError


def test_both_ends_of_long_arguments_are_shown() -> None:
    command = f"echo harmless {' ' * 5000}; rm -rf ~"
    with pytest.raises(UntrustedError) as refusal:
        build(named("os:system"), {"command": command}, trust=False)
    assert "echo harmless" in refusal.value.would_run
    assert "rm -rf" in refusal.value.would_run
    # One does not hide behind others.
    many = {f"a{n}": "harmless" * 999 for n in range(9)} | {"command": command}
    for arguments, last in ((many, "-rf ~'}"), ({**many, "more": 1}, ", and 1 more}")):
        with pytest.raises(UntrustedError) as refusal:
            build(named("os:system"), arguments, trust=False)
        assert refusal.value.would_run.endswith(last)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("torch.nn:Linear", {"in_features": 10**9, "out_features": 10**9}, "it needs more memory"),
        ("torch.nn:Transformer", {"num_encoder_layers": 10**7, "d_model": 8}, "it (took|ran)"),
    ],
)
def test_a_class_that_would_fill_the_machine_is_asked(
    name: str, arguments: Any, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_neuroscope.engine.files.limits.TRIAL_SECONDS", 3.0)
    monkeypatch.setattr("napari_neuroscope.engine.files.limits.TRIAL_MEMORY", 200 << 20)
    with pytest.raises(UntrustedError, match=f"when it was tried, {says}"):
        build(named(name), arguments, trust=False)


def test_a_class_that_reaches_out_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that downloads weights, or opens a file that its arguments name."""
    from napari_neuroscope.samples import architectures

    def reaching(*, way: str, **_: Any) -> None:
        if way == "file":
            open("/etc/hostname").close()
        elif way == "net":
            import socket

            socket.create_connection(("127.0.0.1", 9), timeout=1)
        elif way == "write":
            Path("made").write_text("x")
        elif way == "program":
            import os

            os.system("touch made")

    monkeypatch.setattr(architectures.UNet, "__init__", lambda self, **more: reaching(**more))
    for way in ("file", "net", "write", "program"):
        told = build_on_trial({"name": UNET, "arguments": {"way": way}})
        assert told["reached"], way
    assert build_on_trial({"name": UNET, "arguments": {"way": "none"}})["reached"] == ""
    assert not Path("made").exists()
    monkeypatch.setattr(
        "napari_neuroscope.engine.files.code.model_class.try_in_process",
        lambda _, job, **__: build_on_trial(job),
    )
    with pytest.raises(NotTriedError, match="reached for the file /etc/hostname"):
        tried_class(UNET, {"way": "file"})
