#!/bin/sh
# Lint, types, import contracts, then the tests under an X server of their own. Arguments go to pytest.
set -u
cd "$(dirname "$0")/.."
BIN=.venv/bin
failed=

# Qt and Python want a UTF-8 locale and a private run-time folder, which a bare environment does not have.
[ -n "${LC_ALL:-}${LANG:-}" ] || export LC_ALL=C.UTF-8
if [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    XDG_RUNTIME_DIR=$(mktemp -d)
    export XDG_RUNTIME_DIR
    trap 'rm -rf "$XDG_RUNTIME_DIR"' EXIT
fi

step() {
    name=$1
    shift
    printf '== %s\n' "$name"
    "$@" || failed="$failed $name"
}

with_display() {
    # Not pytest-xvfb: its server ends before VTK's connection to it does, which turns the exit status into 1.
    if [ "$(uname -s)" = Linux ] && command -v xvfb-run >/dev/null 2>&1; then
        env -u WAYLAND_DISPLAY xvfb-run -a -s "-screen 0 1600x1200x24 -nolisten tcp" "$@"
    else
        "$@"
    fi
}

if [ "${1:-}" = --only-tests ]; then
    shift
else
    sh tools/lint.sh || failed=" lint"
fi
if [ $# -eq 0 ]; then
    set -- -m "not slow and not benchmark_run"
fi
step tests with_display "$BIN/python" -m pytest -q "$@"

if [ -n "$failed" ]; then
    printf 'failed:%s\n' "$failed" >&2
    exit 1
fi
