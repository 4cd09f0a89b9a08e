/* First part of every install and upgrade script. */
\echo Use "CREATE EXTENSION pipeline" or "ALTER EXTENSION pipeline UPDATE" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;
SET LOCAL check_function_bodies TO off;
