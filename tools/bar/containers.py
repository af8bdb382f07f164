"""Archives and detached headers."""

from __future__ import annotations

import shutil
from pathlib import Path

from medviewer.core.errors import InputError
from medviewer.io.archive import extract
from medviewer.io.dicom_scan import scan
from tests import archive_makers, dicom_mutators
from tools.bar.bar import CTX, Bench, Figure, row

_DETACHED = ("/etc/passwd", "../x.raw", "LIST", "x%03d.raw 1 5 1", "http://localhost/x.raw", "C:\\x.raw")


@row("R-26", "hostile archives and detached headers are refused")
def hostile_containers(bench: Bench) -> Figure:
    """Nothing leaves the folder, nothing stays behind, no header shows another file. Models: none in this program."""
    folder = bench.folder / "containers"
    canary = dicom_mutators.planted(folder, "x.raw", bytes(1000))
    refused = 0
    for name, (data, codes) in archive_makers.HOSTILE_TARS.items():
        for suffix in (".tar", ".tar.gz"):
            path = dicom_mutators.planted(folder, f"in/{name}{suffix}", archive_makers.PACKERS[suffix](data))
            refused += _refusal(path) in codes.split("|")
    archives = 2 * len(archive_makers.HOSTILE_TARS)
    left = {path for path in folder.rglob("*") if path.is_file()} - {canary} - set((folder / "in").iterdir())
    headers = 0
    for n, place in enumerate(_DETACHED):
        mhd = f"NDims = 3\nDimSize = 3 4 5\nElementType = MET_UCHAR\nElementDataFile = {place}\n"
        nhdr = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 4 5\nencoding: raw\ndata file: {place}\n\n"
        for suffix, header in ((".mhd", mhd), (".nhdr", nhdr)):
            path = dicom_mutators.planted(folder, f"headers/{n}{suffix}", header.encode())
            headers += {code for o in bench.ask(path) for code in o.codes} == {"E_EXTERNAL_DATA"}
    shutil.rmtree(folder)
    figure = f"{refused}/{archives} archives, {headers}/{2 * len(_DETACHED)} detached headers refused; left {len(left)}"
    return Figure(figure, refused == archives and headers == 2 * len(_DETACHED) and not left)


def _refusal(path: Path) -> str:
    """Return the code with which an archive is refused, by itself and when it is opened."""
    try:
        extract(CTX, path)
        return ""
    except InputError as error:
        code = error.code
    try:
        scan(CTX, [path])
    except InputError as error:
        return code if error.code == code else ""
    return ""
