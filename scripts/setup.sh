#!/usr/bin/env bash
# Set up what the project needs, into .venv; quick when nothing changed. Run by `make setup`, `make test`, `make up`.
#
#   PYTHON           the Python to use, 3.11 or later (default: python3)
#   TORCH_PIP_ARGS   further arguments for pip when it installs torch, e.g. to name the package index of a CPU or ROCm build
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
stamp=.venv/.setup-stamp
wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh dexvla/__init__.py | sha256sum | cut -d' ' -f1)

# --- system packages: software OpenGL for the simulated cameras -----------------------------------------------
system_packages() {
  local missing=()
  ldconfig -p 2>/dev/null | grep -q 'libEGL\.so\.1' || missing+=(libegl1)
  ls /usr/lib/*/dri/swrast_dri.so >/dev/null 2>&1 || ls /usr/lib/*/libgallium*.so >/dev/null 2>&1 || missing+=(libgl1-mesa-dri)
  "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing system packages: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "setup: missing system packages: ${missing[*]}. Install them, for example: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "setup: $python is not Python 3.11 or later; name one with PYTHON=/path/to/python3.11 make setup" >&2
  exit 1
fi
system_packages
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
  exit 0
fi

[ -x .venv/bin/python ] || "$python" -m venv .venv
pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet)
# pip learned to read the new license fields of pyproject.toml late; an old one ships with Debian and pyenv
"${pip[@]}" install --upgrade pip
echo "Installing Python packages into .venv (a few minutes the first time)"
# torch by itself and first, so that its build can be chosen and nothing later pulls another one
# shellcheck disable=SC2086
"${pip[@]}" install --constraint constraints.txt torch ${TORCH_PIP_ARGS:-}
"${pip[@]}" install --constraint constraints.txt --editable '.[train,robot,dev]'
echo "$wanted" > "$stamp"
