"""Train the demonstration models and write them, their cards and sample images to the package.

Run from the repository root, for instance::

    python scripts/train_demo_models.py nuclei blood-cells --data ../shared/data

The networks are small enough for two CPU cores. The last weights of a fixed schedule are kept:
no validation image takes part in choosing them, so the figures in the cards are not flattered by
such a choice.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import time
import xml.etree.ElementTree as ET
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from skimage.io import imread, imsave
from skimage.segmentation import find_boundaries
from torch import Tensor, nn
from tqdm import tqdm

from napari_neuroscope.samples.architectures import CellClassifier, UNet

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "src" / "napari_neuroscope" / "samples"

NUCLEI_CLASSES = ("background", "nucleus", "border")
# Chosen by content: large and small nuclei, crowding, debris, blur and a bright artefact.
NUCLEI_SAMPLES = (
    "02903040e19d",
    "04acab7636c4",
    "05040e2e959c",
    "193ffaa5272d",
    "619429303c1a",
    "f6863b83d75e",
)
NUCLEI_SPEC = """\
task: segmentation
input:
  axes: bcyx
  size: {min: 16, step: 8}
  channels: 3
  order: rgb
  resize: pad
  normalization: {percentile: [1, 99.8]}
output:
  activation: none
classes:
  - {name: background, colour: [0, 0, 0]}
  - {name: nucleus, colour: [86, 180, 233]}
  - {name: border, colour: [230, 159, 0]}
"""

CELL_CLASSES = ("red cell", "white cell", "platelet")
CELL_NAMES = {"RBC": 0, "WBC": 1, "Platelets": 2}
CELL_SIZE = 80
CELLS_PER_CLASS = 3
SMEAR_SAMPLES = ("BloodImage_00086", "BloodImage_00355")
CELL_SPEC = """\
task: classification
input:
  axes: bcyx
  size: [80, 80]
  channels: 3
  order: rgb
  resize: stretch
  normalization: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]}
output:
  activation: none
classes:
  - {name: red cell, colour: [213, 94, 0]}
  - {name: white cell, colour: [86, 180, 233]}
  - {name: platelet, colour: [240, 228, 66]}
"""

BCCD_LICENSE = """\
The blood smear images, the cell crops cut from them and the boxes in this folder come from the
BCCD dataset (https://github.com/Shenggan/BCCD_Dataset), which is distributed under this licence:

MIT License

Copyright (c) 2017 shenggan

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""

NUCLEI_CARD = """\
# Nuclei segmentation (demonstration model)

A U-Net of four levels (`UNet` in `napari_neuroscope.samples.architectures`, {parameters:,}
parameters) that assigns each pixel of a fluorescence image to background, nucleus or border. The
border class is the one-pixel rim inside each nucleus, so that touching nuclei stay apart. It is
here so that the plugin has a real network to explain.

## Data

{train} training and {val} validation images with instance masks from the 2018 Data Science Bowl,
image set BBBC038v1 of the Broad Bioimage Benchmark Collection (Caicedo et al., Nature Methods 16,
1247-1253, 2019), CC0 1.0. Only single-channel fluorescence images are in this selection. File
names are the first 12 characters of the original image ids. The images under `images/` with
their masks under `instances/` are from the validation set.

## Input

RGB or gray (replicated to three channels; alpha dropped), scaled to 0..1 by the data type, then
`(x - lo) / max(hi - lo, 1e-6)` with `lo, hi` the 1st and 99.8th percentile over all channels and
pixels of the image together, without clipping. Height and width are padded at the bottom and
right to a multiple of 8 (validation: by reflection).

## Training

`scripts/train_demo_models.py nuclei --seed {seed}`: {steps} steps of {batch} crops of
{crop}x{crop} pixels, AdamW (weight decay {decay}) with a one-cycle learning rate up to {rate},
cross entropy (border weighted {border_weight}) plus soft Dice over the three classes.
Augmentation: flips, rotations by 90 degrees, scale {scale_low} to {scale_high}, brightness,
contrast, gamma, noise, and random gains of the colour channels. The last weights are kept; no
validation image had a part in choosing them. Training took {minutes:.1f} minutes on
{threads} CPU threads with PyTorch {torch}.

## Validation

Measured by the script on the {val} full validation images with the saved weights. Foreground is
nucleus or border predicted, against any instance in the mask.

| figure | value |
| --- | --- |
| foreground IoU, mean over images | {foreground_mean:.4f} |
| foreground IoU, lowest image | {foreground_min:.4f} |
| foreground IoU, pooled over all pixels | {foreground_pooled:.4f} |
| IoU background, pooled | {iou_background:.4f} |
| IoU nucleus, pooled | {iou_nucleus:.4f} |
| IoU border, pooled | {iou_border:.4f} |

A one-pixel rim has a low IoU even when it is off by a single pixel.

## Intended use and limits

For demonstration and teaching. Not for measurements, and not for any clinical purpose.
Bright nuclei on a dark ground are expected: stained tissue and bright field were not in the
training data and are expected to fail. The split is by image, so images of one experiment may be
on both sides of it; expect lower figures with other microscopes. Of the validation images, those
of bright, speckled nuclei came out worst: they are found too small. An image without nuclei has its noise stretched by
the percentiles, and false detections may follow. The class `border` does not guarantee separate
instances.
"""

CELL_CARD = """\
# Blood cell classification (demonstration model)

A small residual network (`CellClassifier` in `napari_neuroscope.samples.architectures`,
{parameters:,} parameters) that tells red cells, white cells and platelets apart in crops of
stained blood smears. It ends in 10x10 feature maps, global average pooling and one linear layer,
the structure for which class activation mapping was defined. It is here so that the plugin has a
real network to explain.

## Data

{train} training and {val} validation crops ({val_red} red cells, {val_white} white cells,
{val_platelet} platelets) around the boxes of {train_images} and {val_images} images of the BCCD
dataset (https://github.com/Shenggan/BCCD_Dataset), MIT licence, Copyright (c) 2017 shenggan; its
notice is in `LICENSE-BCCD`. Boxes less than 4 pixels wide or high are left out. The crops under
`images/` (classes in `labels.csv`) and the smears under `smears/` (with their Pascal VOC boxes,
less the element `path`) are from the validation set. The crops were drawn at random, from as many
different smears.

## Input

A square of side 1.25 times the longer side of the box, at least 40 pixels, centred on the box and
shifted into the image (reflected if larger than the image), resized to 80x80 (bilinear with
antialiasing), scaled to 0..1, then mean 0.5 and standard deviation 0.25 for each channel. The
sample crops are stored before resizing.

## Training

`scripts/train_demo_models.py blood-cells --seed {seed}`: {steps} steps of {batch} crops, each
class drawn equally often, AdamW (weight decay {decay}) with a one-cycle learning rate up to
{rate}, cross entropy with label smoothing {smoothing}. Augmentation: flips, rotation by any
angle, scale, shift, brightness, contrast and colour. The last weights are kept; no validation
image had a part in choosing them. Training took {minutes:.1f} minutes on {threads} CPU threads
with PyTorch {torch}.

## Validation

Measured by the script on all {val} validation crops with the saved weights.

| figure | value |
| --- | --- |
| balanced accuracy | {balanced:.4f} |
| accuracy | {accuracy:.4f} |
| recall red cell | {recall_red:.4f} |
| recall white cell | {recall_white:.4f} |
| recall platelet | {recall_platelet:.4f} |

Confusion matrix:

| truth | red cell | white cell | platelet |
| --- | --- | --- | --- |
{confusion}

The three classes differ strongly in colour and texture, so this is an easy task. The split is by
image, and images of one slide may be on both sides of it: the validation smear BloodImage_00037
nearly repeats the training smear BloodImage_00038. Most red cell crops show neighbouring red
cells as well, and some boxes of BCCD are wrong or coarse.

## Intended use and limits

For demonstration and teaching. Not for diagnosis, counting or any clinical purpose. All smears come
from one source, so expect lower figures with other stains and microscopes.
Each crop is scaled to its box: the true size of the cell, a strong cue to a human, is not
available to the network. It has no class for anything else and gives an answer to every crop.
"""


@dataclass(frozen=True)
class Schedule:
    """Settings of one training run."""

    steps: int
    batch: int
    rate: float
    decay: float


NUCLEI_SCHEDULE = Schedule(steps=1000, batch=8, rate=4e-3, decay=1e-2)
NUCLEI_CROP = 128
NUCLEI_SCALE = (0.75, 1.35)
BORDER_WEIGHT = 2.0

CELL_SCHEDULE = Schedule(steps=600, batch=36, rate=3e-3, decay=2e-2)
SMOOTHING = 0.05


def seed_everything(seed: int, threads: int) -> np.random.Generator:
    """Fix what can be fixed: seeds, algorithms and the number of threads.

    Parameters
    ----------
    seed : int
        Seed of torch and of the returned generator.
    threads : int
        Threads torch uses; sums depend on how they are split, so results do too.

    Returns
    -------
    numpy.random.Generator
        Generator for sampling and augmentation.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    return np.random.default_rng(seed)


def make_optimizer(
    model: nn.Module, schedule: Schedule
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Create AdamW and its one-cycle schedule."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=schedule.decay)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=schedule.rate, total_steps=schedule.steps, pct_start=0.2
    )
    return optimizer, scheduler


def as_float_rgb(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bring an image to (Y, X, 3) in 0..1.

    Parameters
    ----------
    image : numpy.ndarray
        uint8 image (Y, X) or (Y, X, C); alpha is dropped.

    Returns
    -------
    numpy.ndarray
        float32 image (Y, X, 3).
    """
    if image.ndim == 2:
        image = np.stack([image] * 3, axis=-1)
    return image[..., :3].astype(np.float32) / 255


def save_model(model: nn.Module, folder: Path) -> None:
    """Write the weights as float32 safetensors."""
    # Channels-last weights have to become contiguous before they can be written.
    state = {key: value.detach().contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    # safetensors makes the file readable for its owner only, which a package must not be.
    (folder / "model.safetensors").chmod(0o644)


def clear_samples(folder: Path, names: tuple[str, ...]) -> None:
    """Remove sample folders of an earlier run and create empty ones."""
    for name in names:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)


# --- nuclei -------------------------------------------------------------------------------------


def nuclei_target(instances: NDArray[np.integer]) -> NDArray[np.int64]:
    """Turn instance ids into background 0, nucleus 1 and border 2."""
    target = (instances > 0).astype(np.int64)
    target[find_boundaries(instances, mode="inner")] = 2
    return target


def normalize_percentile(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale an image so that its 1st and 99.8th percentile become 0 and 1, without clipping."""
    low, high = np.percentile(image, [1, 99.8])
    return ((image - low) / max(high - low, 1e-6)).astype(np.float32)


def read_nuclei(folder: Path) -> list[tuple[str, NDArray[np.uint8], NDArray[np.int32]]]:
    """Read images and instances of one split.

    Parameters
    ----------
    folder : Path
        Folder with ``images`` and ``instances``.

    Returns
    -------
    list of tuple
        Name, image and instance ids.
    """
    paths = sorted((folder / "images").glob("*.png"))
    if not paths:
        raise FileNotFoundError(f"no images under {folder}")
    return [
        (path.stem, imread(path), imread(folder / "instances" / path.name).astype(np.int32))
        for path in paths
    ]


def nuclei_crop(
    image: NDArray[np.uint8], instances: NDArray[np.int32], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Cut one augmented training crop.

    Parameters
    ----------
    image, instances : numpy.ndarray
        Full image and its instance ids.
    rng : numpy.random.Generator
        Source of the augmentation.

    Returns
    -------
    tuple of Tensor
        Image (3, crop, crop) and target (crop, crop).
    """
    full = as_float_rgb(image) ** rng.uniform(0.7, 1.4)
    if rng.random() < 0.4:
        # Fluorescence is often shown in colour; the gains stand for such a look-up table.
        gains = rng.uniform(0, 1, 3).astype(np.float32)
        full = full * (gains / gains.max())
    low, high = np.percentile(full[::2, ::2], [1, 99.8])

    side = round(NUCLEI_CROP * rng.uniform(*NUCLEI_SCALE))
    side = min(side, *image.shape[:2])
    top = int(rng.integers(image.shape[0] - side + 1))
    left = int(rng.integers(image.shape[1] - side + 1))
    window = np.s_[top : top + side, left : left + side]
    x = (full[window] - low) / max(high - low, 1e-6)
    size = (NUCLEI_CROP, NUCLEI_CROP)
    pixels = torch.from_numpy(x.astype(np.float32)).permute(2, 0, 1)[None]
    pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)[0]
    ids = torch.from_numpy(instances[window].astype(np.float32))[None, None]
    ids = F.interpolate(ids, size, mode="nearest-exact")[0, 0]
    # Borders are drawn after scaling: they keep a width of one pixel.
    target = torch.from_numpy(nuclei_target(ids.numpy().astype(np.int32)))

    turns = int(rng.integers(4))
    pixels, target = torch.rot90(pixels, turns, (1, 2)), torch.rot90(target, turns, (0, 1))
    if rng.random() < 0.5:
        pixels, target = pixels.flip(2), target.flip(1)
    pixels = pixels * rng.uniform(0.8, 1.25) + rng.uniform(-0.05, 0.1)
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(0.01, 0.05), pixels.shape).astype(np.float32)
        pixels = pixels + torch.from_numpy(noise)
    return pixels.float(), target


def nuclei_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross entropy plus soft Dice over the classes."""
    entropy = F.cross_entropy(logits, target, weight=weight)
    probability = logits.softmax(1)
    truth = F.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2).to(probability.dtype)
    overlap = (probability * truth).sum((0, 2, 3))
    total = (probability + truth).sum((0, 2, 3))
    return entropy + 1 - ((2 * overlap + 1) / (total + 1)).mean()


@torch.inference_mode()
def predict_nuclei(model: UNet, image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Segment one full image.

    Parameters
    ----------
    model : UNet
        Network in evaluation mode.
    image : numpy.ndarray
        uint8 image (Y, X) or (Y, X, C).

    Returns
    -------
    numpy.ndarray
        Class of each pixel (Y, X).
    """
    x = normalize_percentile(as_float_rgb(image))
    height, width = x.shape[:2]
    x = np.pad(x, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="reflect")
    logits = model(torch.from_numpy(x).permute(2, 0, 1)[None].contiguous())
    return logits[0, :, :height, :width].argmax(0).numpy()


def evaluate_nuclei(
    model: UNet, data: list[tuple[str, NDArray[np.uint8], NDArray[np.int32]]]
) -> dict[str, float]:
    """Measure the overlap on full images.

    Parameters
    ----------
    model : UNet
        Trained network.
    data : list of tuple
        Validation data of :func:`read_nuclei`.

    Returns
    -------
    dict
        Foreground IoU (mean, lowest, pooled) and the pooled IoU of each class.
    """
    model.eval()
    confusion = np.zeros((3, 3), dtype=np.int64)
    scores = []
    for _, image, instances in tqdm(data, desc="validate nuclei", mininterval=5):
        predicted, truth = predict_nuclei(model, image), nuclei_target(instances)
        confusion += np.bincount(3 * truth.ravel() + predicted.ravel(), minlength=9).reshape(3, 3)
        union = ((predicted > 0) | (truth > 0)).sum()
        # Nothing to find and nothing found is a perfect answer.
        scores.append(((predicted > 0) & (truth > 0)).sum() / union if union else 1.0)
    hits = confusion.diagonal()
    iou = hits / np.maximum(confusion.sum(0) + confusion.sum(1) - hits, 1)
    foreground = confusion[1:, 1:].sum() / max(confusion.sum() - confusion[0, 0], 1)
    return {
        "foreground_mean": float(np.mean(scores)),
        "foreground_min": float(np.min(scores)),
        "foreground_pooled": float(foreground),
        **{f"iou_{name}": float(value) for name, value in zip(NUCLEI_CLASSES, iou, strict=True)},
    }


def write_nuclei_samples(source: Path, folder: Path) -> None:
    """Copy sample images and their masks from the validation set."""
    clear_samples(folder, ("images", "instances"))
    for name in NUCLEI_SAMPLES:
        for kind in ("images", "instances"):
            shutil.copyfile(source / kind / f"{name}.png", folder / kind / f"{name}.png")


def train_nuclei(data: Path, out: Path, seed: int, threads: int) -> None:
    """Train the nuclei model and write its folder.

    Parameters
    ----------
    data : Path
        Folder that holds ``nuclei``.
    out : Path
        Folder that receives ``nuclei``.
    seed, threads : int
        See :func:`seed_everything`.
    """
    rng = seed_everything(seed, threads)
    train = read_nuclei(data / "nuclei" / "train")
    val = read_nuclei(data / "nuclei" / "val")
    folder = out / "nuclei"
    write_nuclei_samples(data / "nuclei" / "val", folder)
    # Larger images hold more to see, but must not drown the others.
    chance = np.sqrt([image.shape[0] * image.shape[1] for _, image, _ in train])
    chance /= chance.sum()
    model = UNet().to(memory_format=torch.channels_last)
    optimizer, scheduler = make_optimizer(model, NUCLEI_SCHEDULE)
    weight = torch.tensor([1.0, 1.0, BORDER_WEIGHT])

    start = time.perf_counter()
    model.train()
    bar = tqdm(range(NUCLEI_SCHEDULE.steps), desc="train nuclei", mininterval=5)
    for _ in bar:
        chosen = rng.choice(len(train), NUCLEI_SCHEDULE.batch, p=chance)
        crops = [nuclei_crop(train[i][1], train[i][2], rng) for i in chosen]
        x = torch.stack([crop[0] for crop in crops]).contiguous(memory_format=torch.channels_last)
        loss = nuclei_loss(model(x), torch.stack([crop[1] for crop in crops]), weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    minutes = (time.perf_counter() - start) / 60

    save_model(model, folder)
    # The figures belong to the file, so they are measured with what was read back from it.
    model = UNet()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    figures = evaluate_nuclei(model, val)
    (folder / "model.neuroscope.yaml").write_text(NUCLEI_SPEC, encoding="utf-8")
    card = NUCLEI_CARD.format(
        parameters=sum(p.numel() for p in model.parameters()),
        train=len(train),
        val=len(val),
        crop=NUCLEI_CROP,
        scale_low=NUCLEI_SCALE[0],
        scale_high=NUCLEI_SCALE[1],
        border_weight=BORDER_WEIGHT,
        seed=seed,
        threads=threads,
        minutes=minutes,
        torch=torch.__version__.split("+")[0],
        **vars(NUCLEI_SCHEDULE),
        **figures,
    )
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    print(f"nuclei: trained in {minutes:.1f} minutes")
    for name, value in figures.items():
        print(f"  {name}: {value:.4f}")


# --- blood cells --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """Crop of one annotated cell at the resolution of its smear."""

    smear: str
    label: int
    pixels: NDArray[np.uint8]


def cell_crop(
    image: NDArray[np.uint8], box: tuple[float, float, float, float]
) -> NDArray[np.uint8]:
    """Cut the square around a box.

    Parameters
    ----------
    image : numpy.ndarray
        Smear (Y, X, 3).
    box : tuple of float
        Left, top, right and bottom.

    Returns
    -------
    numpy.ndarray
        Square crop of side 1.25 times the longer side of the box, at least 40 pixels.
    """
    left, top, right, bottom = box
    side = max(round(1.25 * max(right - left, bottom - top)), 40)
    padding = [(0, 0)] * 3
    start = [0, 0]
    for axis, centre in enumerate(((top + bottom) / 2, (left + right) / 2)):
        size = image.shape[axis]
        if side > size:
            before = (side - size) // 2
            padding[axis] = (before, side - size - before)
        else:
            start[axis] = min(max(round(centre - side / 2), 0), size - side)
    if any(map(any, padding)):
        image = np.pad(image, padding, mode="reflect")
    return image[start[0] : start[0] + side, start[1] : start[1] + side].copy()


def read_cells(folder: Path) -> list[Cell]:
    """Cut all cells of one split.

    Parameters
    ----------
    folder : Path
        Folder with ``images`` and ``boxes``.

    Returns
    -------
    list of Cell
        Cells in the order of the files and their boxes.
    """
    paths = sorted((folder / "images").glob("*.jpg"))
    if not paths:
        raise FileNotFoundError(f"no images under {folder}")
    cells = []
    for path in paths:
        image = imread(path)
        for item in ET.parse(folder / "boxes" / f"{path.stem}.xml").iter("object"):
            left, top, right, bottom = (
                float(item.findtext(f"bndbox/{key}", "nan"))
                for key in ("xmin", "ymin", "xmax", "ymax")
            )
            if right - left < 4 or bottom - top < 4:
                continue
            crop = cell_crop(image, (left, top, right, bottom))
            cells.append(Cell(path.stem, CELL_NAMES[item.findtext("name", "")], crop))
    return cells


def cell_tensor(crop: NDArray[np.uint8]) -> Tensor:
    """Resize a crop to the size of the network, in 0..1.

    Parameters
    ----------
    crop : numpy.ndarray
        uint8 crop (Y, X, 3).

    Returns
    -------
    Tensor
        Pixels (3, 80, 80).
    """
    x = torch.from_numpy(as_float_rgb(crop)).permute(2, 0, 1)[None]
    size = (CELL_SIZE, CELL_SIZE)
    return F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)[0]


def augment_cells(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Vary a batch of crops in geometry and colour.

    Parameters
    ----------
    x : Tensor
        Pixels (N, 3, 80, 80) in 0..1.
    rng : numpy.random.Generator
        Source of the augmentation.

    Returns
    -------
    Tensor
        Pixels of the same shape, roughly in 0..1.
    """
    count = len(x)
    angle = rng.uniform(0, 2 * np.pi, count)
    scale = rng.uniform(0.8, 1.2, count)
    flip = rng.choice([-1.0, 1.0], count)
    theta = np.zeros((count, 2, 3))
    theta[:, 0, 0], theta[:, 0, 1] = scale * np.cos(angle) * flip, -scale * np.sin(angle)
    theta[:, 1, 0], theta[:, 1, 1] = scale * np.sin(angle) * flip, scale * np.cos(angle)
    theta[:, :, 2] = rng.uniform(-0.1, 0.1, (count, 2))
    grid = F.affine_grid(torch.from_numpy(theta).float(), list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)

    def draw(low: float, high: float, channels: int) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (count, channels, 1, 1))).float()

    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * draw(0.75, 1.3, 1) + mean + draw(-0.1, 0.1, 1)
    gray = x.mean(1, keepdim=True)
    x = gray + (x - gray) * draw(0.6, 1.3, 1)
    return x * draw(0.93, 1.07, 3)


def normalize_cells(x: Tensor) -> Tensor:
    """Apply mean 0.5 and standard deviation 0.25."""
    return (x - 0.5) / 0.25


@torch.inference_mode()
def evaluate_cells(model: CellClassifier, pixels: Tensor, labels: Tensor) -> NDArray[np.int64]:
    """Count predictions for each true class.

    Parameters
    ----------
    model : CellClassifier
        Trained network.
    pixels : Tensor
        Crops (N, 3, 80, 80) in 0..1.
    labels : Tensor
        True classes (N,).

    Returns
    -------
    numpy.ndarray
        Confusion matrix, rows are true classes.
    """
    model.eval()
    predicted = torch.cat([model(normalize_cells(x)).argmax(1) for x in pixels.split(64)])
    return torch.bincount(3 * labels + predicted, minlength=9).reshape(3, 3).numpy()


def write_cell_samples(source: Path, cells: list[Cell], folder: Path, seed: int) -> None:
    """Write sample crops with labels, and smears with boxes, from the validation set.

    Parameters
    ----------
    source : Path
        Validation folder.
    cells : list of Cell
        Its cells.
    folder : Path
        Folder of the model.
    seed : int
        Seed of the random choice of crops.
    """
    clear_samples(folder, ("images", "smears"))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(cells))
    used: set[str] = set()
    rows = []
    for label, name in enumerate(CELL_CLASSES):
        count = 0
        for cell in (cells[i] for i in order):
            # One crop a smear, for variety.
            if cell.label != label or cell.smear in used or count == CELLS_PER_CLASS:
                continue
            used.add(cell.smear)
            count += 1
            file = f"images/{name.replace(' ', '-')}-{count}.png"
            imsave(folder / file, cell.pixels, check_contrast=False)
            rows.append((file, name))
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("file", "class"))
        writer.writerows(rows)
    for name in SMEAR_SAMPLES:
        shutil.copyfile(source / "images" / f"{name}.jpg", folder / "smears" / f"{name}.jpg")
        tree = ET.parse(source / "boxes" / f"{name}.xml")
        root = tree.getroot()
        # The element holds a path on the annotator's machine.
        for item in root.findall("path"):
            root.remove(item)
        tree.write(folder / "smears" / f"{name}.xml", encoding="utf-8")
    (folder / "LICENSE-BCCD").write_text(BCCD_LICENSE, encoding="utf-8")


def train_cells(data: Path, out: Path, seed: int, threads: int) -> None:
    """Train the blood cell model and write its folder.

    Parameters
    ----------
    data : Path
        Folder that holds ``blood_cells``.
    out : Path
        Folder that receives ``blood-cells``.
    seed, threads : int
        See :func:`seed_everything`.
    """
    rng = seed_everything(seed, threads)
    train = read_cells(data / "blood_cells" / "train")
    val = read_cells(data / "blood_cells" / "val")
    folder = out / "blood-cells"
    write_cell_samples(data / "blood_cells" / "val", val, folder, seed)
    pixels = torch.stack([cell_tensor(cell.pixels) for cell in train])
    members = defaultdict(list)
    for index, cell in enumerate(train):
        members[cell.label].append(index)
    per_class = CELL_SCHEDULE.batch // len(CELL_CLASSES)
    labels = torch.arange(len(CELL_CLASSES)).repeat_interleave(per_class)
    model = CellClassifier().to(memory_format=torch.channels_last)
    optimizer, scheduler = make_optimizer(model, CELL_SCHEDULE)

    start = time.perf_counter()
    model.train()
    bar = tqdm(range(CELL_SCHEDULE.steps), desc="train blood cells", mininterval=5)
    for _ in bar:
        chosen = np.concatenate(
            [rng.choice(members[label], per_class) for label in range(len(CELL_CLASSES))]
        )
        x = normalize_cells(augment_cells(pixels[torch.from_numpy(chosen)], rng))
        x = x.contiguous(memory_format=torch.channels_last)
        loss = F.cross_entropy(model(x), labels, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    minutes = (time.perf_counter() - start) / 60

    save_model(model, folder)
    # The figures belong to the file, so they are measured with what was read back from it.
    model = CellClassifier()
    model.load_state_dict(load_file(folder / "model.safetensors"))
    confusion = evaluate_cells(
        model,
        torch.stack([cell_tensor(cell.pixels) for cell in val]),
        torch.tensor([cell.label for cell in val]),
    )
    totals = confusion.sum(1)
    recall = confusion.diagonal() / np.maximum(totals, 1)
    table = [
        f"| {name} | {' | '.join(map(str, row))} |"
        for name, row in zip(CELL_CLASSES, confusion, strict=True)
    ]
    figures = {
        "balanced": float(recall.mean()),
        "accuracy": float(confusion.trace() / totals.sum()),
        "recall_red": float(recall[0]),
        "recall_white": float(recall[1]),
        "recall_platelet": float(recall[2]),
    }
    (folder / "model.neuroscope.yaml").write_text(CELL_SPEC, encoding="utf-8")
    card = CELL_CARD.format(
        parameters=sum(p.numel() for p in model.parameters()),
        train=len(train),
        val=len(val),
        train_images=len({cell.smear for cell in train}),
        val_images=len({cell.smear for cell in val}),
        val_red=totals[0],
        val_white=totals[1],
        val_platelet=totals[2],
        smoothing=SMOOTHING,
        confusion="\n".join(table),
        seed=seed,
        threads=threads,
        minutes=minutes,
        torch=torch.__version__.split("+")[0],
        **vars(CELL_SCHEDULE),
        **figures,
    )
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    print(f"blood cells: trained in {minutes:.1f} minutes")
    for name, value in figures.items():
        print(f"  {name}: {value:.4f}")
    print("  confusion (rows are truth):")
    for name, row in zip(CELL_CLASSES, confusion, strict=True):
        print(f"    {name:<12}{row[0]:>5}{row[1]:>5}{row[2]:>5}")


def main() -> None:
    """Read the command line and train the models it names."""
    trainers = {"nuclei": train_nuclei, "blood-cells": train_cells}
    parser = argparse.ArgumentParser(description="Train the demonstration models.")
    parser.add_argument("models", nargs="+", choices=sorted(trainers), help="models to train")
    parser.add_argument("--data", type=Path, default=ROOT / ".." / "shared" / "data")
    parser.add_argument("--out", type=Path, default=SAMPLES, help="folder for the results")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=min(2, os.cpu_count() or 1), help="torch CPU threads"
    )
    arguments = parser.parse_args()
    for name in dict.fromkeys(arguments.models):
        trainers[name](arguments.data, arguments.out, arguments.seed, arguments.threads)


if __name__ == "__main__":
    main()
