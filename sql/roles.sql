-- The roles, made once by an administrator of the server, before `rag-assets db migrate`:
--
--   RAG_OWNER_PASSWORD=… RAG_API_PASSWORD=… RAG_MONITOR_PASSWORD=… psql --file=sql/roles.sql
--
--   bible_user   owns the databases: migrations, and the pipeline, which makes tables of its own
--   rag_api      the retrieval API: reads, and writes its cache, its rates and uploads
--   rag_monitor  the exporter: reads
--
-- What the last two may do is granted by the owner, once the tables are there:
--   rag-assets db grant --api rag_api      rag-assets db grant rag_monitor

\set ON_ERROR_STOP on
\getenv owner_password RAG_OWNER_PASSWORD
\getenv api_password RAG_API_PASSWORD
\getenv monitor_password RAG_MONITOR_PASSWORD

SELECT format('CREATE ROLE %I LOGIN', role)
  FROM unnest(ARRAY['bible_user', 'rag_api', 'rag_monitor']) AS role
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec

ALTER ROLE bible_user PASSWORD :'owner_password';
ALTER ROLE rag_api PASSWORD :'api_password';
ALTER ROLE rag_monitor PASSWORD :'monitor_password';
GRANT pg_read_all_stats TO bible_user, rag_monitor;

SELECT format('CREATE DATABASE %I OWNER bible_user', name)
  FROM unnest(ARRAY['bible_api', 'bible_api_dagster']) AS name
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec

\connect bible_api
ALTER DATABASE bible_api OWNER TO bible_user;
ALTER SCHEMA public OWNER TO bible_user;
-- pgvector lets the owner do this himself from 0.6 on; older ones ask for an administrator.
CREATE EXTENSION IF NOT EXISTS vector;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
\connect bible_api_dagster
ALTER SCHEMA public OWNER TO bible_user;
