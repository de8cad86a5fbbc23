#!/bin/bash
# Runs once, when PostgreSQL's volume is new: a role for Muster and one for Temporal, each with databases of its own.
set -eu

psql --username "$POSTGRES_USER" --dbname postgres --no-psqlrc --quiet --set ON_ERROR_STOP=1 \
	--set muster_password="$(cat /run/secrets/muster_password)" \
	--set temporal_password="$(cat /run/secrets/temporal_password)" <<'SQL'
CREATE ROLE muster LOGIN PASSWORD :'muster_password';
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE DATABASE muster OWNER muster;
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
REVOKE CONNECT ON DATABASE muster, temporal, temporal_visibility FROM PUBLIC;
SQL
