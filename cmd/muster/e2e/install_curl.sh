#!/bin/sh
# Installs what the quickstart's blocks call and a bare Debian or Ubuntu lacks, as root.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -o DPkg::Lock::Timeout=300 update || echo "The package lists could not all be renewed; trying with those at hand." >&2
apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends curl
