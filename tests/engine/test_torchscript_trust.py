"""TorchScript: what opens without a question, what is asked, and what is tried first."""

from __future__ import annotations

import io
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_neuroscope.engine.errors import NeuroscopeError
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.files.code import trial
from napari_neuroscope.engine.files.code.trust import TrustStore, UntrustedError
from napari_neuroscope.engine.frameworks.torch.files import script as torch_script
from napari_neuroscope.engine.frameworks.torch.files import script_source as torch_script_source
from napari_neuroscope.engine.frameworks.torch.files.script import load_torchscript
from napari_neuroscope.engine.frameworks.torch.files.script_operators import ATEN
from napari_neuroscope.engine.frameworks.torch.files.script_source import UNREADABLE, questions
from napari_neuroscope.engine.frameworks.torch.files.script_trial import try_torchscript
from napari_neuroscope.samples.architectures import CellClassifier
from napari_neuroscope.samples.architectures import UNet as ShippedUNet
from networks import ResNet

pytestmark = pytest.mark.filterwarnings(
    "ignore::torch.jit.TracerWarning", "ignore:Default grid_sample"
)


@pytest.fixture(autouse=True)
def _own_trust(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_: folder)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        own = nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.encoder(own + self.attention(tokens, tokens, tokens)[0]).mean(1)


class Resized(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        size = [x.shape[2] * 2, x.shape[3] * 2]
        larger = nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
        padded = nn.functional.pad(larger, [1, 1, 1, 1], mode="reflect")
        grid = nn.functional.affine_grid(torch.eye(2, 3)[None], [1, 8, 4, 4])
        parts = torch.split(nn.functional.grid_sample(padded, grid), 4, 1)
        with torch.no_grad():
            scale = torch.stack([part.amax() for part in parts]).softmax(0)
        return torch.cat(list(parts), 1) * scale[0] + torch.einsum("bchw,bchw->b", x, x)


_MODULES: list[nn.Module] = [
    ShippedUNet(classes=3), CellClassifier(), ResNet(), Attention(), Resized(),
    nn.ConvTranspose2d(8, 4, 3, stride=2, output_padding=1),
    nn.Sequential(nn.Conv2d(8, 8, 3, padding="same", padding_mode="circular"), nn.BatchNorm2d(8),
                  nn.InstanceNorm2d(8), nn.GroupNorm(2, 8), nn.LocalResponseNorm(2),
                  nn.MaxPool2d(2), nn.AvgPool2d(2), nn.LPPool2d(2, 2), nn.Dropout2d(),
                  nn.AdaptiveAvgPool2d(2), nn.AdaptiveMaxPool2d(1)),
    nn.Sequential(nn.ReLU(), nn.LeakyReLU(), nn.ELU(), nn.GELU(), nn.SiLU(), nn.Mish(), nn.PReLU(),
                  nn.Hardswish(), nn.Softplus(), nn.Tanh(), nn.Sigmoid(), nn.Softmax2d()),
    nn.Sequential(nn.Upsample(scale_factor=2), nn.PixelShuffle(2), nn.PixelUnshuffle(2),
                  nn.Unfold(3), nn.Flatten(), nn.LogSoftmax(1)),
]  # fmt: skip
_EXAMPLES = {ShippedUNet: (1, 3, 16, 16), CellClassifier: (1, 3, 32, 32), ResNet: (1, 3, 16, 16)}


def _saved() -> Iterator[tuple[torch.jit.ScriptModule, bytes]]:
    for module in _MODULES:
        example = torch.rand(_EXAMPLES.get(type(module), (1, 8, 8, 8)))
        for made in (
            torch.jit.script(module.eval()),
            torch.jit.trace(module.eval(), example, check_trace=False),
        ):
            file = io.BytesIO()
            torch.jit.save(made, file)
            yield made, file.getvalue()


def _sources(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [archive.read(n).decode() for n in archive.namelist() if n.endswith(".py")]


def _operators(scripted: torch.jit.ScriptModule) -> set[str]:
    """Return the operators of a program, as PyTorch itself tells them."""
    kinds: set[str] = set()

    def walk(block: Any) -> None:
        for node in block.nodes():
            kinds.add(node.kind())
            for inner in node.blocks():
                walk(inner)

    graph = scripted.inlined_graph.copy()
    walk(graph)
    return {kind.removeprefix("aten::") for kind in kinds if kind.startswith("aten::")}


# They are written as signs of the language: ``x[0]``, ``int(x)``.
_SIGNS = {"__getitem__", "Int", "Float", "Bool", "format_"}


def test_networks_open_without_a_question_and_no_operator_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_for = set[str]()
    for scripted, content in _saved():
        sources = _sources(content)
        assert questions(sources) == []
        # Whatever PyTorch says that it uses is asked about where it is not allowed.
        for name in sorted(_operators(scripted) - looked_for - _SIGNS):
            looked_for.add(name)
            monkeypatch.setattr(torch_script_source, "ATEN", ATEN - {name})
            allowed = {**torch_script_source.NAMESPACES, "aten": ATEN - {name}}
            monkeypatch.setattr(torch_script_source, "NAMESPACES", allowed)
            assert any(f"{name}”" in asked for asked in questions(sources)), name
        monkeypatch.undo()
    assert len(looked_for) > 80


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


def test_rounds_that_are_given_to_a_method_count() -> None:
    method = "  def inner(self: __torch__.N,\n    n: int) -> int:\n    for i in range(n):\n      pass\n    return 1\n"
    assert questions([_body("y = (self).inner(3, )") + method]) == []
    for call in ("(self).inner(torch.size(x, 0), )", "(self).inner(100000, )", "(self).inner"):
        assert "so many rounds" in questions([_body(f"y = {call}") + method])[0]


def _written(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module.eval()).save(str(path))
    return path


def test_it_is_tried_once_and_opened_as_it_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    kept = trial.try_in_process

    def counted(call: str, argument: Any, **more: Any) -> Any:
        tried.append(argument["path"])
        # Whoever changes the file now changes nothing.
        path.write_bytes(b"nothing")
        return kept(call, argument, **more)

    monkeypatch.setattr(torch_script, "try_in_process", counted)
    monkeypatch.setattr(torch_script, "_tried", set())
    path = _written(nn.Conv2d(3, 2, 1), tmp_path / "m.pt")
    content, x = path.read_bytes(), torch.rand(1, 3, 4, 4)
    expected = torch.jit.load(path)(x)
    assert torch.equal(load_torchscript(path, trust=False)(x), expected)
    assert len(tried) == 1
    assert not Path(tried[0]).exists()
    path.write_bytes(content)
    assert torch.equal(load_torchscript(path, trust=False)(x), expected)
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (trial.TrialError("it ran for more than 10 seconds"), "it ran for more than 10 seconds"),
        (trial.TrialError("its process crashed (signal 11)"), "its process crashed"),
        ({"greedy": "it needs more memory"}, "in its trial: it needs more memory"),
        ({"broken": "no such operator"}, "broken TorchScript file .no such operator."),
    ],
)
def test_what_its_trial_shows_is_told(
    answer: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered(*_: Any, **__: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(torch_script, "try_in_process", answered)
    monkeypatch.setattr(torch_script, "_tried", set())
    path = _written(nn.Conv2d(3, 2, 1), tmp_path / "m.pt")
    with pytest.raises(NeuroscopeError, match=says) as refusal:
        load_torchscript(path, trust=False)
    assert isinstance(refusal.value, UntrustedError) is ("broken" not in says)
    if isinstance(refusal.value, UntrustedError):
        # Who trusts it opens it without another trial.
        TrustStore().add(refusal.value.sha256, path.name)
        monkeypatch.delattr(torch_script, "try_in_process")
        assert load_torchscript(path, trust=False).weight.shape == (2, 3, 1, 1)


class Looping(nn.Module):
    __constants__ = ("rounds",)

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds

    def inner(self, x: Tensor) -> Tensor:
        for _ in range(5000):
            x = x + 1
        return x

    def forward(self, x: Tensor) -> Tensor:
        # No trial sees what happens for one image alone.
        if x.sum() == 12345:
            for _ in range(self.rounds):
                x = self.inner(x)
        return x


@pytest.mark.parametrize(("rounds", "says"), [(100, {}), (9000, {"greedy"})])
def test_rounds_of_loops_in_each_other_are_counted(rounds: int, says: Any, tmp_path: Path) -> None:
    path = _written(Looping(rounds), tmp_path / "m.pt")
    threads = torch.get_num_threads()
    assert set(try_torchscript({"path": str(path), "seconds": 10.0})) == set(says)
    torch.set_num_threads(threads)


def test_it_is_asked_about_what_the_list_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _written(nn.Conv2d(3, 2, 1), tmp_path / "m.pt")
    monkeypatch.setattr(limits, "MOST_SOURCE", 10)
    with pytest.raises(UntrustedError, match="too long to be looked through"):
        load_torchscript(path, trust=False)
    monkeypatch.undo()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("m/model.json", "{}")
    with pytest.raises(UntrustedError, match=r"PyTorch 1\.0"):
        load_torchscript(path, trust=False)


class Stateful(nn.Module):
    @torch.jit.export
    def __getstate__(self) -> bool:
        return True

    @torch.jit.export
    def __setstate__(self, state: bool) -> None:
        self.training = state

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_loading_leaves_gradients_as_they_are(tmp_path: Path) -> None:
    old = b"self.training = state\n"
    _written(Stateful(), tmp_path / "good.pt")
    with (
        zipfile.ZipFile(tmp_path / "good.pt") as good,
        zipfile.ZipFile(tmp_path / "m.pt", "w") as bad,
    ):
        for name in good.namelist():
            bad.writestr(
                name, good.read(name).replace(old, b"torch.set_grad_enabled(False)\n    " + old)
            )
    with torch.enable_grad():
        torch.jit.load(tmp_path / "m.pt")
        assert not torch.is_grad_enabled()
    load_torchscript(tmp_path / "m.pt", trust=False)
    assert torch.is_grad_enabled()
