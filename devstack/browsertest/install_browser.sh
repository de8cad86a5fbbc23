#!/bin/sh
# Installs a browser without windows, and a font for it to write with, on Debian or Ubuntu, as root. Nothing of it is a service.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=300 update || echo "The package lists could not all be renewed; trying with those at hand." >&2
# Older releases have the browser in one piece only.
browser=chromium
! apt-cache show chromium-headless-shell >/dev/null 2>&1 || browser=chromium-headless-shell
apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$browser" fonts-dejavu-core
