"""Trust in a package is in all of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

import napari_neuroscope as ns
from napari_neuroscope.engine.files.code.factory import build
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError


def test_trust_in_a_package_is_in_all_of_its_files(
    here: Path, store: TrustStore, marker: Path
) -> None:
    package = here / "lab"
    package.mkdir()
    (package / "__init__.py").touch()
    net, weights = package / "net.py", package / "weights.bin"
    net.write_text("def net(): return 'as it was'")
    weights.write_bytes(b"1")

    def asked(name: str = "lab.net:net") -> str:
        with pytest.raises(UntrustedError) as refusal:
            build(name, None, trust=False)
        return refusal.value.sha256

    first = asked()
    # Another empty package is another package.
    (here / "other").mkdir()
    (here / "other" / "__init__.py").touch()
    assert len({first, asked("other:net")}) == 2
    weights.write_bytes(b"2")
    second = asked()
    net.write_text("def net(): return 'as trusted'")
    third = asked()
    (package / "more.py").touch()
    fourth = asked()
    assert len({first, second, third, fourth}) == 4
    store.add(fourth, "lab")
    # What Python caches beside it runs never, and changes nothing.
    (package / "__pycache__").mkdir()
    assert build("lab.net:net", None, trust=False) == "as trusted"
    # Of what is written since, nothing runs.
    (package / "more.py").write_text(f"open({str(marker)!r}, 'w')")
    (package / "late.py").write_text(f"open({str(marker)!r}, 'w')")
    import lab.more  # type: ignore[import-not-found]

    assert lab.more.__file__ == str(package / "more.py")
    with pytest.raises(ImportError, match="has changed"):
        import lab.late  # type: ignore[import-not-found]
    assert not marker.exists()
    asked()


def test_a_package_that_is_too_large_to_look_through(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "lab").mkdir()
    for number in range(4):
        (here / "lab" / f"m{number}.py").write_text("x = 1")
    for limit, most in (("MOST_ENTRIES", 3), ("MOST_CODE", 12)):
        with monkeypatch.context() as patch:
            patch.setattr(f"napari_neuroscope.engine.files.limits.{limit}", most)
            with pytest.raises(ns.NeuroscopeError, match=r"look(ed)? through"):
                build("lab.m1:x", None, trust=False)
