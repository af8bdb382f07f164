#!/bin/sh
# The main job on a sample study: make it, analyze it, export it, and look at it where there is a display.
set -eu
cd "$(dirname "$0")/.."
RUN=.venv/bin/medviewer
OUT=demo

say() { printf '\n== %s\n' "$*"; }

if [ ! -f "$OUT/study/truth/truth.json" ]; then
    say "a sample study"
    "$RUN" demo -o "$OUT/study"
fi
# An export never overwrites; what an earlier demo made is the demo's to remove.
rm -rf "$OUT/results" "$OUT/export"
say "analyze"
"$RUN" analyze "$OUT/study" -o "$OUT/results"
for format in nifti nnunet dicom-seg; do
    say "export $format"
    "$RUN" export "$OUT/results/workspace.mvw" --format "$format" -o "$OUT/export/$format"
done
say "results"
printf '%s\n' "study      $OUT/study" "report     $OUT/results/report.json" "lesions    $OUT/results/lesions.csv" \
    "masks      $OUT/results/masks" "workspace  $OUT/results/workspace.mvw" "exports    $OUT/export"
case "$(uname -s)" in
    Linux) [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] || exit 0 ;;
esac
say "the window (close it to end)"
exec "$RUN" "$OUT/results/workspace.mvw"
