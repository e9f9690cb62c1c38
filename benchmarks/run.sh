#!/usr/bin/env bash
# Run all benchmarks, or those named, in an environment of their own: benchmarks/run.sh [figure ...]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv-benchmark

if [ ! -e "$venv/installed" ] || [ benchmarks/requirements.txt -nt "$venv/installed" ] ||
   [ pyproject.toml -nt "$venv/installed" ]; then
  test -x "$venv/bin/python" || "${PYTHON:-python3}" -m venv "$venv"
  pip=("$venv/bin/python" -m pip install --quiet)
  # torch and torchvision alone, so that nothing asks for another build of them; then the peers.
  "${pip[@]}" $(grep -E '^torch(vision)?==' benchmarks/requirements.txt)
  "${pip[@]}" --requirement benchmarks/requirements.txt
  # napari and Qt as the tests have them; torch is the one that is there.
  grep -v '^torch==' constraints.txt > "$venv/constraints.txt"
  "${pip[@]}" --constraint "$venv/constraints.txt" --editable . "napari[pyqt6]"
  touch "$venv/installed"
fi

run=("$venv/bin/python" benchmarks/run.py "$@")
if [ "$(uname)" = Linux ] && [ -z "${DISPLAY:-}" ]; then
  exec xvfb-run -a -s "-screen 0 1600x1000x24 +extension GLX" "${run[@]}"
fi
exec "${run[@]}"
