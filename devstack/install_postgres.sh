#!/bin/sh
# Installs PostgreSQL's programs on Debian or Ubuntu, as root. Debian would at once create a cluster "main" and start a
# service on port 5432; we want neither, and leave the machine's settings as they were.
# MUSTER_ROOT is put before the paths of the files changed meanwhile; tests set it.
set -eu
export DEBIAN_FRONTEND=noninteractive
conf=${MUSTER_ROOT:-}/etc/postgresql-common/createcluster.conf
policy=${MUSTER_ROOT:-}/usr/sbin/policy-rc.d
saved=
made=

restore() {
	[ -z "$saved" ] || { cat "$saved" >"$conf" && rm -f "$saved"; }
	[ -z "$made" ] || rm -f "$policy"
}
trap restore EXIT
trap 'exit 130' HUP INT TERM

install() {
	apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
}

if [ ! -e "$policy" ]; then
	made=yes
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
apt-get -o DPkg::Lock::Timeout=300 update || echo "The package lists could not all be renewed; trying with those at hand." >&2
# postgresql-common brings the settings file that keeps the next package from creating a cluster.
install postgresql-common
saved=$(mktemp)
cat "$conf" >"$saved"
printf '\ncreate_main_cluster = false\n' >>"$conf"
install postgresql
