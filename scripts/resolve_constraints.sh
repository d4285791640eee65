#!/usr/bin/env bash
# Write constraints.txt anew: one version of each package for every extra, on Python 3.11 to 3.13. Beside it hashes.txt, the same with markers and
# the SHA-256 of every file of each release, and for torch on Linux hashes-cuda.txt and hashes-cpu.txt (docs/installing.md).
#   TORCH_CPU_PAGE  a page, or a folder, with CPU builds of torch
set -euo pipefail

venv=$1
uv=$(command -v uv || echo "$venv/uv/bin/uv")
torch=$(sed -n 's/^torch==/torch==/p' constraints.txt)
cpu_page=${TORCH_CPU_PAGE:-https://download.pytorch.org/whl/cpu/torch/}
resolved=$(mktemp)
trap 'rm -f "$resolved"' EXIT

# The package index alone decides, so that the file says the same wherever it is made.
unset UV_FIND_LINKS PIP_FIND_LINKS
# "fewest": one version for all Pythons, so that the bytes a library decides do not depend on the interpreter.
"$uv" pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --all-extras --no-annotate --no-header --generate-hashes \
  --no-emit-index-url --no-emit-find-links --constraint <(echo "$torch") pyproject.toml >"$resolved"

PYTHONPATH=. "$venv/bin/python" scripts/split_hashes.py "$resolved" "$cpu_page"
