"""The tooltips of methods and their options: the short forms of their cards."""

from __future__ import annotations

import functools
import re

import pytest

import napari_neuroscope as ns
from napari_neuroscope.widgets.parts.method_tips import method_tip
from napari_neuroscope.widgets.parts.pickers import options_widget


def plain(html: str) -> str:
    """Return HTML's text as the docstrings have it, with none of its marks."""
    text = re.sub("<.*?>", " ", html)
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, sign)
    return " ".join(text.split())


@pytest.mark.parametrize("name", ns.methods)
def test_each_method_tells_its_card(name: str) -> None:
    method = ns.methods[name]
    tip = plain(method_tip(method, "It has no gradients."))
    assert tip.startswith("It has no gradients.")
    for part in (method.summary, method.caution, method.reference):
        assert part.replace("``", "") in tip
    assert [w for w in re.findall(r"\w+", method.cost) if w not in tip] == []
    assert "``" not in tip


def test_signs_of_mathematics_stay_text() -> None:
    @ns.method("Less", reference="A & B")
    def less(trace, target, layer):  # type: ignore[no-untyped-def]
        """Where a < b & ``c`` > d."""

    assert method_tip(less) == (
        "<p>Where a &lt; b &amp; <i>c</i> &gt; d.</p><p><b>Cost:</b> not known</p>"
        "<p><i>A &amp; B</i></p>"
    )


@pytest.mark.parametrize("name", [name for name, m in ns.methods.items() if m.options])
def test_each_option_tells_its_meaning(name: str, qtbot) -> None:
    method = ns.methods[name]
    container = options_widget(method, lambda options: None)
    for widget in container:
        option = method.options[widget.name]
        # What is offered in words is not told by its code.
        codes = (f" ({code})" for code in option.words)
        meaning = functools.reduce(lambda text, code: text.replace(code, ""), codes, option.meaning)
        assert plain(widget.tooltip) == meaning
    shown = {widget.name for widget in container}
    # A list of classes is chosen elsewhere in the dock.
    assert set(method.options) - shown <= {"classes"}
