#!/usr/bin/env bash
# Try the project where there is nothing: a fresh clone of what is committed, on a bare Debian with Python, make and git.
#
#   scripts/bare.sh                      the first minute there: as a plain user, who is told what is missing; then as root
#   scripts/bare.sh COMMAND [ARGUMENT ...]   another command in the clone, e.g. `make test`
#
# Needs root and debootstrap (installed with apt where it is missing); says in one line why not elsewhere, exit status 77.
# BARE_CACHE   file that keeps the bare system (default build/bare-debian.tar); removed, it is made anew
set -euo pipefail
cd "$(dirname "$0")/.."

cannot() { echo "bare machine: not tried here: $1" >&2; exit 77; }

cache=${BARE_CACHE:-$PWD/build/bare-debian.tar}
tool=../shared/tools/bare-machine # one that a workplace brings does the same, and knows its way out

[ "$(uname -s)" = Linux ] || cannot "this is no Linux"
[ "$(id -u)" = 0 ] || cannot "it takes root to make a system and change into it"
unshare --mount --pid --fork true 2>/dev/null || cannot "this machine does not allow namespaces"

if [ $# -eq 0 ]; then
  set -- bash -c '
    set -e
    # a plain user first: told what is missing, and nothing half built
    id somebody >/dev/null 2>&1 || useradd --create-home somebody
    rm -rf /home/somebody/project && cp -r . /home/somebody/project && chown -R somebody: /home/somebody/project
    if said=$(cd /home/somebody/project && setpriv --reuid=somebody --regid=somebody --clear-groups env HOME=/home/somebody make up 2>&1); then
      echo "bare machine: a plain user without OpenGL got further than expected: $said"; exit 1
    fi
    echo "$said"
    grep -q "sudo apt-get install .*libopengl0 libegl1 libgl1-mesa-dri" <<<"$said"
    [ ! -e /home/somebody/project/.venv ] && [ ! -e /home/somebody/project/frontend/node_modules ]
    # then whoever may install
    python3 scripts/first_minute.py make up
    # and the command line, still without anything that only the tests install
    if command -v redis-server valkey-server chromium google-chrome initdb psql curl node npm; then
      echo "bare machine: the above are here, so nothing is shown by going without"; exit 1
    fi
    for module in pytest hypothesis playwright schemathesis mypy bitsandbytes; do
      if .venv/bin/python -c "import $module" 2>/dev/null; then echo "bare machine: $module is installed"; exit 1; fi
    done
    .venv/bin/dexvla record --task transfer_cube --episodes 1 --seed 0 --out /tmp/demo
    .venv/bin/dexvla check /tmp/demo
    .venv/bin/dexvla eval demo --task pick_colour --level jitter --episodes 1 --seed 950000 --json /tmp/eval.json'
fi

if [ -x "$tool" ]; then
  exec "$tool" . "$@"
fi

# --- the bare system, kept as an archive -------------------------------------------------------------------------
if [ ! -s "$cache" ]; then
  if ! command -v debootstrap >/dev/null; then
    command -v apt-get >/dev/null || cannot "there is no debootstrap and no apt to install it"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap; } >/dev/null 2>&1 ||
      cannot "debootstrap cannot be installed"
  fi
  mkdir -p "$(dirname "$cache")"
  made=$(mktemp -d "$(dirname "$cache")/bare.XXXXXX")
  release=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME" || echo bookworm)
  debootstrap --variant=minbase --include=python3,python3-venv,make,git,ca-certificates "$release" "$made" >"$made.log" 2>&1 || {
    reason=$(tail -1 "$made.log"); rm -rf --one-file-system "$made" "$made.log"; cannot "debootstrap failed: $reason"
  }
  tar -C "$made" -cf "$cache.new" . && mv "$cache.new" "$cache"
  rm -rf --one-file-system "$made" "$made.log"
fi

system=$(mktemp -d "$(dirname "$cache")/bare.XXXXXX")
trap 'rm -rf --one-file-system "$system"' EXIT
chmod 755 "$system"
tar -C "$system" -xf "$cache"
git clone -q . "$system/srv/project"

# Its way out is this machine's: names, certificates, and where pip and npm were told to look.
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /usr/etc/npmrc /etc/ssl/certs/ca-certificates.crt; do
  [ -f "$file" ] && { mkdir -p "$system$(dirname "$file")"; cp -L "$file" "$system$file"; }
done
for file in .npmrc .config/pip/pip.conf; do
  [ -f "$HOME/$file" ] && { mkdir -p "$system/root/$(dirname "$file")"; cp -L "$HOME/$file" "$system/root/$file"; }
done
kept=()
while IFS= read -r line; do kept+=("$line"); done < <(env | grep -E '^(PIP_|NPM_CONFIG_|npm_config_|NODE_EXTRA_CA_CERTS=|SSL_CERT_FILE=|REQUESTS_CA_BUNDLE=|https?_proxy=|no_proxy=|TORCH_PIP_ARGS=)')

# Namespaces of its own: its mounts and processes end with the command, whatever becomes of it.
export system
unshare --mount --pid --fork --kill-child --propagation private bash -c '
  mount -t proc proc "$system/proc" && mount -t sysfs sysfs "$system/sys" && mount --rbind /dev "$system/dev" || exit 1
  exec chroot "$system" /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    "${@:2:$1}" sh -c "cd /srv/project && exec \"\$@\"" sh "${@:$1+2}"
' bare "${#kept[@]}" "${kept[@]}" "$@"
