"""ONNX files that read elsewhere, claim more than they hold, never end, or become very large."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from hostile.watch import Opener, case
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.networks.load import load
from onnx_networks import model, node, value

IMAGE = [1, 3, 8, 8]
WEIGHT = np.ones((2, 3, 1, 1), np.float32)
CONV = [node("Conv", "image w", "seen"), node("GlobalAveragePool", "seen", "answer")]


@contextmanager
def lowered(**lower: int | float) -> Iterator[None]:
    """Read with lower limits: the process of a case ends with it."""
    for name, limit in lower.items():
        setattr(limits, name, limit)
    yield


def network(
    nodes: Sequence[onnx.NodeProto], weights: dict[str, Any] | None = None, **more: Any
) -> onnx.ModelProto:
    shape = more.pop("shape", IMAGE)
    return model(nodes, [value("image", shape)], [value("answer")], weights, **more)


def opener(folder: Path, made: onnx.ModelProto | bytes, **lower: Any) -> Opener:
    """Write a file into an inner folder; beside that is a file that it must not read."""
    inside = folder / "networks"
    inside.mkdir(exist_ok=True)
    path = inside / "net.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    (folder / "secret").write_bytes(WEIGHT.tobytes())

    def open_it() -> Any:
        with lowered(**lower):
            network = load(path, device="cpu")
            return len(network.layers), network.predict(np.ones((8, 8, 3), np.float32)).scores

    return open_it


def beside(*entries: tuple[str, str]) -> TensorProto:
    """Return a weight in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=WEIGHT.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, said in entries:
        tensor.external_data.add(key=key, value=said)
    return tensor


def with_weight(folder: Path, tensor: TensorProto, content: bytes | None = None) -> Opener:
    made = network(CONV)
    made.graph.initializer.append(tensor)
    opens = opener(folder, made)
    if content is not None:
        (folder / "networks" / "weights").write_bytes(content)
    return opens


# --- weights beside the file ---


@case()
def weights_of_the_parent_folder(folder: Path) -> Opener:
    return with_weight(folder, beside(("location", "../secret")))


@case()
def weights_at_an_absolute_place(folder: Path) -> Opener:
    return with_weight(folder, beside(("location", str(folder / "secret"))))


@case()
def weights_behind_a_link(folder: Path) -> Opener:
    opens = with_weight(folder, beside(("location", "weights")))
    (folder / "networks" / "weights").symlink_to(folder / "secret")
    return opens


@case()
def weights_in_a_linked_folder(folder: Path) -> Opener:
    opens = with_weight(folder, beside(("location", "here/secret")))
    (folder / "networks" / "here").symlink_to(folder)
    return opens


@case(seconds=5)
def weights_in_a_pipe(folder: Path) -> Opener:
    opens = with_weight(folder, beside(("location", "weights")))
    os.mkfifo(folder / "networks" / "weights")
    return opens


@case(seconds=5)
def weights_of_a_device(folder: Path) -> Opener:
    return with_weight(folder, beside(("location", "/dev/zero")))


@case()
def weights_at_a_place_with_nul(folder: Path) -> Opener:
    return with_weight(folder, beside(("location", "weights\0/../../secret")), WEIGHT.tobytes())


@case()
def weights_whose_place_is_said_twice(folder: Path) -> Opener:
    twice = beside(("location", "../secret"), ("location", "weights"))
    return with_weight(folder, twice, WEIGHT.tobytes())


@case()
def weights_that_are_the_folder(folder: Path) -> Opener:
    return with_weight(folder, beside(("location", ".")))


@case()
def weights_at_a_name_that_is_too_long(folder: Path) -> Opener:
    return with_weight(folder, beside(("location", "a" * 5000)))


@case()
def weights_before_the_beginning(folder: Path) -> Opener:
    tensor = beside(("location", "weights"), ("offset", "-8"))
    return with_weight(folder, tensor, WEIGHT.tobytes())


@case()
def weights_beyond_the_end(folder: Path) -> Opener:
    tensor = beside(("location", "weights"), ("length", str(1 << 62)))
    return with_weight(folder, tensor, WEIGHT.tobytes())


@case()
def weights_at_an_offset_that_is_no_number(folder: Path) -> Opener:
    tensor = beside(("location", "weights"), ("offset", "9" * 5000))
    return with_weight(folder, tensor, WEIGHT.tobytes())


@case()
def weights_of_holes(folder: Path) -> Opener:
    tensor = beside(("location", "weights"))
    tensor.dims[0] = 1 << 28
    opens = with_weight(folder, tensor)
    with (folder / "networks" / "weights").open("wb") as file:
        file.truncate(12 << 28)
    return opens


@case()
def weights_elsewhere_in_a_constant(folder: Path) -> Opener:
    constant = node("Constant", "", "w", value=beside(("location", "../secret")))
    return opener(folder, network([constant, *CONV]))


@case()
def weights_elsewhere_in_a_branch(folder: Path) -> Opener:
    constant = node("Constant", "", "v", value=beside(("location", "../secret")))
    branch = helper.make_graph([constant], "b", [], [value("v")])
    choice = node("If", "way", "w", then_branch=branch, else_branch=branch)
    return opener(folder, network([choice, *CONV], {"way": np.bool_(True)}))


@case()
def weights_elsewhere_in_a_function(folder: Path) -> Opener:
    constant = node("Constant", "", "v", value=beside(("location", "../secret")))
    function = helper.make_function(
        "own", "F", [], ["v"], [constant], [helper.make_opsetid("", 17)]
    )
    call = node("F", "", "w", domain="own")
    return opener(folder, network([call, *CONV], domains={"own": 1}, functions=[function]))


# --- what is claimed ---


@case()
def weight_with_huge_sides(folder: Path) -> Opener:
    tensor = TensorProto(name="w", data_type=1, dims=[1 << 40, 3, 1, 1], raw_data=b"\0" * 16)
    return with_weight(folder, tensor)


@case()
def weight_with_negative_sides(folder: Path) -> Opener:
    tensor = TensorProto(name="w", data_type=1, dims=[-2, 3, 1, 1], raw_data=WEIGHT.tobytes())
    return with_weight(folder, tensor)


@case()
def weight_of_an_unknown_type(folder: Path) -> Opener:
    return with_weight(folder, TensorProto(name="w", data_type=99, dims=[2, 3, 1, 1]))


@case()
def sparse_weight_that_is_huge(folder: Path) -> Opener:
    made = network(CONV)
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    places = numpy_helper.from_array(np.zeros(1, np.int64), "places")
    made.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, places, [1 << 20, 1 << 20])
    )
    return opener(folder, made)


@case()
def image_of_many_gigabytes(folder: Path) -> Opener:
    return opener(folder, network(CONV, {"w": WEIGHT}, shape=[1, 3, 1 << 17, 1 << 17]))


@case()
def image_of_many_channels(folder: Path) -> Opener:
    nodes = [node("GlobalAveragePool", "image", "answer")]
    return opener(folder, network(nodes, shape=[1, 1 << 40, 8, 8]))


@case()
def answer_of_a_million_classes(folder: Path) -> Opener:
    nodes = [*CONV[:1], node("ReduceMean", "seen", "mean", axes=[1, 2, 3], keepdims=0),
             node("Expand", "mean shape", "answer")]  # fmt: skip
    weights = {"w": WEIGHT, "shape": np.int64([1, 1_000_000])}
    return opener(folder, network(nodes, weights))


# --- what grows ---


def doubling(count: int) -> list[onnx.FunctionProto]:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = [helper.make_function("own", "F0", ["x"], ["y"], [node("Relu", "x", "y")], opsets)]
    for number in range(1, count + 1):
        inner = f"F{number - 1}"
        twice = [node(inner, "x", "z", domain="own"), node(inner, "z", "y", domain="own")]
        functions.append(helper.make_function("own", f"F{number}", ["x"], ["y"], twice, opsets))
    return functions


def calling(name: str, functions: list[onnx.FunctionProto]) -> onnx.ModelProto:
    nodes = [node(name, "image", "more", domain="own"),
             node("Conv", "more w", "seen"), CONV[1]]  # fmt: skip
    return network(nodes, {"w": WEIGHT}, domains={"own": 1}, functions=functions)


@case(seconds=5)
def functions_that_double(folder: Path) -> Opener:
    return opener(folder, calling("F60", doubling(60)))


@case(seconds=5)
def functions_that_call_each_other(folder: Path) -> Opener:
    functions = doubling(3)
    functions[0].node[0].op_type, functions[0].node[0].domain = "F3", "own"
    return opener(folder, calling("F3", functions))


@case(seconds=5)
def functions_nested_deeply(folder: Path) -> Opener:
    functions = doubling(5000)
    for function in functions[1:]:
        del function.node[1]
        function.node[0].output[0] = "y"
    return opener(folder, calling("F5000", functions))


@case(seconds=5)
def function_with_a_large_constant_called_often(folder: Path) -> Opener:
    large = numpy_helper.from_array(np.ones((1, 3, 64, 64), np.float32))
    body = [node("Constant", "", "c", value=large), node("Add", "x c", "y")]
    function = helper.make_function("own", "F", ["x"], ["y"], body, [helper.make_opsetid("", 17)])
    calls = [
        node("F", "image" if i == 0 else f"t{i}", f"t{i + 1}", domain="own") for i in range(40)
    ]
    made = network(
        [*calls, node("Conv", "t40 w", "seen"), CONV[1]], {"w": WEIGHT}, shape=[1, 3, 64, 64],
        domains={"own": 1}, functions=[function],
    )  # fmt: skip
    return opener(folder, made, ALWAYS_UNPACKED=1 << 20)


@case()
def more_operations_than_any_network(folder: Path) -> Opener:
    nodes = [node("Relu", f"t{i}" if i else "image", f"t{i + 1}") for i in range(300)]
    made = network([*nodes, node("Conv", "t300 w", "seen"), CONV[1]], {"w": WEIGHT})
    return opener(folder, made, MOST_OPERATIONS=200)


@case()
def shapes_that_double(folder: Path) -> Opener:
    nodes = [node("Shape", "image", "s0")]
    nodes += [node("Concat", f"s{i} s{i}", f"s{i + 1}", axis=0) for i in range(26)]
    nodes += [node("Slice", "s26 zero four", "shape"), node("Reshape", "image shape", "x"),
              node("Conv", "x w", "seen"), CONV[1]]  # fmt: skip
    return opener(
        folder, network(nodes, {"w": WEIGHT, "zero": np.int64([0]), "four": np.int64([4])})
    )


@case()
def constants_that_double(folder: Path) -> Opener:
    nodes = [node("Concat", f"c{i} c{i}", f"c{i + 1}", axis=0) for i in range(30)]
    nodes += [node("ReduceSum", "c30", "sum", keepdims=0), *CONV[:1],
              node("Add", "seen sum", "more"), node("GlobalAveragePool", "more", "answer")]  # fmt: skip
    return opener(folder, network(nodes, {"w": WEIGHT, "c0": np.ones(4, np.float32)}))


@case()
def tiles_that_fill_the_memory(folder: Path) -> Opener:
    nodes = [node("Tile", "image times", "more"), node("Conv", "more w", "seen"), CONV[1]]
    return opener(folder, network(nodes, {"w": WEIGHT, "times": np.int64([1, 1, 900, 900])}))


@case()
def constant_of_a_huge_shape(folder: Path) -> Opener:
    nodes = [node("ConstantOfShape", "shape", "zeros"), node("ReduceSum", "zeros", "sum", keepdims=0),
             *CONV[:1], node("Add", "seen sum", "more"),
             node("GlobalAveragePool", "more", "answer")]  # fmt: skip
    return opener(folder, network(nodes, {"w": WEIGHT, "shape": np.int64([1 << 20, 1 << 14])}))


@case()
def borders_that_fill_the_memory(folder: Path) -> Opener:
    nodes = [node("Pad", "image pads", "more"), node("Conv", "more w", "seen"), CONV[1]]
    pads = np.int64([0, 0, 9000, 9000, 0, 0, 9000, 9000])
    return opener(folder, network(nodes, {"w": WEIGHT, "pads": pads}))


@case()
def sums_of_lines_that_fill_the_memory(folder: Path) -> Opener:
    nodes = [node("Reshape", "image row", "line"), node("Resize", "line none factor", "long"),
             node("Transpose", "long", "wide", perm=[0, 1, 3, 2]), node("Add", "long wide", "x"),
             node("GlobalAveragePool", "x", "answer")]  # fmt: skip
    nodes[1].input[:] = ["line", "", "factor"]
    weights = {"row": np.int64([1, 3, 1, 64]), "factor": np.float32([1, 1, 1, 300])}
    return opener(folder, network(nodes, weights))


@case("opens")
def weights_made_in_many_ways(folder: Path) -> Opener:
    # Each is the sum of the one before with itself: paths double, values are few.
    nodes = [node("Add", f"w{i} w{i}", f"w{i + 1}") for i in range(60)]
    nodes += [node("Conv", "image w60", "seen"), CONV[1]]
    return opener(folder, network(nodes, {"w0": WEIGHT}))


@case()
def connections_without_number(folder: Path) -> Opener:
    # Whole numbers are no layers: each layer is behind all before it.
    nodes, total = [], "zero"
    for number in range(30):
        nodes += [node("Add", f"image n{number - 1}" if number else "image one", f"l{number}"),
                  node("Cast", f"l{number}", f"i{number}", to=TensorProto.INT32),
                  node("Add", f"{total} i{number}", f"t{number}"),
                  node("Cast", f"t{number}", f"n{number}", to=TensorProto.FLOAT)]  # fmt: skip
        total = f"t{number}"
    nodes += [node("Conv", "n29 w", "seen"), CONV[1]]
    weights = {"w": WEIGHT, "one": np.float32(1), "zero": np.int32(0)}
    return opener(folder, network(nodes, weights), MOST_CONNECTIONS=400)


# --- what never ends ---


def loop(body: Sequence[onnx.NodeProto], shape: Any) -> list[onnx.NodeProto]:
    inputs = [
        value("i", [], TensorProto.INT64),
        value("go", [], TensorProto.BOOL),
        value("v", shape),
    ]
    outputs = [value("again", [], TensorProto.BOOL), value("next", shape)]
    graph = helper.make_graph(body, "body", inputs, outputs)
    return [node("Loop", "many yes image", "more", body=graph),
            node("Conv", "more w", "seen"), CONV[1]]  # fmt: skip


ENDLESS = {"w": WEIGHT, "many": np.int64(1 << 60), "yes": np.bool_(True)}


@case("trust", seconds=25)
def loop_without_an_end(folder: Path) -> Opener:
    body = [node("Identity", "go", "again"), node("Add", "v v", "next")]
    return opener(folder, network(loop(body, IMAGE), ENDLESS), TRIAL_SECONDS=1.0)


@case("trust", seconds=25)
def loop_that_doubles(folder: Path) -> Opener:
    body = [node("Identity", "go", "again"), node("Concat", "v v", "next", axis=2)]
    made = network(loop(body, [1, 3, "h", 8]), {**ENDLESS, "many": np.int64(40)})
    return opener(folder, made, TRIAL_MEMORY=200 << 20)


# --- what is no network ---


@case()
def operator_of_a_library(folder: Path) -> Opener:
    nodes = [node("Mine", "image", "seen", domain="my.own"), CONV[1]]
    return opener(folder, network(nodes, domains={"my.own": 1}))


@case()
def tensors_in_a_circle(folder: Path) -> Opener:
    nodes = [node("Add", "image back", "seen"), node("Relu", "seen", "back"), CONV[1]]
    return opener(folder, network(nodes))


@case()
def graphs_nested_deeply(folder: Path) -> Opener:
    # By hand: a graph within an attribute within a node, and so on.
    content = b""
    for _ in range(1000):
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            content = tag + varint(len(content)) + content
    return opener(folder, b"\x08\x08\x3a" + varint(len(content)) + content + b"\x42\x02\x10\x11")


def varint(number: int) -> bytes:
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


@case()
def name_that_is_no_text(folder: Path) -> Opener:
    return opener(
        folder,
        network(CONV, {"w": WEIGHT}).SerializeToString().replace(b"seen", b"\xff\xfe\xfd\xfc"),
    )


@case()
def attribute_of_no_known_type(folder: Path) -> Opener:
    made = network(CONV, {"w": WEIGHT})
    made.graph.node[0].attribute.append(AttributeProto(name="group"))
    return opener(folder, made)


@case("opens")
def names_of_markup_and_controls(folder: Path) -> Opener:
    name = "<b>Signed</b>\n\x1b[31m\u202e<!--"
    first = helper.make_node("Conv", ["image", "w"], [name])
    last = helper.make_node("GlobalAveragePool", [name], ["answer"])
    return opener(folder, network([first, last], {"w": WEIGHT}))


@case()
def file_that_was_cut_off(folder: Path) -> Opener:
    return opener(folder, network(CONV, {"w": WEIGHT}).SerializeToString()[:-20])


@case("either")
def file_with_bytes_after_its_end(folder: Path) -> Opener:
    return opener(folder, network(CONV, {"w": WEIGHT}).SerializeToString() + b"\x3a\x05aaaaa")
