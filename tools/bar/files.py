"""What becomes of files: corpora, mutants, short buffers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from tests import dicom_makers, dicom_mutators
from tests.outcomes import Outcome
from tools.bar.bar import MB, Bench, Figure, row


def good_files(bench: Bench) -> list[Path]:
    """Write one good file of every encoding."""
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

    folder = bench.folder / "good"
    plain = dicom_makers.write_slice(folder / "explicit.dcm", dicom_makers.pixels())
    files = [plain]
    for name, syntax in (("implicit", ImplicitVRLittleEndian), ("big", ExplicitVRBigEndian)):
        files.append(dicom_makers.write_slice(folder / f"{name}.dcm", dicom_makers.pixels(), syntax=syntax))
    files.append(dicom_mutators.planted(folder, "deflated.dcm", dicom_mutators.deflated(plain.read_bytes())))
    for name, syntax in (("rle", RLELossless), ("jpegls", JPEGLSLossless), ("jpeg2000", JPEG2000Lossless)):
        dataset = dcmread(plain)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(folder / f"{name}.dcm")
        files.append(folder / f"{name}.dcm")
    files.append(dicom_makers.as_lossless_jpeg(plain, folder / "jpeg.dcm"))
    frames = np.stack([dicom_makers.pixels(n, np.uint16) for n in range(3)])
    files.append(dicom_makers.write_enhanced(folder / "frames.dcm", frames, [(0, 0, float(n)) for n in range(3)]))
    return files


@row("R-01", "every file has an outcome")
def every_file_has_an_outcome(bench: Bench) -> Figure:
    """Corpora and mutants, each LOADED, LOADED with a warning, or REFUSED with text and hint."""
    seconds: list[float] = []
    states: Counter[str] = Counter()
    silent = 0
    slowest = (0.0, "")
    started_rss = psutil.Process().memory_info().rss
    for path in _with_mutants(bench):
        started = time.perf_counter()
        found = bench.ask(path)
        seconds.append(time.perf_counter() - started)
        slowest = max(slowest, (seconds[-1], path.name))
        states.update(outcome.state for outcome in found)
        silent += sum(o.state == "REFUSED" and not (o.text and o.hint) for o in found)
        if path in bench.corpora:
            bench.opened[path] = [_light(outcome) for outcome in found]
    if bench.report is not None:
        bench.report.write_text("".join(_report(bench)), encoding="utf-8")
    growth = (psutil.Process().memory_info().rss - started_rss) / MB
    p99, worst = float(np.percentile(seconds, 99)), max(seconds)
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    figure = (
        f"{len(seconds)} files: {counts}; {len(bench.crashes)} crashes, {silent} silent; "
        f"p99 {p99:.2f} s, max {worst:.2f} s ({slowest[1]}); RSS +{growth:.0f} MB"
        f"{'; '.join(['', *bench.crashes[:3]])}"
    )
    right, fast = not bench.crashes and not silent, p99 <= 1 and worst <= 5 and growth <= 150
    return Figure(figure, right, fast)


def _report(bench: Bench) -> Iterator[str]:
    """Yield a line for each real file and each series in it."""
    for path, found in bench.opened.items():
        name = path.relative_to(bench.folder)
        for outcome in found:
            text = " ".join(outcome.text.split())
            yield f"{name}\t{outcome.state}\t{' '.join(sorted(outcome.codes))}\t{text}\t{outcome.hint}\n"


def _light(outcome: Outcome) -> Outcome:
    """Return an outcome without its voxels."""
    return Outcome(
        outcome.state, outcome.codes, outcome.text, outcome.hint, outcome.digest, outcome.seconds, outcome.series
    )  # fmt: skip


def _with_mutants(bench: Bench) -> Iterator[Path]:
    yield from bench.corpora
    target = bench.folder / "mutant.dcm"
    for seed, path in enumerate(good_files(bench)):
        for spoiled in dicom_mutators.mutants(path.read_bytes(), bench.mutants, seed):
            target.write_bytes(spoiled)
            yield target


@row("R-02", "files with pixels are shown")
def what_is_shown(bench: Bench) -> Figure:
    """Of the files with pixels, how many become a volume; and the reasons of the others."""
    found = [outcome for several in bench.opened.values() for outcome in several]
    images = [o for o in found if not o.codes & {"E_NOT_IMAGE", "E_NO_PIXELS", "E_NOT_DICOM", "E_NO_IMAGE"}]
    shown = sum(o.state != "REFUSED" for o in images)
    reasons = Counter(next(iter(o.codes)) for o in images if o.state == "REFUSED")
    share = shown / max(1, len(images))
    figure = f"{shown}/{len(images)} with pixels opened ({share:.1%}); not: {dict(reasons.most_common(6))}"
    return Figure(figure, bool(images) and share >= 0.99)


@row("R-05", "no voxels that are not in the file")
def no_voxels_from_short_buffers(bench: Bench) -> Figure:
    """An element that is too short is refused, and any file gives the same voxels twice."""
    refused = total = 0
    target = bench.folder / "short.dcm"
    for path in good_files(bench):
        data = path.read_bytes()
        if path.stem not in ("explicit", "frames"):
            continue
        at = dicom_mutators.place_of(data, 0x7FE00010)
        whole = len(data) - at - 12
        for size in (0, 2, 16, 64, whole // 3, whole // 2, whole - 2):
            target.write_bytes(data[:at] + dicom_mutators.element(0x7FE00010, b"OW", b"\1" * size))
            found = bench.ask(target)
            total += 1
            refused += all(o.state == "REFUSED" for o in found) and bool(found)
    same = opened = 0
    for path, before in bench.opened.items():
        if any(outcome.digest for outcome in before):
            opened += 1
            same += [o.digest for o in bench.ask(path)] == [o.digest for o in before]
    figure = f"{refused}/{total} short buffers refused; {same}/{opened} real files the same twice"
    return Figure(figure, refused == total and same == opened)
