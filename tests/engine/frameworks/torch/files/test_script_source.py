"""The source of TorchScript programs is looked through before any of it runs."""

from __future__ import annotations

import textwrap

import pytest

from napari_neuroscope.engine.frameworks.torch.files.script_source import UNREADABLE, questions


def _body(text: str) -> str:
    head = "class N(Module):\n  training : bool\n  def forward(self: __torch__.N,\n    x: Tensor,\n    m: int) -> Tensor:\n"
    return head + textwrap.indent(textwrap.dedent(text).strip(), "    ") + "\n    return x\n"


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("y = torch.relu(x)", ""),
        ("y = ops.prim.NumToTensor(3)", ""),
        ("y = (x).relu()", ""),
        ('y = getattr(self, "0")', ""),
        ('y = "torch.save(x)"', ""),
        ("f = __torch__.torch.nn.functional.relu\ny = f(x, )", ""),
        ('torch.save(x, "f")', "“torch.save”"),
        ('y = torch.from_file("f")', "“torch.from_file”"),
        ('(x).save("f")', "“save”"),
        ('(x.\n  save)("f")', "“save”"),
        ('f = (x).save\nf("f")', "“save”"),
        ('getattr(x, "save")("f")', "“save”"),
        ('getattr(x, "sav\\145")("f")', UNREADABLE),
        ('ops.aten.save(x, "f")', "“ops.aten.save”"),
        ('ops.\n aten.save(x, "f")', "“ops"),
        ("ops.c10d.barrier(x)", "“ops.c10d.barrier”"),
        ("ops.prim.PythonOp(x)", "“ops.prim.PythonOp”"),
        ('t = torch\nt.save(x, "f")', "“torch.t”"),
        ('(torch).save(x, "f")', "“torch"),
        ('torch.autograd.save(x, "f")', "“torch.autograd”"),
        ('__torch__ = x\n__torch__.save("f")', "“__torch__”"),
        ('__torch__.Color.RED.value.save("f")', "“__torch__.Color.RED.value.save”"),
        ("y = __torch__.torch.classes.aoti.Runner", "“torch.classes.aoti.Runner”"),
        ("y = fork(x)", "“fork”"),
        ("f = fork", "“fork”"),
        ('open("f")', "“open”"),
        ("(x).unheard_of()", "“unheard_of”"),
        ("y = 1 # a comment", UNREADABLE),
        ("y = 1; z = 2", UNREADABLE),
        ('y = """torch"""', UNREADABLE),
        ("y = x \\\n + 1", UNREADABLE),
        ("y = torch.ѕave(x)", UNREADABLE),
        ("y = (x))", UNREADABLE),
        ("y = x)\n(z = x", UNREADABLE),
        ('y = "\\033[2J"', UNREADABLE),
        ("while True:\n  y = 1", "may never end"),
        ("for i in range(10):\n  y = 1", ""),
        ("for i in range(torch.sub(torch.dim(x), 2)):\n  y = 1", ""),
        ("for i in range(torch.len([x, (x), torch.relu(x)])):\n  y = 1", ""),
        ("for i in range(torch.__range_length(0, torch.len([x]), 1)):\n  y = 1", ""),
        ("n = torch.len([x])\nfor i in range(n):\n  y = 1", ""),
        ("n = ops.prim.min(torch.dim(x), 3)\nfor i in range(n):\n  y = 1", ""),
        ("for i in range(10001):\n  y = 1", "so many rounds"),
        ("for i in range(torch.size(x, 0)):\n  y = 1", "so many rounds"),
        ("for i in range(torch.mul(9999, 9999)):\n  y = 1", "so many rounds"),
        ("for i in range(m):\n  y = 1", ""),
        ("for i in range(m):\n  y = 1\ny = (self).forward(x, 99999)", "so many rounds"),
        ('for i in range(m):\n  y = 1\ny = getattr(self, "forward")(x, 9)', "so many rounds"),
        ("for i in range(self.n):\n  y = 1", "so many rounds"),
        ("for i in range(int(torch.sum(x))):\n  y = 1", "so many rounds"),
        ("for i in [1, 2]:\n  y = 1", "so many rounds"),
        ("n = 3\nfor i in range(n):\n  y = 1\nn = torch.size(x, 0)", "so many rounds"),
        ("n = 3\nn += 1000000000\nfor i in range(n):\n  y = 1", "so many rounds"),
        ("n = 3\nn, y, = f(x)\nfor i in range(n):\n  y = 1", "so many rounds"),
        ("n = 3\nn = torch.add(n, n)\nfor i in range(n):\n  y = 1", "so many rounds"),
    ],
)  # fmt: skip
def test_source_is_looked_through(body: str, asked: str) -> None:
    found = questions([_body(body)])
    assert any(asked in one for one in found) if asked else not found, found
