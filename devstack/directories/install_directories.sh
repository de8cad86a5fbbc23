#!/bin/sh
# Installs the directories that tests sign in against, Samba's domain controller and OpenLDAP's server, on Debian or Ubuntu, as
# root: both, or the one that the argument names, samba or slapd. Debian would start both, now and at every boot, and create a directory for the machine's own name; we want none of it.
# MUSTER_ROOT is put before the paths of the files changed meanwhile; tests set it.
set -eu
export DEBIAN_FRONTEND=noninteractive
wanted=${*:-samba slapd}
policy=${MUSTER_ROOT:-}/usr/sbin/policy-rc.d
made=

restore() {
	[ -z "$made" ] || rm -f "$policy"
}
trap restore EXIT
trap 'exit 130' HUP INT TERM

missing() {
	! dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed
}

# Services that were there before are somebody's.
services=
for one in $wanted; do
	case $one in
	samba)
		! missing samba || services="$services smbd nmbd samba-ad-dc"
		! missing winbind || services="$services winbind"
		;;
	slapd) ! missing slapd || services="$services slapd" ;;
	*)
		echo "There is no directory called $one: name samba or slapd." >&2
		exit 2
		;;
	esac
done

if [ ! -e "$policy" ]; then
	made=yes
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi
apt-get -o DPkg::Lock::Timeout=300 update || echo "The package lists could not all be renewed; trying with those at hand." >&2
case " $wanted " in *" slapd "*) preset=slapd ;; *) preset= ;; esac
if [ -n "$preset" ] && missing slapd; then
	echo "slapd slapd/no_configuration boolean true" | debconf-set-selections
fi
packages=
for one in $wanted; do
	packages="$packages $one"
	[ "$one" = samba ] || continue
	# The names differ: Debian 12 has the domain controller in packages of its own, Ubuntu's older releases have it in samba.
	packages="$packages winbind samba-dsdb-modules samba-vfs-modules"
	for name in samba-ad-dc samba-ad-provision; do
		! apt-cache show "$name" >/dev/null 2>&1 || packages="$packages $name"
	done
done
# shellcheck disable=SC2086 # the names are words
apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $packages
for service in $services; do
	! command -v systemctl >/dev/null || systemctl disable "$service" >/dev/null 2>&1 || true
done
