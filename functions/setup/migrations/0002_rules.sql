-- The rules: what can be thrown away (items), what people call it (names), how it is thrown away (rules), and which model
-- measured their meaning (rule_index). Written by `python -m functions.setup index` only, always as a whole.
-- PostgreSQL 14, pgvector, pg_trgm. pg_trgm sees no Korean under the C locale: the database must be C.UTF-8 or a language.

CREATE EXTENSION IF NOT EXISTS vector;
CREATE EXTENSION IF NOT EXISTS pg_trgm;

-- One row: what the index holds and how it was made. `version` changes with any item, rule, model or dimension.
CREATE TABLE rule_index (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version     text NOT NULL,
    model       text NOT NULL,
    dimension   integer NOT NULL,
    centre      vector(384) NOT NULL,           -- mean of the names' embeddings: those of e5 all point one way
    near_low    double precision NOT NULL,      -- nearness to a name at which meaning begins to count with this model,
    near_high   double precision NOT NULL,      -- and at which it is as good as it gets (measured by the build)
    items       integer NOT NULL,
    names       integer NOT NULL,
    rules       integer NOT NULL,
    built_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE items (
    id         text PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('item', 'choice')),   -- a choice is a word for several items: 컵, 병
    name_ko    text NOT NULL,
    name_en    text NOT NULL,
    doc        jsonb NOT NULL,                  -- decision table, parts, regional exceptions, official class (corpus.py)
    digest     text NOT NULL                    -- of everything above and the names
);

CREATE TABLE item_names (
    item_id    text NOT NULL REFERENCES items ON DELETE CASCADE,
    key        text NOT NULL,                   -- hangul.sound(name)
    name       text NOT NULL,
    embedding  vector(384),                     -- null for the names of a choice: they are matched by name only
    PRIMARY KEY (item_id, key)
);
CREATE INDEX item_names_key ON item_names (key);
CREATE INDEX item_names_similar ON item_names USING gin (key gin_trgm_ops);

-- `owner` is the family, item or regional exception a rule belongs to; `leaf` the outcome of the item's decision table it is for.
CREATE TABLE rules (
    id              text PRIMARY KEY,           -- <owner>.<phase>.<n>: what a guide cites
    owner           text NOT NULL,
    phase           text NOT NULL CHECK (phase IN ('prepare', 'wash', 'separate', 'dispose', 'dont', 'why')),
    text            text NOT NULL,
    leaf            text,
    conditions      jsonb NOT NULL,             -- {"dirt": ["oily"]}: holds unless the known state contradicts it
    destination     text,
    basis           text NOT NULL CHECK (basis IN ('official-class', 'directive', 'survey', 'author')),
    source_title    text NOT NULL,
    source_url      text,
    effective_from  date NOT NULL,
    effective_to    date,                       -- last day it holds
    checked         date NOT NULL,              -- the day its source was read
    disagreement    text,
    digest          text NOT NULL,
    embedding       vector(384)                 -- null for outcomes, which a guide always needs
);
CREATE INDEX rules_owner ON rules (owner);
