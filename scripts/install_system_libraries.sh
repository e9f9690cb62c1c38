#!/usr/bin/env bash
# Installs the libraries that Qt and OpenGL need on Debian and Ubuntu, or says which are missing.
set -euo pipefail

[ "$(uname)" = Linux ] || exit 0

packages=(
  xvfb xauth libgl1 libegl1 libgl1-mesa-dri libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4
  libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0
  libdbus-1-3 libfontconfig1
)

if ! command -v dpkg-query >/dev/null; then
  if ! command -v xvfb-run >/dev/null; then
    echo "This is no Debian: please install what its packages hold: ${packages[*]}" >&2
  fi
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "These system packages are missing; please run:" >&2
  echo "  sudo apt-get install ${missing[*]}" >&2
  # With a screen of its own the program may run without them.
  [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && exit 0
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
