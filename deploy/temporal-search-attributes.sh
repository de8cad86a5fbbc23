#!/bin/sh
# Creates the search attributes of device workflows. A new namespace takes some seconds to be known to every part of the
# server, so the first tries may fail; attributes that exist with the same type are left alone.
set -eu

create() {
	temporal operator search-attribute create \
		--name MusterStatus --type Keyword \
		--name MusterAwaiting --type KeywordList \
		--name MusterGroups --type KeywordList \
		--name MusterServer --type Keyword \
		--name MusterBlockedBy --type Keyword \
		--name MusterEpoch --type Int
}

tries=30
until create; do
	tries=$((tries - 1))
	if [ "$tries" -eq 0 ]; then
		echo "the search attributes could not be created" >&2
		exit 1
	fi
	sleep 2
done
