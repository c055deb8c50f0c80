#!/bin/sh
# In the database's container, once, when its volume is empty: the roles of sql/roles.sql.
set -eu
RAG_OWNER_PASSWORD="$(cat /run/secrets/rag_database_password)"
RAG_API_PASSWORD="$(cat /run/secrets/rag_api_password)"
RAG_MONITOR_PASSWORD="$(cat /run/secrets/rag_monitor_password)"
export RAG_OWNER_PASSWORD RAG_API_PASSWORD RAG_MONITOR_PASSWORD
exec psql --username="$POSTGRES_USER" --dbname=postgres --file=/opt/roles.sql
