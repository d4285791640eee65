#!/usr/bin/env bash
# Load what our language models save with other releases of transformers: test_transformers.sh VENV [RELEASE …]   (default: 4.57 and the newest 5)
#
# Each release has an environment of its own below VENV, with torch, tokenizers, safetensors, pillow and numpy, and nothing of this project.
#   TORCH_CPU_PAGE  a page or folder with CPU builds of torch, asked when pip's own places have none
set -euo pipefail

venv=$1
shift
releases=("$@")
if [ ${#releases[@]} = 0 ]; then releases=("transformers>=4.57,<4.58" "transformers>=5,<6"); fi
torch=$("$venv/bin/python" -c 'import torch; print(torch.__version__)')
models=$(mktemp -d)
trap 'rm -rf "$models"' EXIT

PYTHONPATH=$PWD FIGMENT_THREADS=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 "$venv/bin/python" -m tests.plain_transformers.make_models "$models" >"$models/log" 2>&1 ||
  { cat "$models/log" >&2; exit 1; }

status=0
for release in "${releases[@]}"; do
  place=$venv/transformers/$(tr -c 'a-z0-9.\n' - <<<"$release")
  if [ ! -f "$place/ready" ]; then
    rm -rf "$place"
    "$venv/bin/python" -m venv --without-pip "$place"
    wanted=("$release" "torch==$torch" safetensors pillow numpy)
    "$venv/bin/python" -m pip --python "$place/bin/python" install --quiet "${wanted[@]}" ||
      "$venv/bin/python" -m pip --python "$place/bin/python" install --quiet --find-links "${TORCH_CPU_PAGE:-https://download.pytorch.org/whl/cpu/torch/}" "${wanted[@]}"
    touch "$place/ready"
  fi
  # Isolated, so that nothing of this folder can be imported.
  HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error OMP_NUM_THREADS=1 "$place/bin/python" -I tests/plain_transformers/load_models.py "$models" || status=1
done
exit $status
