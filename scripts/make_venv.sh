#!/usr/bin/env bash
# Make or bring up to date a virtual environment: make_venv.sh FOLDER EXTRAS   (EXTRAS: comma-separated, e.g. all,test)
#
# Everything is installed by one command, because the resolver must see dagster, dvc, hydra, antlr and torch together (docs/installing.md).
# uv, bootstrapped from the package index into a folder of its own, does it in a fraction of pip's time; where it cannot, pip does.
#   PYTHON          the interpreter, if not python3
#   TORCH           cpu, cuda or auto: which build of torch. auto keeps what is there, or else takes CUDA where an NVIDIA driver answers
#   TORCH_CPU_PAGE  a page or folder with CPU builds of torch, asked when no index of pip's settings has one
set -euo pipefail
trap 'exit 130' INT

folder=$1
extras=$2
torch=$(sed -n 's/^torch==//p' constraints.txt)
cpu_page=${TORCH_CPU_PAGE:-https://download.pytorch.org/whl/cpu/torch/}
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

# A moved or copied environment still starts the interpreter, and so the code, of the place where it was made.
here=$(pwd -P)
made_in=$(cat "$folder/.made_in" 2>/dev/null) || made_in=$here
if [ "$made_in" != "$here" ]; then
  echo "setup: $folder was made in $made_in and starts what is there; making it anew for $here" >&2
  rm -rf "$folder"
fi

if [ ! -x "$folder/bin/python" ] || ! "$folder/bin/python" -c "$wanted" 2>/dev/null; then
  rm -rf "$folder"
  if ! "$python" -m venv "$folder"; then
    echo "setup: $python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2
    exit 2
  fi
fi
echo "$here" >"$folder/.made_in"
pip=("$folder/bin/python" -m pip --disable-pip-version-check)
"$folder/bin/python" -c "import pip" 2>/dev/null || "$folder/bin/python" -m ensurepip --upgrade

# One of pip's settings, wherever pip has it from: its environment variable, or its configuration files.
settings=$("${pip[@]}" config list)
pip_setting() {
  local section value words
  for section in :env: install global; do
    value=$(sed -n "s/^$section\\.$1='\\(.*\\)'\$/\\1/p" <<<"$settings")
    read -ra words <<<"${value//\\n/ }"
    if [ -n "$value" ]; then echo "${words[*]}"; return; fi
  done
}

# Whether a CPU build of our release is offered by the places given as options of pip's, or else by those of its settings.
offers_cpu_build() {
  local answer
  answer=$("${pip[@]}" index versions torch --retries 0 --timeout 15 "$@" 2>/dev/null | tr '\n' ',') || return 1
  [[ "$answer" == *" $torch+cpu,"* ]]
}

# Add the build of torch to the requirements, and say its size before it is downloaded.
choose_torch() {
  local build=${TORCH:-auto} reason="TORCH=${TORCH:-}" present
  case $build in auto | cpu | cuda) ;; *) echo "setup: TORCH is '$build'; it can be auto, cpu or cuda" >&2; exit 2 ;; esac
  present=$("$folder/bin/python" -c 'import importlib.metadata as found; print(found.version("torch"))' 2>/dev/null) || present=none
  case "$(uname -s) $build $present" in
    "Linux cuda $torch+cpu") ;;
    # Elsewhere there is one build, which is small; here, one that will do stays.
    [!L]* | *" auto $torch" | *" auto $torch+"* | *" cpu $torch+cpu" | *" cuda $torch" | *" cuda $torch+"*)
      requirements+=("torch==$torch")
      return ;;
  esac

  if [ "$build" = auto ] && nvidia-smi >/dev/null 2>&1; then
    build=cuda reason="an NVIDIA driver answers here"
  elif [ "$build" = auto ]; then
    build=cpu reason="no NVIDIA driver answers here"
  fi
  if [ "$build" = cpu ] && ! offers_cpu_build; then
    if offers_cpu_build --no-index --find-links "$cpu_page"; then
      PIP_FIND_LINKS="$(pip_setting find-links) $cpu_page"
      export PIP_FIND_LINKS
      settings=$("${pip[@]}" config list)
    elif [ "${TORCH:-auto}" = cpu ]; then
      echo "setup: TORCH=cpu, but neither pip's index nor $cpu_page offers torch $torch+cpu; give a folder or page that does: PIP_FIND_LINKS=…" >&2
      exit 2
    else
      build=cuda reason="$reason, but neither pip's index nor $cpu_page offers torch $torch+cpu"
    fi
  fi
  if [ "$build" = cpu ]; then
    requirements+=("torch==$torch+cpu")
    echo "setup: torch $torch for CPUs ($reason); about 0.6 GB to download in all, less what is cached" >&2
  else
    requirements+=("torch==$torch,!=$torch+cpu")
    echo "setup: torch $torch with CUDA ($reason); about 3.1 GB to download in all, less what is cached" >&2
  fi
}

requirements=(--constraint constraints.txt --editable ".[$extras]")
case ",$extras," in *,all,* | *,model,* | *,gan,*) choose_torch ;; esac

uv=""
if command -v uv >/dev/null; then
  uv=$(command -v uv)
elif [ -x "$folder/uv/bin/uv" ] || "${pip[@]}" install --quiet --target "$folder/uv" uv; then
  uv=$folder/uv/bin/uv
fi

# uv does not read pip's settings: those that say where packages lie are handed on, unless uv has been told itself.
install_with_uv() {
  local pair variable value
  for pair in index-url=UV_DEFAULT_INDEX extra-index-url=UV_INDEX find-links=UV_FIND_LINKS no-index=UV_NO_INDEX \
    trusted-host=UV_INSECURE_HOST cert=SSL_CERT_FILE proxy=ALL_PROXY; do
    variable=${pair#*=} value=$(pip_setting "${pair%%=*}")
    if [ "$variable" = UV_FIND_LINKS ]; then value=${value// /,}; fi
    if [ -n "$value" ] && [ -z "${!variable:-}" ]; then export "$variable=$value"; fi
  done
  # All indexes count alike, as they do for pip. Bytecode is compiled now: otherwise, where PYTHONDONTWRITEBYTECODE is set, every import pays again.
  UV_INDEX_STRATEGY=${UV_INDEX_STRATEGY:-unsafe-best-match} UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy \
    "$uv" pip install --python "$folder/bin/python" "${requirements[@]}"
}

if [ -z "$uv" ] || ! install_with_uv; then
  echo "setup: $([ -n "$uv" ] && echo "uv did not manage (see above)" || echo "uv could not be had"); installing with pip, which takes some minutes" >&2
  "${pip[@]}" install "${requirements[@]}"
fi

# DVC cannot see an installation: the releases of the libraries that decide bytes stand in code.yaml, which is written only when they moved.
if [ -f dvc.yaml ]; then
  "$folder/bin/python" -m stages.code_versions || echo "setup: code.yaml is as it was; see above" >&2
fi
