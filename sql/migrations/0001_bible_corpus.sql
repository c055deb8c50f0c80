-- Bible versions, as declared beside their text, and their verses.

CREATE TABLE bible_versions (
    version_code    text PRIMARY KEY CHECK (version_code ~ '^[A-Z]{2,3}_[A-Z0-9_]+$'),
    name            text NOT NULL,
    language        text NOT NULL,
    licence         text NOT NULL,
    ai_allowed      boolean NOT NULL,
    enabled_for_rag boolean NOT NULL,
    source_format   text NOT NULL,
    source_hash     text NOT NULL,
    reference_count integer NOT NULL,
    run_id          text NOT NULL,
    loaded_at       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN bible_versions.ai_allowed IS
    'The licence lets the text be sent to an embedding provider; declared, never guessed.';
COMMENT ON COLUMN bible_versions.source_hash IS
    'SHA-256 over the names and bytes of the source files, as the sensor compares it.';
COMMENT ON COLUMN bible_versions.reference_count IS
    'References in the source, blank verses and each verse of a bridge included.';

CREATE TABLE verses (
    verse_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version_code text NOT NULL REFERENCES bible_versions,
    book         text NOT NULL,
    book_order   smallint NOT NULL,
    chapter      smallint NOT NULL,
    verse        smallint NOT NULL,
    verse_end    smallint NOT NULL CHECK (verse_end >= verse),
    text         text NOT NULL CHECK (text <> ''),
    text_hash    bytea NOT NULL,
    UNIQUE (version_code, book, chapter, verse)
);
COMMENT ON COLUMN verses.book IS 'USFM book code: GEN, PSA, 1JN.';
COMMENT ON COLUMN verses.verse_end IS 'The last verse of a bridge such as 15-16; otherwise verse.';
COMMENT ON COLUMN verses.text_hash IS 'SHA-256 of the UTF-8 text: what decides whether a vector is stale.';
