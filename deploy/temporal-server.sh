#!/bin/sh
# Starts Temporal's server with the password from its file: the image itself takes it from the environment only.
set -eu

POSTGRES_PWD=$(cat "$POSTGRES_PWD_FILE")
# All interfaces, so that the health check reaches it on loopback; its own services find it at the container's address.
BIND_ON_IP=0.0.0.0
TEMPORAL_BROADCAST_ADDRESS=$(getent hosts "$(hostname)" | awk '{ print $1; exit }')
export POSTGRES_PWD BIND_ON_IP TEMPORAL_BROADCAST_ADDRESS

exec /etc/temporal/entrypoint.sh
