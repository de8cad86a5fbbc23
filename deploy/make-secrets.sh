#!/bin/sh
# Writes the passwords that docker-compose.yml mounts as secrets. What exists already is kept, so it may run again.
set -eu

folder=${1:-$(dirname "$0")/secrets}

# The folder is closed to everybody else. The files are readable, because the users inside the containers, who have
# other ids than whoever runs this, read them through the mounts.
umask 077
mkdir -p "$folder"
chmod 700 "$folder"

keep() {
	path=$folder/$1
	if [ -s "$path" ]; then
		echo "kept    $path"
		return
	fi
	printf '%s' "$2" >"$path.new"
	chmod 444 "$path.new"
	mv "$path.new" "$path"
	echo "written $path"
}

# Hexadecimal, so that a password needs no escaping in a URL, in YAML or in SQL.
random() {
	head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'
}

keep postgres_password "$(random)"
keep temporal_password "$(random)"
keep muster_password "$(random)"
keep muster_database_url "postgres://muster:$(cat "$folder/muster_password")@postgres:5432/muster?sslmode=disable"
