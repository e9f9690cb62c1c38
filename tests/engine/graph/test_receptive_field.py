"""Receptive fields, worked out by hand and found by the gradient."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import napari_neuroscope as ns
from graphs import skipping_graph
from napari_neuroscope.engine.graph.layer_graph import LayerGraph
from napari_neuroscope.engine.graph.receptive_field import box, box_on, in_words, receptive_field
from networks import UNet, Vgg


class Functional(nn.Module):
    """Functions in place of modules, and branches of different reach."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3, 3, 3))
        self.up = nn.Parameter(torch.randn(3, 3, 2, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.conv2d(x, self.weight, stride=2, padding=1)
        wide = functional.conv2d(x, self.weight, padding=3, dilation=3)
        x = torch.cat([functional.max_pool2d(x, 3, 1, 1), wide], 1)[:, :3].flip(2)
        return functional.conv_transpose2d(x, self.up, stride=2)


class Branches(Functional):
    def forward(self, x: Tensor) -> Tensor:
        x = functional.conv2d(x, self.weight, stride=2, padding=1)
        wide = functional.conv2d(x, self.weight, padding=3, dilation=3)
        x = functional.avg_pool2d(x, 3, 1, 1) + wide
        return functional.conv_transpose2d(x, self.up, stride=2)


class Gated(nn.Module):
    """A gate of the whole image, as of squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return torch.sigmoid(self.gate(self.pool(x))) * x


def network(model: nn.Module, size: int = 32) -> tuple[nn.Module, LayerGraph]:
    """Return a model whose weights are all above zero, so that nothing cancels, and its layers."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(torch.rand_like(value) * 0.2 + 0.05 if "bias" not in name else value * 0)
    spec = {"task": "segmentation", "input": {"size": [size, size]}}
    wrapped = ns.wrap(model.eval(), spec, device="cpu")
    return model, wrapped.layers


def support(model: nn.Module, layer: str, unit: tuple[int, int], size: int) -> tuple:
    """Return the box of the input's pixels that a unit's gradient is not zero for."""
    held: list[Tensor] = []
    hook = dict(model.named_modules())[layer].register_forward_hook(
        lambda module, args, output: held.append(output)
    )
    x = torch.rand(1, 3, size, size).requires_grad_()
    model(x)
    hook.remove()
    held[0][0, :, unit[0], unit[1]].sum().backward()
    seen = x.grad[0].abs().sum(0) > 0
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    if not len(rows):
        return ()  # nothing but padding
    return tuple((int(at[0]), int(at[-1]) + 1) for at in (rows, columns))


def chain(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


HAND = {
    # Two 3 × 3, a pooling, another 3 × 3: 5, then 6 a step of 2, then 10.
    "vgg": (chain(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1),
                  nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1)), "4", 10, 2, 0.5),
    # ResNet's beginning: 7 a step of 2, pooled by 3 a step of 2: 11 a step of 4, first centre 0.
    "resnet": (chain(nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1)), "1", 11, 4, 0.0),
    "dilated": (chain(nn.Conv2d(3, 4, 3, dilation=4), nn.Conv2d(4, 4, 3)), "1", 11, 1, 5.0),
    "strides without padding": (chain(nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 4, 2, 2)), "1", 4, 4, 1.5),
    "up again": (chain(nn.AvgPool2d(4), nn.Upsample(scale_factor=4)), "1", 4, 1, 1.5),
    # Between two means of four pixels each: 8.
    "up linearly": (chain(nn.AvgPool2d(4), nn.Upsample(scale_factor=4, mode="bilinear")), "1",
                    8, 1, -0.5),
    "transposed": (chain(nn.AvgPool2d(2), nn.ConvTranspose2d(3, 4, 2, 2)), "1", 2, 1, 0.5),
    "shuffled": (chain(nn.Conv2d(3, 8, 4, 4), nn.PixelShuffle(2)), "1", 4, 2, 1.5),
    "one by one": (chain(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GELU()), "2", 1, 1, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("case", HAND)
def test_by_hand(case: str) -> None:
    model, layer, size, stride, offset = HAND[case]
    _, graph = network(model)
    field = receptive_field(graph, layer)
    assert field.size == (size, size)
    assert field.stride == (Fraction(stride),) * 2
    assert field.offset == (offset, offset)


GRADIENT = {
    "vgg": lambda: chain(*list(Vgg().children())[:1]),
    "unet": UNet,
    "resnet": lambda: chain(nn.Conv2d(3, 4, 7, 2, 3), nn.MaxPool2d(3, 2, 1, ceil_mode=True),
                            nn.Conv2d(4, 4, 3, 2, 1)),
    "odd": lambda: chain(nn.Conv2d(3, 4, (5, 2), (3, 1), (0, 1), dilation=(1, 2)), nn.Conv2d(4, 4, 3, 2)),
    "same": lambda: chain(nn.Conv2d(3, 4, 4, padding="same"), nn.Conv2d(4, 4, 5, padding="valid")),
    "transposed": lambda: chain(nn.Conv2d(3, 4, 3, 2, 1), nn.ConvTranspose2d(4, 4, 3, 2, 1, 1)),
    "transposed with gaps": lambda: chain(nn.AvgPool2d(4), nn.ConvTranspose2d(3, 4, 4, 3, 1)),
    "linear": lambda: chain(nn.AvgPool2d(4), nn.Upsample(scale_factor=2, mode="bilinear"),
                            nn.Conv2d(3, 4, 3, padding=1)),
    "corners": lambda: chain(nn.AvgPool2d(4), nn.Upsample((29, 29), mode="bilinear", align_corners=True)),
    "adaptive": lambda: chain(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(7)),
    "padded": lambda: chain(nn.ZeroPad2d((1, 3, 2, 0)), nn.Conv2d(3, 4, 3, 2)),
    "unshuffled": lambda: chain(nn.Conv2d(3, 2, 1), nn.PixelUnshuffle(2), nn.Conv2d(8, 4, 3, padding=1)),
    "normalised": lambda: chain(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU()),
    "gated": Gated,
}  # fmt: skip


@pytest.mark.parametrize("case", GRADIENT)
def test_the_box_is_the_support_of_the_gradient(case: str) -> None:
    size = 32
    model, graph = network(GRADIENT[case](), size)
    modules = dict(model.named_modules())
    tried = 0
    for name in graph:
        if name not in modules or not graph.has_positions(name) or graph[name].kind == "activation":
            continue
        rows, columns = graph[name].output_shape[1:]
        for unit in [(0, 0), (rows - 1, columns - 1), (rows // 2, columns // 3), (1, columns - 2)]:
            found, seen = box(graph, name, unit), support(model, name, unit, size)
            if not seen:
                continue
            if any("max_pool" in n or "MaxPool" in graph[n].operation for n in graph):
                # A maximum lets the gradient of one of its units through.
                assert all(a <= c and d <= b for (a, b), (c, d) in zip(found, seen, strict=True))
            else:
                assert found == seen, (name, unit)
            tried += 1
    assert tried


@pytest.mark.parametrize("unit", [(0, 0), (15, 15), (7, 20), (31, 31)])
def test_functions_and_branches(unit: tuple[int, int]) -> None:
    model, graph = network(Branches())
    x = torch.rand(1, 3, 32, 32).requires_grad_()
    model(x)[0, :, unit[0], unit[1]].sum().backward()
    seen = x.grad[0].abs().sum(0) > 0
    last = list(graph)[-1]
    expected = tuple((int(at.min()), int(at.max()) + 1) for at in seen.nonzero().T)
    assert box(graph, last, unit) == expected
    # The wide branch decides: a 3 × 3 seven apart at a step of two, each of it 3 wide.
    assert receptive_field(graph, last).size == (15, 15)
    assert receptive_field(graph, last).stride == (1, 1)


def test_what_is_not_known_is_said() -> None:
    _, graph = network(Functional())
    last = list(graph)[-1]
    with pytest.raises(ns.NeuroscopeError, match=r"“conv_transpose2d” .* is not known"):
        receptive_field(graph, last)
    assert receptive_field(graph, "conv2d_2").size == (15, 15)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(3, 4, 3, padding="same", padding_mode="circular"),
        nn.Conv2d(3, 4, 3, padding=1, dilation=2, padding_mode="replicate"),
        nn.ReflectionPad2d(2),
    ],
)
def test_borders_that_show_the_image_again_are_not_known(layer: nn.Module) -> None:
    _, graph = network(chain(nn.Conv2d(3, 3, 1), layer))
    with pytest.raises(ns.NeuroscopeError, match="is not known"):
        box(graph, "1", (0, 0))


def test_an_input_of_another_size() -> None:
    _, graph = network(chain(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1)))
    assert box_on(graph, "1", (4, 24), (40, 50)) == ((5, 12), (45, 50))
    _, graph = network(chain(nn.AvgPool2d(4), nn.Upsample(scale_factor=4, mode="bilinear")))
    assert box_on(graph, "1", (4, 4), (32, 32)) == box(graph, "1", (4, 4))
    with pytest.raises(ns.NeuroscopeError, match="“1” resamples"):
        box_on(graph, "1", (4, 4), (40, 48))


def test_a_minimum_along_an_axis_sees_along_it() -> None:
    _, graph = network(chain(nn.Conv2d(3, 4, 1), nn.Softmin(dim=2)))
    assert box(graph, "1", (3, 3)) == ((0, 32), (0, 32))


MOVING = {
    "cut": lambda x: x[:, :, 3:, 3:],
    "thinned": lambda x: x[:, :, ::2, ::2],
    "flipped": lambda x: x.flip(2),
    "rolled": lambda x: torch.roll(x, 3, 3),
    "turned": lambda x: x.mT,
    "transposed": lambda x: x.transpose(2, 3),
    "cumulated": lambda x: x.cumsum(2),
}


class Moved(nn.Module):
    """Does something to the image, or to a layer's output, that is no layer."""

    def __init__(self, move: str = "flipped", first: bool = True) -> None:
        super().__init__()
        self.move, self.first = MOVING[move], first
        self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(self.move(x)) if self.first else self.move(self.a(x)))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("move", MOVING)
def test_positions_that_are_moved_are_not_known(move: str, first: bool) -> None:
    _, graph = network(Moved(move, first))
    with pytest.raises(ns.NeuroscopeError, match="is not known"):
        box(graph, "b", (3, 3))


class Scaled(nn.Module):
    """Normalises the image by arithmetic, and joins it to what it sees further."""

    def __init__(self) -> None:
        super().__init__()
        self.far, self.head = nn.Conv2d(3, 3, 3, padding=4, dilation=4), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - 0.5) / 0.25
        return self.head(torch.cat([self.far(x)[:, :3], x], 1))


@pytest.mark.parametrize("unit", [(0, 0), (16, 3), (31, 31)])
def test_the_image_beside_a_layer_and_arithmetic(unit: tuple[int, int]) -> None:
    model, graph = network(Scaled())
    assert graph["cat"].takes_input
    assert box(graph, "head", unit) == support(model, "head", unit, 32)


class Beside(nn.Module):
    """A branch that is shifted away from its own place, joined to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.pad, self.conv = nn.ZeroPad2d((8, -8, 0, 0)), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.pad(x)) + x


def test_the_image_itself_is_a_branch() -> None:
    _, graph = network(Beside())
    assert box(graph, "add", (5, 20)) == ((5, 6), (12, 21))


class OwnPadding(nn.Conv2d):
    """Pads by itself, as networks converted from TensorFlow do."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.pad(x, (0, 1, 0, 1)))


def test_a_convolution_with_a_forward_pass_of_its_own_is_not_known() -> None:
    _, graph = network(chain(OwnPadding(3, 4, 3, 2), nn.Conv2d(4, 4, 3)))
    with pytest.raises(ns.NeuroscopeError, match=r"“0” \(OwnPadding\) .* is not known"):
        box(graph, "1", (0, 0))


def test_a_gate_sees_everything() -> None:
    _, graph = network(Gated())
    field = receptive_field(graph, "mul")
    assert field.size == (None, None)
    assert in_words(field) == "each position sees the whole input"
    assert box(graph, "mul", (3, 3)) == ((0, 32), (0, 32))
    assert in_words(receptive_field(graph, "conv")) == (
        "each position sees 3 × 3 pixels of the input, 1 × 1 from the next"
    )


def test_a_layer_without_positions_and_a_unit_that_is_not_there() -> None:
    _, graph = network(Gated())
    with pytest.raises(ns.NeuroscopeError, match="“gate” has no positions"):
        receptive_field(graph, "gate")
    with pytest.raises(ns.NeuroscopeError, match=r"has 32 × 32 positions; there is no \(32, 0\)"):
        box(graph, "conv", (32, 0))


def test_a_block_has_the_field_of_its_end() -> None:
    _, graph = network(UNet())
    blocks = graph.of_kind("block")
    assert blocks
    for name in blocks:
        assert receptive_field(graph, name).size is not None


def test_volumes() -> None:
    model = chain(nn.Conv3d(1, 2, (1, 3, 3), padding=(0, 1, 1)), nn.MaxPool3d((1, 2, 2)),
                  nn.Conv3d(2, 2, 3, padding=1))  # fmt: skip
    spec = {"task": "segmentation", "input": {"axes": "bczyx", "size": [8, 16, 16]}}
    graph = ns.wrap(model, spec, device="cpu").layers
    field = receptive_field(graph, "2")
    assert field.size == (3, 8, 8)
    assert field.stride == (1, 2, 2)
    assert box(graph, "2", (0, 0, 4)) == ((0, 2), (0, 5), (5, 13))


def test_the_layers_are_walked_once_for_a_layer_and_a_size_of_the_input() -> None:
    graph = skipping_graph()
    field = receptive_field(graph, "middle")
    assert (field.size, field.stride) == ((8, 8), (2, 2))
    assert receptive_field(graph, "middle") is field
    graph.input_shape = (32, 32)
    assert receptive_field(graph, "middle") is not field
