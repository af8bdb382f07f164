"""Measure the bar that reading must reach, and print it: id, figure, pass.

Run by ``make reliability``. Everything is made here or lies in the folder of real images beside the project; nothing is
fetched. A figure below its bar makes the program end with status 1.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.bar.bar import measure  # noqa: E402


def main() -> int:
    """Print the table; 1 when a line fails."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "dicom")
    options.add_argument("--mutants", type=int, default=500, help="of each of eight good files")
    options.add_argument("--only", default="", help="ids of rows, separated by commas")
    options.add_argument("--files", type=Path, help="also write what became of each real file, tab-separated")
    chosen = options.parse_args()
    # Thousands of broken files are opened on purpose: what decoders print of them, in this process and in others, would
    # bury the table.
    logging.disable(logging.CRITICAL)
    sys.stderr = os.fdopen(os.dup(2), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="medviewer-reliability-") as folder:
        for line in measure(chosen.data, Path(folder), mutants=chosen.mutants, only=chosen.only, report=chosen.files):
            failed += not line.passed
            print(f"{line.id}  {'pass' if line.passed else 'FAIL'}  {line.what}: {line.figure}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
