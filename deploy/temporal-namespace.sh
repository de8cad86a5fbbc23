#!/bin/sh
# Creates the namespace that Muster's workflows live in, unless it is there. TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE are
# read by the tool itself.
set -eu

tries=30
until temporal operator cluster health; do
	tries=$((tries - 1))
	if [ "$tries" -eq 0 ]; then
		echo "Temporal did not become healthy" >&2
		exit 1
	fi
	sleep 2
done

if temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
	echo "namespace $TEMPORAL_NAMESPACE is there"
	exit 0
fi
temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
