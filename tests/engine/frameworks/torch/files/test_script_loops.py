"""Loops of TorchScript programs that are short, told by their source."""

from __future__ import annotations

import textwrap

from napari_neuroscope.engine.frameworks.torch.files.script_source import questions


def _body(text: str) -> str:
    head = "class N(Module):\n  training : bool\n  def forward(self: __torch__.N,\n    x: Tensor,\n    m: int) -> Tensor:\n"
    return head + textwrap.indent(textwrap.dedent(text).strip(), "    ") + "\n    return x\n"


def test_rounds_that_are_given_to_a_method_count() -> None:
    method = "  def inner(self: __torch__.N,\n    n: int) -> int:\n    for i in range(n):\n      pass\n    return 1\n"
    assert questions([_body("y = (self).inner(3, )") + method]) == []
    for call in ("(self).inner(torch.size(x, 0), )", "(self).inner(100000, )", "(self).inner"):
        assert "so many rounds" in questions([_body(f"y = {call}") + method])[0]
