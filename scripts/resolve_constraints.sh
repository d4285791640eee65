#!/usr/bin/env bash
# Write constraints.txt anew: one version of each package for every extra, on Python 3.11 to 3.13.
set -euo pipefail

venv=$1
uv=$(command -v uv || echo "$venv/uv/bin/uv")
torch=$(sed -n 's/^torch==/torch==/p' constraints.txt)
resolved=$(mktemp)
trap 'rm -f "$resolved"' EXIT

# The package index alone decides, so that the file says the same wherever it is made.
unset UV_FIND_LINKS PIP_FIND_LINKS
# "fewest": one version for all Pythons, so that the bytes a library decides do not depend on the interpreter.
"$uv" pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --all-extras --no-annotate --no-header \
  --no-emit-index-url --no-emit-find-links --constraint <(echo "$torch") pyproject.toml >"$resolved"

{
  sed -n '/^#/p' constraints.txt
  # Markers are dropped (a constraint installs nothing by itself), and so is what only CUDA builds of torch ask for.
  sed -E -e 's/ *;.*//' -e '/^(nvidia-|cuda-|triton==)/d' "$resolved" | LC_ALL=C sort -u
} >constraints.txt.new
mv constraints.txt.new constraints.txt
