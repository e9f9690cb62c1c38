"""XML of strangers: elements and their words, of a bounded number and depth, without entities."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.reading.plain_data import PlainDataError


def parse_xml(text: str) -> ElementTree.Element:
    """Return the root of an XML text.

    A document type, which may define entities that stand for other files or expand without end, is
    refused before anything of it is looked at.

    Raises
    ------
    PlainDataError
        Where it is no XML, has a document type, or is larger or deeper than the limits.
    """
    if len(text) > limits.MOST_OME_XML:
        raise PlainDataError(f"it has more than {limits.MOST_OME_XML:,} characters")
    parser = ElementTree.XMLParser(target=_CountingBuilder())
    try:
        parser.feed(text)
        return parser.close()
    except ElementTree.ParseError as error:
        raise PlainDataError(f"it is no XML: {str(error)[:200]}") from error
    except (ValueError, AssertionError) as error:
        if isinstance(error, PlainDataError):
            raise
        raise PlainDataError(f"it is no XML: {str(error)[:200] or 'it ends early'}") from error


class DocumentTypeError(PlainDataError):
    """An XML text that defines entities of its own."""


class _CountingBuilder(ElementTree.TreeBuilder):
    """Builds elements while they are few enough."""

    def __init__(self) -> None:
        super().__init__()
        self._count = self._depth = 0

    def doctype(self, name: Any, public: Any, system: Any) -> None:
        raise DocumentTypeError("it defines a document type, which no such text needs")

    def start(self, tag: Any, attributes: Any) -> ElementTree.Element:
        self._count += 1
        self._depth += 1
        if self._count > limits.MOST_NODES:
            raise PlainDataError(f"it holds more than {limits.MOST_NODES:,} elements")
        if self._depth > limits.MOST_DEPTH:
            raise PlainDataError(f"it is nested more than {limits.MOST_DEPTH} deep")
        return super().start(tag, attributes)

    def end(self, tag: Any) -> ElementTree.Element:
        self._depth -= 1
        return super().end(tag)
