#!/bin/sh
# Makes this checkout ready to run: system libraries (Debian and its kin) and Python packages, the latter into .venv.
# A second run finds its stamp and does nothing.
#
#   PYTHON                   the Python to use (3.11 or newer); otherwise python3, then python3.14 … python3.11
#   MEDVIEWER_TORCH_SOURCE   one more source of PyTorch builds for pip: a folder, an .html list or an index address;
#                            without it, a folder of wheels that this machine keeps is used when it has the right one
#   MEDVIEWER_NO_SYSTEM=1    leave the system's packages alone
set -eu
cd "$(dirname "$0")/.."

VENV=.venv
LOG=$VENV/setup.log
STAMP=$VENV/setup.stamp
# What Qt and VTK load at run time, then what the tests use.
SYSTEM_PACKAGES="libgl1 libegl1 libglib2.0-0 libdbus-1-3 libbrotli1 libxkbcommon0 libfontconfig1 libxcb-cursor0
libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 libxkbcommon-x11-0
xvfb xauth xdotool openbox dicom3tools dcm2niix imagemagick orthanc orthanc-dicomweb"

say() { printf 'setup: %s\n' "$*"; }
stop() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

stamp() { { pwd; cat pyproject.toml constraints.txt tools/setup.sh; } | cksum; }

if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(stamp)" ] && "$VENV/bin/python" -c '' 2>/dev/null; then
    exit 0
fi
start=$(date +%s)

# --- the system ------------------------------------------------------------------------------------------------------
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if command -v "$candidate" >/dev/null 2>&1 && is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_system_packages() {
    missing=
    for package in $SYSTEM_PACKAGES; do
        is_installed "$package" || missing="$missing $package"
    done
    python=$(find_python)
    if [ -z "$python" ]; then
        missing="$missing python3 python3-venv"
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        missing="$missing python3-venv"
    fi
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1; then
        as_root=sudo
    else
        say "these system packages are missing, and installing them needs root:$missing" \
            "going on without them; the window or the tests may not start"
        return 0
    fi
    say "installing system packages:$missing"
    log=$(mktemp)
    # RUNLEVEL=1 keeps a service that a package brings from being started; the tests start their own.
    # shellcheck disable=SC2086
    if ! { $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing; } \
        >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        stop "apt-get could not install them (see above)"
    fi
    rm -f "$log"
}

if [ "${MEDVIEWER_NO_SYSTEM:-}" != 1 ]; then
    if command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1; then
        install_system_packages
    elif [ "$(uname -s)" = Linux ]; then
        say "this system has no apt-get; needed are, under the names they have here:" $SYSTEM_PACKAGES
    fi
fi

# --- Python ----------------------------------------------------------------------------------------------------------
python=$(find_python)
[ -n "$python" ] || stop "Python 3.11 or newer is needed and was not found (PYTHON=/path/to/python3 names one)"
"$python" -c 'import ensurepip, venv' 2>/dev/null || stop "$python lacks the modules venv and ensurepip"

if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    say "making $VENV with Python $("$python" -c 'import platform; print(platform.python_version())')"
    "$python" -m venv --clear "$VENV"
fi

pip_install() { "$VENV/bin/python" -m pip install --disable-pip-version-check -c "$CONSTRAINTS" "$@" >>"$LOG" 2>&1; }
fail() {
    tail -n 15 "$LOG" >&2
    stop "$@" "the whole output is in $LOG"
}
: >"$LOG"

version=$(sed -n 's/^torch==//p' constraints.txt)
# pip takes the constraint torch==X as a contradiction to the request for its build X+cpu.
CONSTRAINTS=$VENV/constraints.txt
grep -v '^torch==' constraints.txt >"$CONSTRAINTS"
source=${MEDVIEWER_TORCH_SOURCE:-}
if [ -z "$source" ]; then
    for folder in wheels ../wheels /opt/wheels /srv/wheels /usr/local/share/wheels; do
        for wheel in "$folder/torch-$version+cpu-"*.whl; do
            [ -f "$wheel" ] && source=$folder
        done
    done
fi
case $source in
    '') ;;
    *.html) source="--find-links $source" ;;
    *) if [ -d "$source" ]; then source="--find-links $source"; else source="--extra-index-url $source"; fi ;;
esac

install_torch() {
    # shellcheck disable=SC2086
    case "$(uname -s)-$(uname -m)" in
        Linux-*)
            if nvidia-smi >/dev/null 2>&1; then
                say "installing PyTorch $version for this machine's NVIDIA GPU (several GB)"
                pip_install $source "torch==$version,!=$version+cpu" || fail "PyTorch could not be installed"
                return 0
            fi
            say "installing PyTorch $version (CPU build)"
            pip_install $source "torch==$version+cpu" && return 0
            # On other processors the general build is a CPU build.
            [ "$(uname -m)" != x86_64 ] && pip_install $source "torch==$version" && return 0
            fail "no CPU build of PyTorch $version was found by pip, and this machine has no NVIDIA GPU for the general" \
                "build, which brings several GB of CUDA. Give pip a source of CPU builds (a folder with the file, or" \
                "the address that pytorch.org shows under 'Get started' for pip and CPU) and run this again:" \
                "    MEDVIEWER_TORCH_SOURCE=<folder or address> make demo"
            ;;
        *)
            say "installing PyTorch $version"
            pip_install $source "torch==$version" || fail "PyTorch could not be installed"
            ;;
    esac
}

install_torch
CONSTRAINTS=constraints.txt
say "installing MedViewer and its packages"
pip_install -e '.[test]' || fail "the packages could not be installed"

if nvidia-smi >/dev/null 2>&1 && ! "$VENV/bin/python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    say "note: this machine has an NVIDIA GPU, but PyTorch cannot use it (an old driver?); the CPU will be used"
fi
stamp >"$STAMP"
say "done in $(($(date +%s) - start)) s"
