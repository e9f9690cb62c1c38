"""Keras files that run code, read elsewhere, or become very large."""

from __future__ import annotations

import base64
import json
import marshal
import shutil
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hostile.watch import Opener, case, marker
from napari_neuroscope.engine.files import limits
from napari_neuroscope.engine.networks.load import load

KERNEL = "model_weights/first/net/first/kernel"
Config = dict[str, Any]


def prepare(base: Path) -> None:
    """Save a small network, whole and as weights alone."""
    from napari_neuroscope.engine.frameworks.keras.tensorflow_import import import_tensorflow

    import_tensorflow()
    import keras

    network = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, name="first"),
            keras.layers.GlobalAveragePooling2D(name="mean"),
            keras.layers.Dense(3, name="last"),
        ],
        name="net",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("net.keras", "net.h5"):
            network.save(base / name)
    # What is imported at a first load is none of a case's doing.
    load(base / "net.keras", device="cpu")
    load(base / "net.h5", device="cpu")


def layer(kind: str, module: str | None = "keras.layers", **config: Any) -> Config:
    made = {"class_name": kind, "config": {"name": "own", **config}, "registered_name": None}
    return made if module is None else {**made, "module": module}


def code(folder: Path) -> str:
    """Return bytecode that would write the marker."""
    function = eval(f"lambda x: open({str(marker(folder))!r}, 'w').write('x') and x")
    return base64.b64encode(marshal.dumps(function.__code__)).decode()


def bytecode(folder: Path) -> Config:
    inner = {"code": code(folder), "value": code(folder), "defaults": None, "closure": None}
    return {"class_name": "__lambda__", "config": inner}


def function(name: str, module: str) -> Config:
    return {"class_name": "function", "config": name, "module": module, "registered_name": name}


def sequence(*layers: Config) -> Config:
    first = layer("InputLayer", batch_shape=[None, 8, 8, 3], dtype="float32")
    first["config"]["name"] = "image"
    inner = {"name": "net", "layers": [first, *layers]}
    return {"class_name": "Sequential", "module": "keras", "config": inner, "registered_name": None}


def archive(
    folder: Path, config: Any = None, *, change: Callable[[dict[str, bytes]], None] | None = None
) -> Opener:
    """Write the network's archive with another configuration, or with changes."""
    with zipfile.ZipFile(folder.parent / "base" / "net.keras") as whole:
        files = {name: whole.read(name) for name in whole.namelist()}
    if config is not None:
        files["config.json"] = config if isinstance(config, bytes) else json.dumps(config).encode()
    if change is not None:
        change(files)
    path = folder / "net.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files.items():
            made.writestr(name, content)
    return lambda: load(path, device="cpu")


def of_layers(folder: Path, *layers: Config) -> Opener:
    return archive(folder, sequence(*layers))


def hdf5(folder: Path, change: Callable[[Any], None]) -> Opener:
    """Write the network's HDF5 file with changes."""
    import h5py

    path = folder / "net.h5"
    shutil.copy(folder.parent / "base" / "net.h5", path)
    with h5py.File(path, "a") as file:
        change(file)
    return lambda: load(path, device="cpu")


def old(folder: Path, *layers: Config) -> Opener:
    """Write a file as Keras 2 has it."""
    first = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 8, 8, 3]}}
    config = {"class_name": "Sequential", "config": {"name": "net", "layers": [first, *layers]}}

    def change(file: Any) -> None:
        file.attrs["model_config"] = json.dumps(config)

    return hdf5(folder, change)


# --- code ---


@case("trust")
def lambda_with_bytecode(folder: Path) -> Opener:
    return of_layers(folder, layer("Lambda", function=bytecode(folder)))


@case("trust")
def lambda_as_an_activation(folder: Path) -> Opener:
    return of_layers(folder, layer("Dense", units=2, activation=bytecode(folder)))


@case("trust")
def lambda_as_first_values(folder: Path) -> Opener:
    return of_layers(folder, layer("Dense", units=2, kernel_initializer=bytecode(folder)))


@case("trust")
def lambda_as_a_constraint_within_a_wrapper(folder: Path) -> Opener:
    inner = layer("Dense", units=2, kernel_constraint=bytecode(folder))
    return of_layers(folder, layer("TimeDistributed", layer=inner))


@case("trust")
def lambda_of_an_old_file(folder: Path) -> Opener:
    given = {"function": [code(folder), None, None], "function_type": "lambda"}
    return old(folder, layer("Lambda", None, **given))


@case("trust")
def lambda_under_another_name(folder: Path) -> Opener:
    given = {"function": [code(folder), None, None], "function_type": "lambda"}
    return old(folder, layer("Custom>Lambda", None, **given))


@case("trust")
def lambda_that_gives_a_shape(folder: Path) -> Opener:
    one = layer("Lambda", None, function="relu", function_type="function")
    one["config"] |= {"module": "keras.activations", "output_shape": [code(folder), None, None],
                      "output_shape_type": "lambda"}  # fmt: skip
    return old(folder, one)


@case()
def function_of_the_system(folder: Path) -> Opener:
    return of_layers(folder, layer("Activation", activation=function("system", "os")))


@case()
def function_that_evaluates(folder: Path) -> Opener:
    return of_layers(folder, layer("Activation", activation=function("eval", "builtins")))


@case()
def function_that_downloads(folder: Path) -> Opener:
    return of_layers(folder, layer("Activation", activation=function("get_file", "keras.utils")))


@case()
def model_that_is_a_call(folder: Path) -> Opener:
    return archive(folder, layer("enable_unsafe_deserialization", "keras.config"))


@case()
def class_of_the_system(folder: Path) -> Opener:
    return of_layers(folder, layer("Popen", "subprocess", args=["touch", str(marker(folder))]))


@case()
def module_that_runs_when_imported(folder: Path) -> Opener:
    (folder / "own_layers.py").write_text(f"open({str(marker(folder))!r}, 'w')\nclass Own: pass\n")
    sys.path.insert(0, str(folder))
    return of_layers(folder, layer("Own", "own_layers"))


@case()
def module_of_an_activation_that_runs_when_imported(folder: Path) -> Opener:
    (folder / "own_layers.py").write_text(f"open({str(marker(folder))!r}, 'w')\ndef own(x): pass\n")
    sys.path.insert(0, str(folder))
    return of_layers(folder, layer("Activation", activation=function("own", "own_layers")))


@case("trust")
def layer_that_is_a_saved_model(folder: Path) -> Opener:
    return of_layers(folder, layer("TFSMLayer", filepath=str(folder), call_endpoint="serve"))


@case("trust")
def layer_that_is_a_saved_model_in_an_old_file(folder: Path) -> Opener:
    return old(folder, layer("TFSMLayer", None, filepath=str(folder), call_endpoint="serve"))


@case("trust")
def layer_that_is_a_pickle(folder: Path) -> Opener:
    content = {"class_name": "__bytes__", "config": {"value": "gASVAA==", "encoding": "base64"}}
    return of_layers(folder, layer("TorchModuleWrapper", module=content, output_shape=None))


@case("trust")
def saved_model(folder: Path) -> Opener:
    (folder / "saved").mkdir()
    (folder / "saved" / "saved_model.pb").write_bytes(b"\x08\x01")
    return lambda: load(folder / "saved")


@case("trust")
def type_of_tensorflow(folder: Path) -> Opener:
    given = {"class_name": "TypeSpec", "type_spec": "tf.TensorSpec", "serialized": []}
    return old(folder, given)


# --- files of the user ---


@case("trust")
def words_of_a_file_of_the_user(folder: Path) -> Opener:
    (folder.parent / "secret").write_text("a\nb\n")
    path = str(folder.parent / "secret")
    return of_layers(folder, layer("StringLookup", vocabulary=path, num_oov_indices=1))


@case("trust")
def words_of_a_file_of_the_user_in_an_old_file(folder: Path) -> Opener:
    path = str(folder.parent / "secret")
    return old(folder, layer("TextVectorization", None, vocabulary=path))


@case()
def file_of_the_archive_that_lies_elsewhere(folder: Path) -> Opener:
    def change(files: dict[str, bytes]) -> None:
        files[f"assets/../../{marker(folder).name}"] = b"x"

    return archive(folder, change=change)


@case()
def layer_with_a_path_for_a_name(folder: Path) -> Opener:
    lookup = layer("StringLookup", vocabulary=["a"])
    lookup["config"]["name"] = "../../../secret"
    return of_layers(folder, lookup)


@case()
def two_configurations(folder: Path) -> Opener:
    opens = archive(folder)
    evil = json.dumps(sequence(layer("Lambda", function=bytecode(folder))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(folder / "net.keras", "a") as file:
            file.writestr("config.json", evil)
    return opens


def kernel(folder: Path, put: Callable[[Any, str], None]) -> Opener:
    """Put something in place of a weight of an HDF5 file."""

    def change(file: Any) -> None:
        del file[KERNEL]
        put(file, KERNEL)

    return hdf5(folder, change)


@case()
def weights_of_another_file(folder: Path) -> Opener:
    import h5py

    def put(file: Any, name: str) -> None:
        file[name] = h5py.ExternalLink(str(folder.parent / "secret.h5"), "kernel")

    return kernel(folder, put)


@case()
def weights_in_raw_bytes_elsewhere(folder: Path) -> Opener:
    (folder.parent / "secret").write_bytes(bytes(432))
    place = [(str(folder.parent / "secret"), 0, 432)]
    return kernel(folder, lambda f, n: f.create_dataset(n, (3, 3, 3, 4), "f4", external=place))


@case()
def weights_that_are_virtual(folder: Path) -> Opener:
    import h5py

    def put(file: Any, name: str) -> None:
        layout = h5py.VirtualLayout((3, 3, 3, 4), "f4")
        layout[...] = h5py.VirtualSource(str(folder.parent / "secret.h5"), "k", (3, 3, 3, 4))
        file.create_virtual_dataset(name, layout)

    return kernel(folder, put)


@case()
def weights_behind_a_soft_link(folder: Path) -> Opener:
    import h5py

    return kernel(folder, lambda f, n: f.__setitem__(n, h5py.SoftLink("/elsewhere")))


@case()
def archived_weights_of_another_file(folder: Path) -> Opener:
    import h5py

    def change(files: dict[str, bytes]) -> None:
        path = folder / "weights.h5"
        path.write_bytes(files["model.weights.h5"])
        with h5py.File(path, "a") as file:
            file["more"] = h5py.ExternalLink(str(folder.parent / "secret.h5"), "/")
        files["model.weights.h5"] = path.read_bytes()
        path.unlink()

    return archive(folder, change=change)


@case("opens")
def groups_in_a_circle(folder: Path) -> Opener:
    return hdf5(folder, lambda file: file.__setitem__("model_weights/first/again", file["/"]))


# --- what grows ---


@case()
def weights_of_gigabytes_that_are_not_there(folder: Path) -> Opener:
    dense = layer("Dense", units=5_000_000, kernel_initializer="zeros", name="last")
    return of_layers(folder, layer("Flatten"), dense)


@case()
def weights_of_gigabytes_in_an_old_file(folder: Path) -> Opener:
    dense = layer("Dense", None, units=5_000_000, kernel_initializer="zeros", name="last")
    return old(folder, layer("Flatten", None), dense)


@case()
def sparse_weights_of_gigabytes(folder: Path) -> Opener:
    shape = (100_000, 100_000, 4)
    return kernel(folder, lambda f, n: f.create_dataset(n, shape, "f4", chunks=(10, 10, 4)))


@case()
def weights_in_a_chunk_of_gigabytes(folder: Path) -> Opener:
    def put(file: Any, name: str) -> None:
        chunks, most = (1 << 15, 1 << 14, 1, 1), (None, None, None, None)
        file.create_dataset(name, (3, 3, 3, 4), "f4", chunks=chunks, maxshape=most)

    return kernel(folder, put)


@case()
def configuration_that_unpacks_to_much(folder: Path) -> Opener:
    opens = archive(folder, b"{" + b" " * (8 << 20) + b"}")

    def open_it() -> Any:
        limits.ALWAYS_UNPACKED = 1 << 20
        return opens()

    return open_it


@case()
def configuration_that_is_nested_deeply(folder: Path) -> Opener:
    return archive(folder, b"[" * 60_000 + b"]" * 60_000)


@case()
def configuration_of_an_old_file_that_is_nested_deeply(folder: Path) -> Opener:
    return hdf5(folder, lambda file: file.attrs.__setitem__("model_config", '{"a":' * 60_000))


@case()
def configuration_that_is_a_number(folder: Path) -> Opener:
    return hdf5(folder, lambda file: file.attrs.__setitem__("model_config", 5))


@case()
def configuration_that_is_an_array(folder: Path) -> Opener:
    return hdf5(folder, lambda file: file.attrs.__setitem__("model_config", np.zeros(9)))


@case()
def configuration_without_a_class(folder: Path) -> Opener:
    return archive(folder, [1, 2])


@case()
def more_layers_than_any_network(folder: Path) -> Opener:
    layers = [layer("ReLU") for _ in range(60)]
    for number, one in enumerate(layers):
        one["config"]["name"] = f"relu{number}"
    opens = of_layers(folder, *layers)

    def open_it() -> Any:
        limits.MOST_KERAS_LAYERS = 50
        return opens()

    return open_it


@case("trust")
def recurrence_that_is_laid_out(folder: Path) -> Opener:
    steps = layer("Reshape", target_shape=[192, 1], name="steps")
    return of_layers(folder, steps, layer("LSTM", units=2, unroll=True))


@case()
def pass_that_fills_the_memory(folder: Path) -> Opener:
    larger = layer("UpSampling2D", size=[4000, 4000])
    return of_layers(folder, larger, layer("GlobalAveragePooling2D", name="mean"))


# --- what is no network ---


@case()
def archive_that_was_cut_off(folder: Path) -> Opener:
    opens = archive(folder)
    path = folder / "net.keras"
    path.write_bytes(path.read_bytes()[:-200])
    return opens


@case()
def hdf5_that_was_cut_off(folder: Path) -> Opener:
    path = folder / "net.h5"
    path.write_bytes((folder.parent / "base" / "net.h5").read_bytes()[:3000])
    return lambda: load(path, device="cpu")


@case("either")
def hdf5_with_other_bytes_in_its_midst(folder: Path) -> Opener:
    path = folder / "net.h5"
    content = bytearray((folder.parent / "base" / "net.h5").read_bytes())
    content[600:1200] = b"\xff" * 600
    path.write_bytes(content)
    return lambda: load(path, device="cpu")


@case()
def layer_with_markup_for_a_name(folder: Path) -> Opener:
    conv = layer("Conv2D", filters=2, kernel_size=[3, 3])
    conv["config"]["name"] = "<b>Signed</b>\n\x1b[31m"
    return of_layers(folder, conv, layer("GlobalAveragePooling2D"))
