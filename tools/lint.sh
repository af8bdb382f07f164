#!/bin/sh
# ruff, mypy and the import contracts.
set -u
cd "$(dirname "$0")/.."
BIN=.venv/bin
status=0

step() {
    name=$1
    shift
    printf '== %s\n' "$name"
    "$@" || status=1
}

plugins=$(find plugins -mindepth 1 -maxdepth 1 -type d ! -name '_*' ! -name '.*' | sort | tr '\n' ':')
step ruff "$BIN/ruff" check --quiet .
step "ruff format" "$BIN/ruff" format --check --quiet .
step mypy "$BIN/mypy"
step "import contracts" "$BIN/lint-imports" --no-cache
step "import contracts of plugins" env PYTHONPATH=".:$plugins" "$BIN/lint-imports" --no-cache \
    --config tools/importlinter_plugins.toml
exit $status
