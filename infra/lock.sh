#!/bin/sh
# Resolves requirements/cpu.txt and requirements/gpu.txt anew from pyproject.toml, with uv in a
# throw-away environment. Commit what changes, and run the tests on it.
set -eu
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
TOOLS=$(mktemp -d)
trap 'rm -rf "$TOOLS"' EXIT
"$PYTHON" -m venv "$TOOLS"
"$TOOLS/bin/python" -m pip install --quiet --disable-pip-version-check uv 2> /dev/null

compile() { # device, then what else uv needs to know
    device=$1
    shift
    "$TOOLS/bin/uv" pip compile pyproject.toml --extra embedded --extra embeddings --extra training --extra audits \
        --extra "$device" --extra dev --python-version 3.11 --no-emit-find-links --no-emit-index-url --no-annotate --no-header \
        --quiet "$@" -o "requirements/$device.txt"
    echo "requirements/$device.txt: $(grep -c == "requirements/$device.txt") packages"
}

# With CUDA: what the index has.
compile gpu

# Without: uv does not read pip's settings; a folder of wheels that pip knows is handed on.
set --
for folder in $("$PYTHON" -m pip config get global.find-links 2> /dev/null || true); do
    set -- "$@" --find-links "$folder"
done
if [ $# -eq 0 ]; then
    # Where the CPU build of torch is otherwise; only for torch, pinned by the ==...+cpu of its version.
    set -- --extra-index-url https://download.pytorch.org/whl/cpu --index-strategy unsafe-best-match
fi
compile cpu "$@"
