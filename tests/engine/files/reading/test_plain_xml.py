"""XML of strangers is plain, and bounded."""

from __future__ import annotations

import pytest

from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.plain_data import PlainDataError
from napari_neuroscope.engine.files.reading.plain_xml import parse_xml


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<a><b/></a>", ""), ("<a>", "no XML"), ("", "no XML"), ("<a>\x01</a>", "no XML"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "document type"),
        ("<!DOCTYPE a SYSTEM 'http://127.0.0.1/a.dtd'><a/>", "document type"),
        ("<a>" * 101 + "</a>" * 101, "nested more than"), ("<a>" + "<b/>" * 60 + "</a>", "more than 50"),
    ],
)  # fmt: skip
def test_xml_is_plain(text: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_NODES", 50 if "50" in why else 1000)
    if not why:
        assert parse_xml(text).tag == "a"
        return
    with pytest.raises(PlainDataError, match=why):
        parse_xml(text)
