"""PyTorch's files: pickles, TorchScript, exported programs, safetensors."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import re
import struct
import tarfile
import textwrap
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hostile.watch import Opener, case, marker
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.networks.load import load

_LINEAR = {"factory": "torch.nn:Linear", "arguments": {"in_features": 2, "out_features": 2}}


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x)).mean((2, 3)))


def prepare(base: Path) -> None:
    """Write the harmless files that the others are made from."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    net, example = _Net().eval(), torch.rand(1, 3, 8, 8)
    torch.save(net.state_dict(), base / "weights.pt")
    torch.jit.script(net).save(str(base / "script.pt"))
    torch.export.save(torch.export.export(net, (example,)), base / "exported.pt2")
    save_file(net.state_dict(), base / "weights.safetensors")


def _base(folder: Path, name: str) -> Path:
    return folder.parent / "base" / name


def _opening(path: Path, **more: Any) -> Opener:
    return lambda: load(path, **more)


def _rewritten(
    source: Path,
    target: Path,
    change: Callable[[str, bytes], bytes | None] = lambda _, content: content,
    more: dict[str, bytes] | None = None,
) -> Path:
    """Write an archive again, with other contents of some of its files."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
        for name, content in (more or {}).items():
            new.writestr(name, content)
    return target


# --- pickles --------------------------------------------------------------------------------------


class _Command:
    """Runs a command when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.command = f"touch {marker(folder)}"

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def _shouted(folder: Path, protocol: int = 2) -> bytes:
    return pickle.dumps(_Command(folder), protocol=protocol)


def _as_checkpoint(folder: Path, pickled: bytes) -> Path:
    """Write a zipped checkpoint with a pickle of one's own."""

    def change(name: str, content: bytes) -> bytes:
        return pickled if name.endswith("data.pkl") else content

    return _rewritten(_base(folder, "weights.pt"), folder / "m.pt", change)


def _text(text: str) -> bytes:
    """Return the operation that pushes a text."""
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


@case("trust")
def pickle_in_a_checkpoint(folder: Path) -> Opener:
    return _opening(_as_checkpoint(folder, _shouted(folder)))


@case("trust")
def pickle_of_protocol_0_in_a_checkpoint(folder: Path) -> Opener:
    return _opening(_as_checkpoint(folder, _shouted(folder, 0)))


@case("trust")
def pickle_of_protocol_1_in_a_checkpoint(folder: Path) -> Opener:
    return _opening(_as_checkpoint(folder, _shouted(folder, 1)))


@case("trust")
def pickle_of_protocol_4_alone(folder: Path) -> Opener:
    (folder / "m.ckpt").write_bytes(_shouted(folder, 4))
    return _opening(folder / "m.ckpt")


@case("trust")
def pickle_of_protocol_5_in_a_checkpoint(folder: Path) -> Opener:
    return _opening(_as_checkpoint(folder, _shouted(folder, 5)))


@case("trust")
def old_checkpoint_that_runs_a_command(folder: Path) -> Opener:
    torch.save(_Command(folder), folder / "m.pth", _use_new_zipfile_serialization=False)
    return _opening(folder / "m.pth")


@case("trust")
def command_among_the_weights(folder: Path) -> Opener:
    held = {"optimizer": [_Command(folder)], "state_dict": _Net().state_dict()}
    torch.save(held, folder / "m.ckpt")
    return _opening(folder / "m.ckpt", factory="torch.nn:Identity")


@case("trust")
def command_after_names_that_nobody_calls(folder: Path) -> Opener:
    pushed = b"".join(b"c" + f"torch.nn\nLayer{i}\n".encode() + b"0" for i in range(200))
    return _opening(_as_checkpoint(folder, b"\x80\x02" + pushed + _shouted(folder)[2:]))


@case("trust")
def command_whose_name_lies_in_the_memo(folder: Path) -> Opener:
    names = _text("posix") + b"q\x050" + _text("system") + b"q\x060"
    decoys = _text("torch") + b"0" + _text("Tensor") + b"0"
    call = b"h\x05h\x06\x93" + _text(f"touch {marker(folder)}") + b"\x85R."
    return _opening(_as_checkpoint(folder, b"\x80\x04" + names + decoys + call))


@case("trust")
def command_whose_name_is_put_together(folder: Path) -> Opener:
    joined = b"cbuiltins\ngetattr\n" + b"cos\n__dict__\n" + _text("get") + b"\x86R"
    call = joined + _text("system") + b"\x85R" + _text(f"touch {marker(folder)}") + b"\x85R."
    return _opening(_as_checkpoint(folder, b"\x80\x02" + call))


@case("trust")
def command_by_an_instance(folder: Path) -> Opener:
    pickled = b"(" + f"S'touch {marker(folder)}'\n".encode() + b"iposix\nsystem\n."
    return _opening(_as_checkpoint(folder, pickled))


@case("trust")
def command_by_an_object(folder: Path) -> Opener:
    pickled = b"\x80\x02(cposix\nsystem\n" + _text(f"touch {marker(folder)}") + b"o."
    return _opening(_as_checkpoint(folder, pickled))


@case("trust")
def bytes_that_are_loaded_as_a_storage(folder: Path) -> Opener:
    inner = io.BytesIO()
    torch.save(_Command(folder), inner)
    content = inner.getvalue()
    pushed = b"B" + struct.pack("<I", len(content)) + content
    pickled = b"\x80\x03ctorch.storage\n_load_from_bytes\n" + pushed + b"\x85R."
    return _opening(_as_checkpoint(folder, pickled))


@case("trust")
def number_of_the_registry_of_extensions(folder: Path) -> Opener:
    return _opening(_as_checkpoint(folder, b"\x80\x02\x82\x01)R."))


@case("trust")
def name_in_other_letters(folder: Path) -> Opener:
    return _opening(_as_checkpoint(folder, "\x80\x02cpösix\nsystem\n)R.".encode("latin-1")))


@case()
def pickle_that_is_cut_off(folder: Path) -> Opener:
    return _opening(_as_checkpoint(folder, _shouted(folder)[:-10]))


@case()
def pickle_of_stop_alone(folder: Path) -> Opener:
    (folder / "m.pt").write_bytes(b"\x80\x02.")
    return _opening(folder / "m.pt")


@case("either")
def bytes_by_chance_after_a_protocol(folder: Path) -> Opener:
    (folder / "m.pt").write_bytes(b"\x80\x03" + random.Random(0).randbytes(5000))
    return _opening(folder / "m.pt")


@case()
def tar_of_pickles(folder: Path) -> Opener:
    with tarfile.open(folder / "m.pt", "w", format=tarfile.GNU_FORMAT) as archive:
        # The name makes it a pickle for who looks at its first bytes alone.
        for name in ("\udc80\x02x", "storages", "tensors", "pickle"):
            member = tarfile.TarInfo(name)
            member.size = len(_shouted(folder))
            archive.addfile(member, io.BytesIO(_shouted(folder)))
    return _opening(folder / "m.pt")


@case()
def two_pickles_of_one_name(folder: Path) -> Opener:
    good = zipfile.ZipFile(_base(folder, "weights.pt")).read("weights/data.pkl")
    path = _as_checkpoint(folder, _shouted(folder))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("weights/data.pkl", good)
    return _opening(path)


@case()
def two_pickles_of_one_name_in_other_letters(folder: Path) -> Opener:
    more = {"weights/Data.PKL": _shouted(folder)}
    return _opening(_rewritten(_base(folder, "weights.pt"), folder / "m.pt", more=more))


@case()
def second_archive_after_the_end(folder: Path) -> Opener:
    content = _base(folder, "weights.pt").read_bytes()
    path = _as_checkpoint(folder, _shouted(folder))
    # Python finds the last list of files, and PyTorch may find another.
    path.write_bytes(path.read_bytes() + content + b"\0" * 30)
    return _opening(path)


@case()
def archive_before_the_archive(folder: Path) -> Opener:
    path = _as_checkpoint(folder, _shouted(folder))
    path.write_bytes(path.read_bytes() + _base(folder, "weights.pt").read_bytes())
    return _opening(path)


@case("trust")
def pickle_of_many_operations(folder: Path) -> Opener:
    limits.MOST_PICKLE_OPERATIONS = 100_000
    return _opening(_as_checkpoint(folder, b"\x80\x02" + b"N0" * 100_000 + _shouted(folder)[2:]))


@case("trust")
def old_pickle_of_many_operations(folder: Path) -> Opener:
    limits.MOST_PICKLE_OPERATIONS = 100_000
    (folder / "m.pt").write_bytes(b"\x80\x02" + b"N0" * 100_000 + _shouted(folder)[2:])
    return _opening(folder / "m.pt")


@case("trust")
def pickle_that_is_long(folder: Path) -> Opener:
    limits.MOST_PICKLE = 1 << 20
    return _opening(_as_checkpoint(folder, b"\x80\x02" + _text("a" * (2 << 20)) + b"."))


@case()
def pickle_that_unpacks_to_much(folder: Path) -> Opener:
    limits.ALWAYS_UNPACKED = 1 << 20
    with zipfile.ZipFile(folder / "m.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/version", b"3\n")
        archive.writestr("m/data.pkl", b"\x80\x02" + b"0" * (8 << 20))
    return _opening(folder / "m.pt")


@case()
def storage_that_unpacks_to_much(folder: Path) -> Opener:
    limits.ALWAYS_UNPACKED = 1 << 20
    torch.save({"w": torch.zeros(4 << 20, dtype=torch.uint8)}, folder / "large.pt")
    new = zipfile.ZipFile(folder / "m.pt", "w", zipfile.ZIP_DEFLATED)
    with new, zipfile.ZipFile(folder / "large.pt") as old:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    (folder / "large.pt").unlink()
    return _opening(folder / "m.pt")


def _keys(count: int, key: Callable[[int], bytes]) -> bytes:
    """Return a pickle of a dictionary of many keys."""
    return b"\x80\x02}(" + b"".join(key(i) + b"N" for i in range(count)) + b"u."


@case("trust")
def keys_that_are_all_mixed_up(folder: Path) -> Opener:
    def key(i: int) -> bytes:
        # All of them have the same hash.
        number = (i * ((1 << 61) - 1)).to_bytes(16, "little")
        return b"\x8a\x10" + number

    return _opening(_as_checkpoint(folder, _keys(100_000, key)))


@case("trust")
def tuples_as_keys_that_are_all_mixed_up(folder: Path) -> Opener:
    def key(i: int) -> bytes:
        # -1 and -2 have the same hash, and so have tuples of them.
        digits = (b"J" + struct.pack("<i", -1 - (i >> place & 1)) for place in range(17))
        return b"(" + b"".join(digits) + b"t"

    return _opening(_as_checkpoint(folder, _keys(50_000, key)))


@case("trust")
def tuple_that_doubles_and_is_a_key(folder: Path) -> Opener:
    doubled = b"K\x01" + b"2\x86" * 60
    return _opening(_as_checkpoint(folder, b"\x80\x02}" + doubled + b"Ns."))


@case("trust")
def tuples_that_lie_very_deep(folder: Path) -> Opener:
    deep = b"K\x01" + b"\x85" * 200_000
    return _opening(_as_checkpoint(folder, b"\x80\x02}" + deep + b"Ns."))


@case("trust")
def bytes_of_a_claimed_size(folder: Path) -> Opener:
    pickled = b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\0\0\0\0\x10\x85R."
    return _opening(_as_checkpoint(folder, pickled))


@case("trust")
def bytes_of_a_claimed_size_by_another(folder: Path) -> Opener:
    call = b"ctorch._tensor\n_rebuild_from_type_v2\n(cbuiltins\nbytearray\nctorch\nTensor\n"
    return _opening(_as_checkpoint(folder, b"\x80\x02" + call + b"\x8a\x05\0\0\0\0\x10\x85}tR."))


@case("trust")
def text_that_is_encoded_again_and_again(folder: Path) -> Opener:
    encoder = b"c_codecs\nencode\n"
    start = encoder + _text("a" * 1000) + _text("utf-8") + b"\x86R"
    again = b"q\x010" + encoder + b"h\x01" + _text("hex_codec") + b"\x86R"
    return _opening(_as_checkpoint(folder, b"\x80\x02" + start + again * 40 + b"."))


@case("trust")
def list_that_is_gone_through_again_and_again(folder: Path) -> Opener:
    many = b"](" + b"K\x01" * 100_000 + b"eq\x01"
    again = b"0cbuiltins\nset\nh\x01\x85R"
    return _opening(_as_checkpoint(folder, b"\x80\x02" + many + again * 10_000 + b"."))


@case()
def storage_of_claimed_numbers(folder: Path) -> Opener:
    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("data.pkl"):
            return content
        # After a storage's device, how many numbers it has.
        claimed = b"J\0\0\0\x10t"
        pattern = re.compile(rb"(?<=cpuq.)K.t", re.DOTALL)
        changed, times = pattern.subn(lambda _: claimed, content)
        assert times
        return changed

    return _opening(_rewritten(_base(folder, "weights.pt"), folder / "m.pt", change))


@case()
def storage_by_names_in_other_letters(folder: Path) -> Opener:
    torch.save({"w": torch.zeros(8)}, folder / "small.pt")
    path = _rewritten(
        folder / "small.pt",
        folder / "m.pt",
        lambda name, b: b.replace(b"X\x01\0\0\x000", b"X\x01\0\0\0a") if "pkl" in name else b,
        {"small/data/A": bytes(32)},
    )
    (folder / "small.pt").unlink()
    return _opening(path)


@case()
def old_storage_of_claimed_numbers(folder: Path) -> Opener:
    path = folder / "m.pt"
    torch.save({"w": torch.zeros(1000)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert content.count(b"M\xe8\x03N") == 1
    path.write_bytes(content.replace(b"M\xe8\x03N", b"J\0\0\0\x40N"))
    return _opening(path)


@case()
def tensor_that_is_expanded(folder: Path) -> Opener:
    held = {"weight": torch.zeros(1).expand(200_000, 200_000), "bias": torch.zeros(2)}
    torch.save(held, folder / "m.pt")
    return _opening(folder / "m.pt", **_LINEAR)


@case()
def tensor_without_data(folder: Path) -> Opener:
    held = {"weight": torch.zeros(2, 2, device="meta"), "bias": torch.zeros(2)}
    torch.save(held, folder / "m.pt")
    return _opening(folder / "m.pt", **_LINEAR)


@case()
def dictionary_in_itself(folder: Path) -> Opener:
    held: dict[str, Any] = {}
    held["model"] = held["net"] = held
    torch.save(held, folder / "m.pt")
    return _opening(folder / "m.pt")


@case()
def dictionaries_that_lie_deep(folder: Path) -> Opener:
    pickled = b"\x80\x02" + (b"}" + _text("model")) * 20_000 + b"N" + b"s" * 20_000 + b"."
    return _opening(_as_checkpoint(folder, pickled))


@case()
def dictionaries_that_branch(folder: Path) -> Opener:
    held: dict[str, Any] = {}
    for _ in range(60):
        held = {"model": held, "net": held, "weights": held}
    torch.save(held, folder / "m.pt")
    return _opening(folder / "m.pt")


@case()
def name_of_a_tensor_with_controls(folder: Path) -> Opener:
    torch.save({"\x1b[2J\u202e”. Signed." * 50: torch.zeros(1)}, folder / "m.pt")
    return _opening(folder / "m.pt")


# --- TorchScript ----------------------------------------------------------------------------------


def _script(
    folder: Path, body: str, methods: str = "", more: dict[str, bytes] | None = None
) -> Opener:
    """Write a TorchScript program whose `forward` does something first."""

    def change(name: str, content: bytes) -> bytes | None:
        if name.endswith(".debug_pkl"):
            return None
        if not name.endswith("code/__torch__/hostile/torch_cases.py"):
            return content
        head, line, tail = content.decode().partition("    x: Tensor) -> Tensor:\n")
        assert line
        added = textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n"
        tail += textwrap.indent(textwrap.dedent(methods), "  ")
        return (head + line + added + tail).encode()

    _rewritten(_base(folder, "script.pt"), folder / "m.pt", change, more)
    return _opening(folder / "m.pt")


@case("trust")
def script_that_saves(folder: Path) -> Opener:
    return _script(folder, f'torch.save(x, "{marker(folder)}")')


@case("trust")
def script_that_saves_as_a_method(folder: Path) -> Opener:
    return _script(folder, f'_5 = (x).save("{marker(folder)}", )')


@case("trust")
def script_that_saves_over_two_lines(folder: Path) -> Opener:
    return _script(folder, f'_5 = (x.\n  save)("{marker(folder)}", )')


@case("trust")
def script_that_saves_by_another_name(folder: Path) -> Opener:
    return _script(folder, f't = torch\nt.save(x, "{marker(folder)}")')


@case("trust")
def script_that_saves_by_the_name_of_an_attribute(folder: Path) -> Opener:
    return _script(folder, f'getattr(x, "save")("{marker(folder)}")')


@case("trust")
def script_that_saves_as_an_operator(folder: Path) -> Opener:
    return _script(folder, f'ops.aten.save(x, "{marker(folder)}")')


@case("trust")
def script_that_maps_a_file(folder: Path) -> Opener:
    (folder / "secret.txt").write_bytes(b"a" * 64)
    return _script(folder, f'_5 = torch.from_file("{folder}/secret.txt", True, 8, dtype=0)')


@case("trust")
def script_that_saves_when_it_is_loaded(folder: Path) -> Opener:
    methods = f"""
def __setstate__(self: __torch__.hostile.torch_cases._Net,
  state: Tensor) -> NoneType:
  torch.save(state, "{marker(folder)}")
  return None
"""
    return _script(folder, "pass", methods)


@case("trust")
def script_with_a_class_in_cpp(folder: Path) -> Opener:
    name = "__torch__.torch.classes.aoti.AOTIModelContainerRunnerCpu"
    return _script(folder, f"_5 : Optional[{name}] = None")


@case("trust")
def script_with_a_comment(folder: Path) -> Opener:
    return _script(folder, "_5 = 1  # not of those that PyTorch writes")


@case("trust")
def script_with_letters_that_look_alike(folder: Path) -> Opener:
    return _script(folder, f'torch.ѕave(x, "{marker(folder)}")')


@case("trust")
def script_that_never_ends(folder: Path) -> Opener:
    return _script(folder, "i = 0\nwhile True:\n  i = torch.add(i, 1)")


@case("trust")
def script_of_many_rounds(folder: Path) -> Opener:
    return _script(folder, "i = 0\nfor j in range(9223372036854775807):\n  i = torch.add(i, 1)")


@case("trust", seconds=25)
def script_of_many_rounds_for_one_image(folder: Path) -> Opener:
    loops = "\n".join(f"{'  ' * depth}for i{depth} in range(9999):" for depth in range(1, 5))
    body = f"if torch.eq(float(torch.sum(x)), 12345.):\n{loops}\n{'  ' * 5}x = torch.add(x, 1)"
    return _script(folder, body + "\nelse:\n  pass")


@case("trust")
def script_of_rounds_that_the_image_tells(folder: Path) -> Opener:
    body = "n = int(torch.mul(torch.sum(x), 1000000000))\nfor j in range(n):\n  pass"
    return _script(folder, body)


@case("trust")
def script_that_starts_threads(folder: Path) -> Opener:
    return _script(folder, "_5 = fork(x)")


@case("trust")
def script_that_is_long(folder: Path) -> Opener:
    limits.MOST_SOURCE = 1000
    return _script(folder, "_5 = torch.add(x, 1)\n" * 100)


@case("trust")
def script_with_a_pickle_of_python(folder: Path) -> Opener:
    def change(name: str, content: bytes) -> bytes:
        return _shouted(folder) if name.endswith("data.pkl") else content

    return _opening(_rewritten(_base(folder, "script.pt"), folder / "m.pt", change))


@case("trust")
def script_of_the_first_form(folder: Path) -> Opener:
    return _script(folder, "pass", more={"script/model.json": b"{}"})


@case()
def script_with_source_of_two_cases(folder: Path) -> Opener:
    source = f'def forward(x):\n  torch.save(x, "{marker(folder)}")\n'.encode()
    return _script(folder, "pass", more={"script/CODE/__torch__/hostile/torch_cases.py": source})


@case()
def script_whose_weights_claim_more(folder: Path) -> Opener:
    def change(name: str, content: bytes) -> bytes:
        return content[: len(content) // 2] if "/data/" in name else content

    return _opening(_rewritten(_base(folder, "script.pt"), folder / "m.pt", change))


@case("trust", seconds=25)
def script_that_takes_memory(folder: Path) -> Opener:
    limits.TRIAL_MEMORY = 200 << 20
    return _script(folder, "x = torch.add(x, torch.sum(torch.ones([200000000])))")


@case("trust", seconds=25)
def script_that_takes_time(folder: Path) -> Opener:
    limits.TRIAL_SECONDS = 1.0
    body = "_5 = x"
    for depth in range(6):
        body += f"\n{'  ' * depth}for i{depth} in range(10000):"
    return _script(folder, f"{body}\n{'  ' * 6}_5 = torch.add(_5, 1)")


@case(seconds=25)
def script_that_calls_itself(folder: Path) -> Opener:
    return _script(folder, "_5 = (self).forward(x, )")


@case("opens", seconds=25)
def script_that_is_harmless(folder: Path) -> Opener:
    more = {"script/extra/more.pkl": _shouted(folder)}
    return _script(folder, "_5 = torch.relu(x)", more=more)


# --- exported programs ----------------------------------------------------------------------------


def _exported(
    folder: Path,
    change: Callable[[str, bytes], bytes | None] = lambda _, content: content,
    *,
    trust: bool = False,
    more: dict[str, bytes] | None = None,
) -> Opener:
    _rewritten(_base(folder, "exported.pt2"), folder / "m.pt2", change, more)
    return _opening(folder / "m.pt2", trust=trust)


def _in_graph(old: bytes, new: bytes) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        assert old in content
        return content.replace(old, new)

    return change


_RELU = b"torch.ops.aten.relu.default"


@case("trust")
def exported_program(folder: Path) -> Opener:
    return _exported(folder)


@case("trust")
def exported_program_with_a_pickle(folder: Path) -> Opener:
    def change(name: str, content: bytes) -> bytes:
        return _shouted(folder, 0) if "sample_inputs" in name else content

    return _exported(folder, change)


@case("trust")
def exported_program_without_its_configuration(folder: Path) -> Opener:
    return _exported(folder, lambda name, b: None if "weights_config" in name else b)


@case()
def exported_program_without_its_configuration_trusted(folder: Path) -> Opener:
    return _exported(folder, lambda name, b: None if "weights_config" in name else b, trust=True)


@case("trust")
def exported_program_of_deep_json(folder: Path) -> Opener:
    return _exported(folder, lambda name, b: b"[" * 200_000 if "model.json" in name else b)


@case()
def exported_program_of_deep_json_trusted(folder: Path) -> Opener:
    return _exported(
        folder, lambda name, b: b"[" * 200_000 if "model.json" in name else b, trust=True
    )


@case()
def exported_program_that_is_no_json_trusted(folder: Path) -> Opener:
    return _exported(folder, lambda name, b: b'{"a":' if "model.json" in name else b, trust=True)


@case()
def exported_program_that_maps_a_file_trusted(folder: Path) -> Opener:
    return _exported(folder, _in_graph(_RELU, b"torch.ops.aten.from_file.default"), trust=True)


@case()
def exported_program_that_calls_the_system_trusted(folder: Path) -> Opener:
    return _exported(folder, _in_graph(_RELU, b"torch.os.system"), trust=True)


@case()
def exported_program_that_finds_methods_trusted(folder: Path) -> Opener:
    return _exported(folder, _in_graph(_RELU, b"_operator.methodcaller"), trust=True)


@case()
def exported_program_with_a_library_trusted(folder: Path) -> Opener:
    more = {"exported/data/aotinductor/model/a.wrapper.so": b"\x7fELF"}
    return _exported(folder, trust=True, more=more)


@case()
def exported_program_that_unpacks_to_much(folder: Path) -> Opener:
    limits.ALWAYS_UNPACKED = 1 << 20
    _exported(folder)
    with zipfile.ZipFile(folder / "m.pt2", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("exported/extra/zeros", bytes(8 << 20))
    return _opening(folder / "m.pt2")


@case()
def exported_program_of_two_names(folder: Path) -> Opener:
    name = "exported/data/sample_inputs/model.pt"
    return _exported(folder, more={name: _shouted(folder)})


@case("trust")
def exported_program_of_the_first_form(folder: Path) -> Opener:
    with zipfile.ZipFile(folder / "m.pt2", "w") as archive:
        archive.writestr("version", "8.8")
        archive.writestr("serialized_exported_program.json", "{}")
        for part in ("state_dict", "constants", "example_inputs"):
            archive.writestr(f"serialized_{part}.pt", _shouted(folder, 0))
    return _opening(folder / "m.pt2")


# --- safetensors ----------------------------------------------------------------------------------


def _safetensors(
    folder: Path, header: Any, data: bytes = b"", name: str = "m.safetensors"
) -> Opener:
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / name).write_bytes(struct.pack("<Q", len(content)) + content + data)
    return _opening(folder / name)


def _entry(**changed: Any) -> dict[str, Any]:
    return {"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changed}}


@case()
def header_without_offsets(folder: Path) -> Opener:
    return _safetensors(folder, {"weight": {"dtype": "F32", "shape": [1]}}, bytes(4))


@case()
def header_with_offsets_of_text(folder: Path) -> Opener:
    return _safetensors(folder, _entry(data_offsets=["0", "4"]), bytes(4))


@case()
def header_with_negative_offsets(folder: Path) -> Opener:
    return _safetensors(folder, _entry(data_offsets=[-4, 0]), bytes(4))


@case()
def header_with_turned_offsets(folder: Path) -> Opener:
    return _safetensors(folder, _entry(data_offsets=[4, 0]), bytes(4))


@case()
def header_with_a_size_of_truth(folder: Path) -> Opener:
    return _safetensors(folder, _entry(shape=[True]), bytes(4))


@case()
def header_with_a_size_of_fractions(folder: Path) -> Opener:
    return _safetensors(folder, _entry(shape=[0.5]), bytes(4))


@case()
def header_with_sizes_that_are_too_large(folder: Path) -> Opener:
    return _safetensors(folder, _entry(shape=[1 << 62, 1 << 62]), bytes(4))


@case()
def header_with_a_dtype_of_a_list(folder: Path) -> Opener:
    return _safetensors(folder, _entry(dtype=["F32"]), bytes(4))


@case()
def header_with_more_than_the_file(folder: Path) -> Opener:
    return _safetensors(folder, _entry(shape=[1000], data_offsets=[0, 4000]), bytes(4))


@case()
def header_of_tensors_in_no_mapping(folder: Path) -> Opener:
    return _safetensors(folder, {"weight": [1, 2, 3]}, bytes(4))


@case()
def header_that_is_deep(folder: Path) -> Opener:
    return _safetensors(folder, b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}")


@case()
def header_that_claims_to_be_long(folder: Path) -> Opener:
    (folder / "m.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b'{"a": 1}')
    return _opening(folder / "m.safetensors")


@case()
def header_with_a_long_number(folder: Path) -> Opener:
    content = (
        b'{"weight": {"dtype": "F32", "shape": [' + b"9" * 100_000 + b'], "data_offsets": [0, 4]}}'
    )
    return _safetensors(folder, content, bytes(4))


@case()
def tensors_that_share_their_bytes(folder: Path) -> Opener:
    shared = {f"w{i}": _entry()["weight"] for i in range(1000)}
    return _safetensors(folder, shared, bytes(4))


# --- what a file is -------------------------------------------------------------------------------


@case()
def many_small_fields_as_onnx(folder: Path) -> Opener:
    (folder / "m.onnx").write_bytes(b"\x08\x01" * 1_000_000)
    return _opening(folder / "m.onnx")


@case()
def numbers_without_end_as_onnx(folder: Path) -> Opener:
    (folder / "m.onnx").write_bytes(b"\x08" + b"\xff" * 1_000_000)
    return _opening(folder / "m.onnx")


@case()
def archive_of_many_names(folder: Path) -> Opener:
    limits.MOST_ENTRIES = 100
    with zipfile.ZipFile(folder / "m.pt", "w") as archive:
        for i in range(200):
            archive.writestr(f"m/{i}", b"")
    return _opening(folder / "m.pt")


@case()
def archive_of_names_with_controls(folder: Path) -> Opener:
    with zipfile.ZipFile(folder / "m.pt", "w") as archive:
        archive.writestr("\x1b[2J\u202e" * 100, zlib.compress(b"a"))
    return _opening(folder / "m.pt")
