-- A search finds a row by its code: only the program writes codes, with the vectors they are of.
-- What another client writes into a table of codes is ignored; what it deletes is counted by the
-- gate as missing. The program names the table in its transaction (rag_assets.coding).
CREATE FUNCTION ignore_foreign_code() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END
$$;

CREATE FUNCTION watch_codes(p_corpus text, p_set integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($ddl$
        CREATE TRIGGER ignore_foreign_code BEFORE INSERT OR UPDATE ON %1$I
            FOR EACH ROW WHEN (current_setting('rag_assets.coding', true) IS DISTINCT FROM %1$L)
            EXECUTE FUNCTION ignore_foreign_code()
    $ddl$, code_table(p_corpus, p_set));
END
$$;

SELECT watch_codes(corpus, code_set) FROM code_sets WHERE state <> 'dropped';

ALTER FUNCTION create_code_set(text, integer, integer, integer, real[], jsonb, text)
    RENAME TO create_code_set_table;
CREATE FUNCTION create_code_set(
    p_corpus text, p_space integer, p_encoder integer, p_bits integer, p_mean real[],
    p_measured jsonb, p_run_id text
) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    n integer := create_code_set_table(
        p_corpus, p_space, p_encoder, p_bits, p_mean, p_measured, p_run_id
    );
BEGIN
    PERFORM watch_codes(p_corpus, n);
    RETURN n;
END
$$;
