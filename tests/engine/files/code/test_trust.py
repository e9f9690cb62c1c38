"""Trust is remembered by content, and what is loaded is what was hashed."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path

import pytest

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code.trust import (
    TrustStore,
    UntrustedError,
    digest_of,
    require_trust,
    trusted_content,
)

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and modes of POSIX")


@pytest.fixture(autouse=True)
def _own_trust(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: folder)


def test_what_is_loaded_is_what_was_hashed(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(b"good")
    TrustStore().add(hashlib.sha256(b"good").hexdigest(), "m.pt")
    with trusted_content(path, "code", trust=False) as content:
        path.write_bytes(b"evil")
        assert (content.read_bytes(), content.name) == (b"good", "m.pt")
        assert content.parent != tmp_path
    assert not content.exists()
    with pytest.raises(UntrustedError), trusted_content(path, "code", trust=False):
        pass
    with trusted_content(path, "code", trust=True) as content:
        assert content == path


def test_a_swap_after_the_look_at_the_hash_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(b"good")
    TrustStore().add(digest_of(path), "m.pt")

    def swapped(*args: object, **more: object) -> None:
        require_trust(path, "code", trust=False)
        path.write_bytes(b"evil")

    monkeypatch.setattr("napari_neuroscope.engine.files.code.trust.require_trust", swapped)
    with pytest.raises(UntrustedError) as refusal, trusted_content(path, "code", trust=False):
        pass
    assert refusal.value.sha256 == hashlib.sha256(b"evil").hexdigest()


def test_a_folder_is_copied_whole(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "v").write_bytes(b"values")
    digest = digest_of(folder)
    # As it was told from the first version on: the trust of old stands.
    expected = hashlib.sha256()
    for name, content in (("saved_model.pb", b"graph"), ("variables/v", b"values")):
        expected.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    assert digest == expected.hexdigest()
    TrustStore().add(digest, "saved")
    with trusted_content(folder, "code", trust=False) as content:
        assert digest_of(content) == digest


@posix
def test_what_lies_elsewhere_or_never_ends_is_not_hashed(tmp_path: Path) -> None:
    for name, target in (("out", tmp_path / "secret"), ("up", tmp_path), ("self", "self")):
        folder = tmp_path / f"folder-{name}"
        folder.mkdir()
        (folder / name).symlink_to(target)
        with pytest.raises(NeuroscopeError):
            digest_of(folder)
    pipe = tmp_path / "piped"
    pipe.mkdir()
    os.mkfifo(pipe / "p")
    with pytest.raises(NeuroscopeError, match="pipe"):
        digest_of(pipe)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a").write_bytes(b"a")
    (inside / "b").symlink_to("a")
    assert digest_of(inside)


def test_hashing_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").touch()
    monkeypatch.setattr(limits, "MOST_FILE", 4)
    with pytest.raises(NeuroscopeError, match="more than 4 bytes"):
        digest_of(tmp_path / "a")
    monkeypatch.setattr(limits, "MOST_FILE", 5)
    assert digest_of(tmp_path / "a") == hashlib.sha256(b"12345").hexdigest()
    monkeypatch.setattr(limits, "MOST_ENTRIES", 1)
    with pytest.raises(NeuroscopeError, match="more than 1 files"):
        digest_of(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '"x"', "null", "[" * 100_000, '{"a": 1}'])
def test_a_broken_list_of_trust_trusts_nothing(content: str, tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "trusted.json")
    store.path.write_text(content)
    assert "abc" not in store
    assert "a" not in store
    store.add("abc", "x")
    assert "abc" in store


@posix
def test_nobody_else_reads_the_list_of_trust(tmp_path: Path) -> None:
    store = TrustStore(tmp_path / "config" / "trusted.json")
    store.add("abc", "x")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    (tmp_path / "file").touch()
    with pytest.raises(NeuroscopeError, match="isn't remembered"):
        TrustStore(tmp_path / "file" / "trusted.json").add("abc", "x")


def test_words_of_a_file_are_plain_and_bounded() -> None:
    words = "\x1b[31m\u202e<b>" + "x" * 5000
    refusal = UntrustedError(Path("n" * 200 + ".pt"), "f" * 64, words)
    assert len(refusal.would_run) == 500
    assert len(str(refusal)) < 1000
    assert "f" * 64 in str(refusal)
    assert str(refusal).isprintable()
