/* alert: matchers. */

CREATE OR REPLACE FUNCTION pipeline.match_labels(matchers text, labels jsonb) RETURNS boolean
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_match_labels';
COMMENT ON FUNCTION pipeline.match_labels(text, jsonb) IS
'Are all matchers true of these labels? matchers: in Alertmanager''s syntax, any number, parted by commas, in braces or not: {severity=~"error|critical", team!="payments"}; = and != compare, =~ and !~ match a regular expression that is anchored at both ends; a label that is not there is empty. labels: strings by name, as alerts have them. To try what a route, a silence or an inhibition would match. NULL for NULL; 22023 for matchers or labels that cannot be read.';

CREATE OR REPLACE FUNCTION pipeline._read_matchers(matchers text, reader text) RETURNS text[]
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'pipeline_read_matchers';
COMMENT ON FUNCTION pipeline._read_matchers(text, text) IS
'Internal: how matchers are read, label, operator and value of each, by the reader classic or utf8 (NULL: not at all), or by both together.';
REVOKE ALL ON FUNCTION pipeline._read_matchers(text, text) FROM PUBLIC;
