#!/usr/bin/env bash
# Make or bring up to date a virtual environment: make_venv.sh FOLDER EXTRAS   (EXTRAS: comma-separated, e.g. all,test)
#
# Everything is installed by one command, because the resolver must see dagster, dvc, hydra, antlr and torch together (docs/installing.md).
# uv, bootstrapped from the package index into a small environment of its own, does it in a fraction of pip's time; without uv, pip does.
set -euo pipefail

folder=$1
extras=$2
python=${PYTHON:-python3}
wanted="import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))"

if ! "$python" -c "$wanted" 2>/dev/null; then
  # The default interpreter will not do: take the first of the others that will.
  found=""
  for candidate in python3.13 python3.12 python3.11; do
    if "$candidate" -c "$wanted" 2>/dev/null; then found=$candidate; break; fi
  done
  if [ -z "$found" ] || [ "$python" != python3 ]; then
    version=$("$python" --version 2>/dev/null) || version="not a Python that starts"
    echo "setup: '$python' is $version; Figment needs Python 3.11, 3.12 or 3.13. Say which: PYTHON=python3.12 make setup" >&2
    exit 2
  fi
  python=$found
fi

if [ ! -x "$folder/bin/python" ] || ! "$folder/bin/python" -c "$wanted" 2>/dev/null; then
  rm -rf "$folder"
  if ! "$python" -m venv "$folder"; then
    echo "setup: $python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 2
  fi
fi

requirements=(--constraint constraints.txt "torch==$(sed -n 's/^torch==//p' constraints.txt)" --editable ".[$extras]")
case ",$extras," in *,all,* | *,model,* | *,gan,*) ;; *) requirements=(--constraint constraints.txt --editable ".[$extras]") ;; esac

uv=""
if command -v uv >/dev/null; then
  uv=$(command -v uv)
elif [ -x "$folder/uv/bin/uv" ] || { "$python" -m venv "$folder/uv" && "$folder/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv; }; then
  uv=$folder/uv/bin/uv
fi

if [ -n "$uv" ]; then
  # Bytecode is compiled now: otherwise, where PYTHONDONTWRITEBYTECODE is set, every later import pays for it again.
  [ -n "${UV_FIND_LINKS:-}" ] || unset UV_FIND_LINKS
  UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy "$uv" pip install --python "$folder/bin/python" "${requirements[@]}"
else
  echo "setup: uv could not be had from the package index; installing with pip, which takes some minutes" >&2
  [ -x "$folder/bin/pip" ] || "$folder/bin/python" -m ensurepip --upgrade
  "$folder/bin/python" -m pip install --disable-pip-version-check "${requirements[@]}"
fi

# DVC cannot see an installation: the releases of the libraries that decide bytes stand in code.yaml, which is written only when they moved.
if [ -f dvc.yaml ]; then
  "$folder/bin/python" -m stages.code_versions || echo "setup: code.yaml is as it was; see above" >&2
fi
