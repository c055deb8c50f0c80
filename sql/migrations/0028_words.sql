-- Full text search by BM25: the words of each passage, folded and weighted, and in how many passages
-- of its language each word is. The columns text_search serve the version before and are not read.

-- The configuration of each language that this server stems, by the first part of its tag. A table,
-- so that words stay as they were indexed when an upgrade of the server brings another stemmer.
CREATE TABLE text_configurations (
    language      text PRIMARY KEY,
    configuration text NOT NULL
);
INSERT INTO text_configurations (language, configuration)
SELECT language, configuration FROM (VALUES
    ('ar', 'arabic'), ('ara', 'arabic'), ('hy', 'armenian'), ('hye', 'armenian'), ('eu', 'basque'),
    ('eus', 'basque'), ('ca', 'catalan'), ('cat', 'catalan'), ('da', 'danish'), ('dan', 'danish'),
    ('nl', 'dutch'), ('nld', 'dutch'), ('en', 'english'), ('eng', 'english'), ('et', 'estonian'),
    ('est', 'estonian'), ('fi', 'finnish'), ('fin', 'finnish'), ('fr', 'french'), ('fra', 'french'),
    ('de', 'german'), ('deu', 'german'), ('el', 'greek'), ('ell', 'greek'), ('hi', 'hindi'),
    ('hin', 'hindi'), ('hu', 'hungarian'), ('hun', 'hungarian'), ('id', 'indonesian'),
    ('ind', 'indonesian'), ('ga', 'irish'), ('gle', 'irish'), ('it', 'italian'), ('ita', 'italian'),
    ('lt', 'lithuanian'), ('lit', 'lithuanian'), ('ne', 'nepali'), ('nep', 'nepali'),
    ('no', 'norwegian'), ('nor', 'norwegian'), ('nb', 'norwegian'), ('nob', 'norwegian'),
    ('nn', 'norwegian'), ('nno', 'norwegian'), ('pt', 'portuguese'), ('por', 'portuguese'),
    ('ro', 'romanian'), ('ron', 'romanian'), ('ru', 'russian'), ('rus', 'russian'),
    ('sr', 'serbian'), ('srp', 'serbian'), ('es', 'spanish'), ('spa', 'spanish'),
    ('sv', 'swedish'), ('swe', 'swedish'), ('ta', 'tamil'), ('tam', 'tamil'), ('tr', 'turkish'),
    ('tur', 'turkish'), ('yi', 'yiddish'), ('yid', 'yiddish')
) AS known (language, configuration)
 WHERE configuration IN (SELECT cfgname FROM pg_ts_config
                          WHERE cfgnamespace = 'pg_catalog'::regnamespace);

CREATE FUNCTION text_language(p_tag text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT split_part(lower(p_tag), '-', 1)
$$;

-- That of the language, or the one that neither stems nor leaves out words.
CREATE FUNCTION text_configuration(p_language text) RETURNS regconfig
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT ('pg_catalog.' || coalesce((SELECT configuration FROM text_configurations
                                        WHERE language = p_language), 'simple'))::regconfig
$$;

-- Lower case, by a collation that knows more than ASCII where there is one: the database's own may
-- be C. A collation that is built in is preferred, as it never changes with the operating system.
DO $$
BEGIN
    EXECUTE format($ddl$
        CREATE FUNCTION lower_case(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
            'SELECT lower(t %s)'
    $ddl$, (SELECT format('COLLATE %I', collname) FROM pg_collation
             WHERE collname IN ('pg_c_utf8', 'und-x-icu', 'C.utf8') AND collencoding IN (-1, 6)
             ORDER BY array_position(ARRAY['pg_c_utf8', 'und-x-icu', 'C.utf8'], collname::text)
             LIMIT 1));
END
$$;

-- Without case and accents, composed. Marks that are letters' parts in their script (the vowels of
-- Devanagari and Thai, the voicing of kana) stay; the points of Hebrew and Arabic do not.
CREATE FUNCTION fold_text(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN octet_length(t) = length(t) THEN lower(t) ELSE
        normalize(
            regexp_replace(
                normalize(
                    replace(replace(replace(
                        translate(lower_case(t), 'øłđıħς', 'oldihσ'),
                        'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'),
                    NFKD),
                '[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670]',
                '', 'g'),
            NFKC)
    END
$$;

-- A character of a script that is written without spaces, or whose words carry their particles:
-- Thai, Lao, Burmese, Khmer, kana, Han, Hangul.
CREATE FUNCTION is_gram(t text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT t ~ '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]'
$$;

-- The folded words of a text, with positions. A word with accents is there as its folded stem and, for
-- those who type none, as the stem of the folded word. Scripts without spaces are cut into pairs of
-- characters and single ones. A query has of each only what is the more specific.
CREATE FUNCTION text_lexemes(p_configuration regconfig, p_text text, p_query boolean)
RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    plain text;
    spaced text;
    parts text := '';
BEGIN
    IF octet_length(p_text) = length(p_text) THEN
        RETURN to_tsvector(p_configuration, p_text);
    END IF;
    plain := lower_case(normalize(p_text, NFKC));
    spaced := plain;
    IF is_gram(plain) THEN
        spaced := regexp_replace(plain, '[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]+', ' ', 'g');
        SELECT coalesce(string_agg(gram || ':' || least(nth, 16383), ' '), '') INTO parts
          FROM (SELECT c, nth, is_gram(c) AS here,
                       lead(c) OVER (ORDER BY nth) AS next,
                       coalesce(is_gram(lead(c) OVER (ORDER BY nth)), false) AS on_right,
                       coalesce(is_gram(lag(c) OVER (ORDER BY nth)), false) AS on_left
                  FROM unnest(string_to_array(plain, NULL)) WITH ORDINALITY AS t (c, nth)) AS placed
         CROSS JOIN LATERAL (VALUES
                   (CASE WHEN on_right THEN c || next END),
                   (CASE WHEN NOT p_query OR NOT (on_right OR on_left) THEN c END)) AS g (gram)
         WHERE here AND gram IS NOT NULL;
    END IF;
    RETURN (parts || ' ' || coalesce(
        (SELECT string_agg('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || ''':'
                           || array_to_string(positions, ','), ' ')
           FROM (SELECT fold_text(lexeme) AS lexeme, positions
                   FROM unnest(to_tsvector(p_configuration, spaced))
                  UNION ALL
                 SELECT lexeme, positions
                   FROM unnest(to_tsvector(p_configuration, fold_text(spaced)))
                  WHERE NOT p_query) AS words
          WHERE lexeme <> ''), ''))::tsvector;
END
$$;

-- The words of a text in their order, as a query; empty without words.
CREATE FUNCTION text_phrase(p_configuration regconfig, p_text text) RETURNS tsquery
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(string_agg(
               CASE WHEN before IS NULL THEN '' ELSE format(' <%s> ', place - before) END
               || '''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''',
               '' ORDER BY place, lexeme), '')::tsquery
      FROM (SELECT lexeme, place, lag(place) OVER (ORDER BY place, lexeme) AS before
              FROM unnest(text_lexemes(p_configuration, p_text, true)) AS w,
                   unnest(w.positions) AS place) AS placed
$$;

-- A word's number, by which vectors of weights have it.
CREATE FUNCTION text_term(p_lexeme text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (hashtext(p_lexeme) & 536870911) + 1
$$;

-- BM25 without the inverse document frequency, which a search brings as the other vector: how much
-- each word weighs in its passage, by k1 = 1.2 and b = 0.75. p_length is the usual number of words:
-- a fixed one, as another mean length is the same as another b, and would change every row.
CREATE FUNCTION text_weights(p_lexemes tsvector, p_length real) RETURNS sparsevec
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ('{' || coalesce(string_agg(term || ':' || weight, ','), '') || '}/536870912')::sparsevec
      FROM (SELECT text_term(lexeme) AS term,
                   sum(2.2 * tf / (tf + 1.2 * (0.25 + 0.75 * words / p_length)))::real AS weight
              FROM (SELECT lexeme, cardinality(positions)::real AS tf,
                           sum(cardinality(positions)) OVER () AS words
                      FROM unnest(p_lexemes)) AS counted
             GROUP BY 1) AS weighed
$$;

-- Tables of their own, and narrow: ranking reads a row for each candidate.
CREATE TABLE verse_words (
    verse_id     bigint PRIMARY KEY,
    version_code text NOT NULL,
    language     text NOT NULL,
    book         text NOT NULL,
    chapter      smallint NOT NULL,
    lexemes      tsvector NOT NULL,
    weights      sparsevec NOT NULL
);
CREATE TABLE chunk_words (
    chunk_id    bigint PRIMARY KEY,
    document_id bigint NOT NULL,
    language    text NOT NULL,
    lexemes     tsvector NOT NULL,
    weights     sparsevec NOT NULL
);
-- A list of pending entries, which each search would read, costs more than it saves the writers.
CREATE INDEX verse_words_lexemes ON verse_words USING gin (lexemes) WITH (fastupdate = off);
CREATE INDEX chunk_words_lexemes ON chunk_words USING gin (lexemes) WITH (fastupdate = off);
COMMENT ON COLUMN verse_words.language IS 'The first part of the tag of the version''s language.';

-- Writes the words of these passages, whatever client wrote their text.
CREATE FUNCTION write_verse_words(p_ids bigint[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO verse_words (verse_id, version_code, language, book, chapter, lexemes, weights)
    SELECT verse_id, version_code, language, book, chapter, lexemes, text_weights(lexemes, 14)
      FROM (SELECT v.*, text_language(b.language) AS language,
                   text_lexemes(text_configuration(text_language(b.language)), v.text, false)
                       AS lexemes
              FROM verses v JOIN bible_versions b USING (version_code)
             WHERE verse_id = ANY(p_ids)
            OFFSET 0) AS worded
     ORDER BY verse_id
    ON CONFLICT (verse_id) DO UPDATE
       SET (version_code, language, book, chapter, lexemes, weights)
         = (EXCLUDED.version_code, EXCLUDED.language, EXCLUDED.book, EXCLUDED.chapter,
            EXCLUDED.lexemes, EXCLUDED.weights)
$$;
CREATE FUNCTION write_chunk_words(p_ids bigint[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO chunk_words (chunk_id, document_id, language, lexemes, weights)
    SELECT chunk_id, document_id, language, lexemes, text_weights(lexemes, 150)
      FROM (SELECT chunk_id, document_id, text_language(language) AS language,
                   text_lexemes(text_configuration(text_language(language)), text, false)
                       AS lexemes
              FROM document_chunks
             WHERE chunk_id = ANY(p_ids)
            OFFSET 0) AS worded
     ORDER BY chunk_id
    ON CONFLICT (chunk_id) DO UPDATE
       SET (document_id, language, lexemes, weights)
         = (EXCLUDED.document_id, EXCLUDED.language, EXCLUDED.lexemes, EXCLUDED.weights)
$$;

CREATE FUNCTION write_words_of_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'verses' THEN
        PERFORM write_verse_words(array_agg(verse_id)) FROM came;
    ELSE
        PERFORM write_chunk_words(array_agg(chunk_id)) FROM came;
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION write_words_of_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'verses' THEN
        PERFORM write_verse_words(array_agg(verse_id)) FROM came JOIN gone USING (verse_id)
          WHERE (came.text, came.version_code, came.book, came.chapter)
                IS DISTINCT FROM (gone.text, gone.version_code, gone.book, gone.chapter);
    ELSE
        PERFORM write_chunk_words(array_agg(chunk_id)) FROM came JOIN gone USING (chunk_id)
          WHERE (came.text, came.language, came.document_id)
                IS DISTINCT FROM (gone.text, gone.language, gone.document_id);
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION delete_words() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'verses' THEN
        DELETE FROM verse_words w USING gone WHERE w.verse_id = gone.verse_id;
    ELSE
        DELETE FROM chunk_words w USING gone WHERE w.chunk_id = gone.chunk_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER write_words_of_new AFTER INSERT ON verses REFERENCING NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION write_words_of_new();
CREATE TRIGGER write_words_of_changed AFTER UPDATE ON verses
    REFERENCING OLD TABLE AS gone NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION write_words_of_changed();
CREATE TRIGGER delete_words AFTER DELETE ON verses REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION delete_words();
CREATE TRIGGER write_words_of_new AFTER INSERT ON document_chunks REFERENCING NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION write_words_of_new();
CREATE TRIGGER write_words_of_changed AFTER UPDATE ON document_chunks
    REFERENCING OLD TABLE AS gone NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION write_words_of_changed();
CREATE TRIGGER delete_words AFTER DELETE ON document_chunks REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION delete_words();

-- A version that is declared in another language has other stems.
CREATE FUNCTION write_words_of_language() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM write_verse_words(array_agg(verse_id)) FROM verses WHERE version_code = NEW.version_code;
    RETURN NULL;
END
$$;
CREATE TRIGGER write_words_of_language AFTER UPDATE OF language ON bible_versions FOR EACH ROW
    WHEN (text_language(OLD.language) <> text_language(NEW.language))
    EXECUTE FUNCTION write_words_of_language();

-- In how many passages of a language each word is, among those of a release.
CREATE TABLE text_statistics (
    statistics integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    corpus     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE text_languages (
    statistics integer NOT NULL REFERENCES text_statistics ON DELETE CASCADE,
    language   text NOT NULL,
    rows       bigint NOT NULL,
    PRIMARY KEY (statistics, language)
);
CREATE TABLE text_terms (
    statistics integer NOT NULL REFERENCES text_statistics ON DELETE CASCADE,
    language   text NOT NULL,
    lexeme     text COLLATE "C" NOT NULL,
    rows       bigint NOT NULL,
    PRIMARY KEY (statistics, language, lexeme)
);
COMMENT ON TABLE text_terms IS 'A word that is not here is in one passage at most.';

-- Counts the words of a corpus: of these versions of the Bible, or of all documents. Of a language
-- with more than 100,000 passages every nth is counted.
CREATE FUNCTION collect_text_statistics(p_corpus text, p_versions text[]) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    n integer;
    found record;
    source text := CASE p_corpus WHEN 'bible' THEN
        format('verse_words WHERE version_code = ANY(%L::text[])', p_versions)
        ELSE 'chunk_words WHERE true' END;
    id text := CASE p_corpus WHEN 'bible' THEN 'verse_id' ELSE 'chunk_id' END;
    every bigint;
BEGIN
    INSERT INTO text_statistics (corpus) VALUES (p_corpus) RETURNING statistics INTO n;
    EXECUTE format('INSERT INTO text_languages SELECT %s, language, count(*) FROM %s GROUP BY language',
                   n, source);
    FOR found IN SELECT language, rows FROM text_languages WHERE statistics = n LOOP
        every := 1 + found.rows / 100000;
        EXECUTE format('INSERT INTO text_terms SELECT %s, %L, word, ndoc::bigint * %s FROM ts_stat(%L)'
                       ' WHERE ndoc > 1',
                       n, found.language, every,
                       format('SELECT lexemes FROM %s AND language = %L AND %s %% %s = 0',
                              source, found.language, id, every));
    END LOOP;
    RETURN n;
END
$$;

-- What a release ranks words by, and how it merges them with what the vectors find.
CREATE TABLE release_texts (
    release_id integer NOT NULL REFERENCES releases,
    corpus     text NOT NULL,
    statistics integer REFERENCES text_statistics ON DELETE SET NULL,
    weight     double precision,
    depth      integer,
    PRIMARY KEY (release_id, corpus)
);
COMMENT ON COLUMN release_texts.weight IS 'What the words count beside the vectors; null for the default.';
COMMENT ON COLUMN release_texts.depth IS 'How many rows of each are merged; null for the default.';

-- Gives a release the statistics that it lacks. Those of earlier releases are dropped, and counted again
-- if one of these comes back.
CREATE FUNCTION record_release_texts(p_release integer, p_weight double precision, p_depth integer)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO release_texts AS t (release_id, corpus, statistics, weight, depth)
    SELECT r.release_id, s.corpus, collect_text_statistics(s.corpus, r.versions), p_weight, p_depth
      FROM release_spaces s JOIN releases r USING (release_id)
     WHERE r.release_id = p_release AND s.role = 'small'
       AND NOT EXISTS (SELECT FROM release_texts t
                        WHERE (t.release_id, t.corpus) = (s.release_id, s.corpus)
                          AND t.statistics IS NOT NULL)
    ON CONFLICT (release_id, corpus) DO UPDATE SET statistics = EXCLUDED.statistics;
    DELETE FROM text_statistics
     WHERE statistics NOT IN (SELECT statistics FROM release_texts JOIN releases USING (release_id)
                               WHERE statistics IS NOT NULL
                                 AND (state = 'active' OR release_id > p_release - 10));
END
$$;

-- How far the passages of before are indexed, by id: they are filled in parts.
CREATE TABLE text_filling (
    corpus  text PRIMARY KEY,
    next_id bigint NOT NULL,
    last_id bigint NOT NULL
);
INSERT INTO text_filling
SELECT 'bible', 0, coalesce(max(verse_id), -1) FROM verses
 UNION ALL
SELECT 'documents', 0, coalesce(max(chunk_id), -1) FROM document_chunks;

-- Indexes the next passages of before and says whether there are more; then it counts the words of the
-- active release. Blocks writers, so that no text changes between reading it and writing its words.
CREATE FUNCTION fill_words(p_rows integer) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    filling text_filling;
    ids bigint[];
BEGIN
    SELECT * INTO filling FROM text_filling WHERE next_id <= last_id ORDER BY corpus LIMIT 1;
    IF NOT FOUND THEN
        PERFORM record_release_texts(release_id, NULL, NULL) FROM releases WHERE state = 'active';
        RETURN false;
    END IF;
    IF filling.corpus = 'bible' THEN
        LOCK TABLE verses IN SHARE MODE;
        ids := ARRAY(SELECT verse_id FROM verses
                      WHERE verse_id BETWEEN filling.next_id AND filling.last_id
                      ORDER BY verse_id LIMIT p_rows);
        PERFORM write_verse_words(ids);
    ELSE
        LOCK TABLE document_chunks IN SHARE MODE;
        ids := ARRAY(SELECT chunk_id FROM document_chunks
                      WHERE chunk_id BETWEEN filling.next_id AND filling.last_id
                      ORDER BY chunk_id LIMIT p_rows);
        PERFORM write_chunk_words(ids);
    END IF;
    UPDATE text_filling
       SET next_id = CASE WHEN cardinality(ids) < p_rows THEN last_id + 1
                          ELSE ids[cardinality(ids)] + 1 END
     WHERE corpus = filling.corpus;
    RETURN true;
END
$$;
