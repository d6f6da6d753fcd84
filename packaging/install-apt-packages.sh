#!/bin/sh
# Installs the Debian packages of apt-packages.txt that are missing; does and says nothing when none is.
# Asks for sudo only then, and only for apt-get.
set -eu
list=$(dirname "$0")/apt-packages.txt
command -v dpkg-query >/dev/null || { echo "error: this needs Debian 12 (no dpkg-query here)" >&2; exit 69; }

missing=
for package in $(sed 's/#.*//' "$list"); do
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true) in
        "install ok installed") ;;
        *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "error: missing Debian packages:$missing; run as root or install sudo" >&2; exit 77; }
    as_root=sudo
fi
echo "Installing Debian packages with apt-get${as_root:+ (sudo may ask for your password)}:$missing" >&2
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
