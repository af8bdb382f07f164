"""Inference against MONAI's SlidingWindowInferer: the same network, windows and image, in the same run.

Run with ``pytest tests/benchmarks/bench_inference.py -m benchmark_run -s``. The table is printed; what must hold
depends on the hardware, because half precision is what makes the larger factors.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

pytestmark = pytest.mark.benchmark_run

WINDOW = (96, 96, 96)
SPACING = (1.5, 1.5, 1.5)
SCHEME = {"kind": "window", "low": -1000.0, "high": 400.0}
OUTPUTS = 4
#: Of the peer: time of a window, time of the chest, and memory; by whether the CPU computes in bf16. Without it the
#: memory of a small network with few outputs is that of the image, the libraries and the back-end.
BARS = {False: (1.5, 2.0, 1.2), True: (4.0, 6.0, 0.5)}
NETWORKS = ("unet", "unet stride 2", "segresnet", "dynunet")


def network_of(name: str) -> Any:
    """Return a network with weights that mean nothing, the same in every process."""
    import torch

    from medviewer.ai.networks import build_network

    torch.manual_seed(0)
    arguments = {"in_channels": 1, "out_channels": OUTPUTS, "features": [16, 32, 64, 128]}
    if name == "unet":
        return build_network("unet", arguments).eval()
    if name == "unet stride 2":
        return build_network("unet", {**arguments, "strides": [[2, 2, 2]] * 4}).eval()
    from monai.networks.nets import DynUNet, SegResNet

    if name == "segresnet":
        return SegResNet(spatial_dims=3, init_filters=16, in_channels=1, out_channels=OUTPUTS).eval()
    strides, filters = [1, 2, 2, 2, 2], [32, 64, 128, 256, 320]
    norm = ("INSTANCE", {"affine": True})
    return DynUNet(
        3, 1, OUTPUTS, [3] * 5, strides, strides[1:], filters, norm_name=norm, res_block=False
    ).eval()  # fmt: skip


def model_of(name: str) -> Any:
    from medviewer.ai.card import Label, ModelCard
    from medviewer.ai.models import Model

    labels = tuple(Label(value=n, name=f"label_{n}", title=f"Label {n}") for n in range(1, OUTPUTS))
    card = ModelCard(
        id="bench", version="1", title="Bench", network="unet", arguments={"bench": name}, labels=labels,
        window=WINDOW, intensity=SCHEME, modalities=["CT"],
    )  # fmt: skip
    digest = name.encode().hex().ljust(64, "0")
    return Model(card, network_of(name), digest)


def chest_at_hand(archive: Path, folder: Path) -> Path:
    """Return a file of the chest CT in HU on voxels of 1.5 mm, along the patient."""
    from medviewer.ai.model_grid import ModelGrid
    from medviewer.io.dicom_scan import scan_paths
    from medviewer.io.reader import open_series
    from medviewer.jobs.job import NullContext

    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder / "chest")
    series = scan_paths(NullContext(), [folder / "chest"])[0].series
    volume = open_series(NullContext(), max(series, key=lambda ref: len(ref.files)))
    grid = ModelGrid.of(volume.geometry, SPACING)
    np.save(folder / "chest.npy", grid.image(volume.array).astype(np.int16))
    return folder / "chest.npy"


def whole(who: str, name: str, image: Path, out: Path) -> dict[str, Any]:
    """Segment the chest in this process; return seconds and bytes beyond what was there before."""
    import torch

    from medviewer.ai.intensity import normalise
    from medviewer.ai.predictor import predict
    from medviewer.core.geometry import Geometry
    from medviewer.core.volume import Volume
    from medviewer.jobs.job import NullContext
    from medviewer.jobs.memory import peak_rss

    torch.set_num_threads(os.cpu_count() or 1)
    array = np.load(image)
    model = model_of(name)
    if who == "monai":
        from monai.inferers import SlidingWindowInferer

        inferer = SlidingWindowInferer(WINDOW, 1, 0.25, mode="gaussian", progress=False)
    before, start = psutil.Process().memory_info().rss, time.perf_counter()
    record: dict[str, Any] = {}
    if who == "monai":
        with torch.no_grad():
            logits = inferer(torch.from_numpy(normalise(array, SCHEME))[None, None], model.network)
            labels = logits.argmax(1)[0].numpy().astype(np.uint16)
    else:
        geometry = Geometry(array.shape[::-1], SPACING)
        found = predict(NullContext(), model, Volume(array, geometry, modality="CT"))
        labels, record = found.labels, dict(found.record)
    seconds = time.perf_counter() - start
    np.save(out, labels)
    return {"seconds": seconds, "bytes": peak_rss() - before, **record}


def windows(names: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Return the shortest seconds of one window, the two taken in turn."""
    import torch
    from monai.inferers import SlidingWindowInferer

    from medviewer.ai.backends import choose_backend
    from medviewer.jobs.job import NullContext

    torch.set_num_threads(os.cpu_count() or 1)
    table = {}
    for name in names:
        model = model_of(name)
        x = torch.randn(1, 1, *WINDOW, generator=torch.Generator().manual_seed(1))
        inferer = SlidingWindowInferer(WINDOW, 1, 0.25, mode="gaussian", progress=False)
        backend = choose_backend(NullContext(), model, x, worth=True, exact=False)
        exact = choose_backend(NullContext(), model, x, worth=True, exact=True)
        times: dict[str, list[float]] = {"monai": [], "ours": [], "exact": []}
        same = 0.0
        for _ in range(rounds):
            with torch.no_grad():
                start = time.perf_counter()
                expected = inferer(x, model.network)
                times["monai"].append(time.perf_counter() - start)
            for key, way in (("ours", backend), ("exact", exact)):
                start = time.perf_counter()
                found = way(NullContext(), x)
                times[key].append(time.perf_counter() - start)
                if key == "ours":
                    same = float((found.argmax(1) == expected.argmax(1)).float().mean())
        table[name] = {key: min(values) for key, values in times.items()} | {"same": same}
        table[name]["backend"] = f"{backend.name} {backend.precision}"  # type: ignore[assignment]
    return table


def in_its_own_process(*arguments: str, folder: Path) -> dict[str, Any]:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "MEDVIEWER_DATA_DIR": str(folder / "data"), "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def has_bf16() -> bool:
    from medviewer.ai.backends import _cpu_has_bf16

    return _cpu_has_bf16()


@pytest.mark.timeout(3000)
def test_a_window_is_faster_than_monai_at_the_same_answer(tmp_path: Path) -> None:
    pytest.importorskip("monai")
    names = os.environ.get("BENCH_NETWORKS", ",".join(NETWORKS)).split(",")
    table = in_its_own_process("windows", ",".join(names), "3", folder=tmp_path)
    for name, row in table.items():
        print(
            f"{name:14} MONAI {row['monai']:.2f} s, exact {row['exact']:.2f} s, ours {row['ours']:.2f} s a window "
            f"({row['backend']}, ×{row['monai'] / row['ours']:.1f}, {row['same']:.5f} equal)"
        )
    for name, row in table.items():
        assert row["same"] >= 0.999, name
        assert row["monai"] >= BARS[has_bf16()][0] * row["ours"], name


@pytest.mark.timeout(3000)
def test_a_chest_is_faster_in_less_memory_than_monai_at_the_same_answer(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("monai")
    image = chest_at_hand(shared_data / "dicom" / "chest_ct_LIDC-IDRI-0001.zip", tmp_path)
    name = os.environ.get("BENCH_NETWORK", "unet stride 2")
    rows = {}
    for who in ("first", "ours", "monai"):
        rows[who] = in_its_own_process(
            "whole", "monai" if who == "monai" else "ours", name, str(image), str(tmp_path / who), folder=tmp_path
        )
        print(f"{who:6} {rows[who]['seconds']:6.1f} s, {rows[who]['bytes'] / 1e6:.0f} MB; {rows[who]}")
    ours, theirs = (np.load(tmp_path / f"{who}.npy") for who in ("ours", "monai"))
    inside = ours > 0
    faster, less = rows["monai"]["seconds"] / rows["ours"]["seconds"], rows["ours"]["bytes"] / rows["monai"]["bytes"]
    # Where no window was computed ours is background; the peer computes the air as well.
    scores = [_dice(ours == n, (theirs == n) & inside) for n in range(1, OUTPUTS)]
    print(f"chest, {name}: ×{faster:.1f}, memory ×{less:.2f}, Dice {min(scores):.5f}")
    _, whole_bar, memory_bar = BARS[has_bf16()]
    assert min(scores) >= 0.999
    assert faster >= whole_bar
    assert less <= memory_bar


def _dice(a: Any, b: Any) -> float:
    return float(2 * (a & b).sum() / max(1, a.sum() + b.sum()))


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "windows":
        print(json.dumps(windows(rest[0].split(","), int(rest[1]))))
    else:
        print(json.dumps(whole(rest[0], rest[1], Path(rest[2]), Path(rest[3]))))
