-- Texts about something else than throwing away are rows too: a question nearer to them than to any item is refused.
ALTER TABLE items DROP CONSTRAINT items_kind_check;
ALTER TABLE items ADD CONSTRAINT items_kind_check CHECK (kind IN ('item', 'choice', 'outside'));

-- A typo is looked for in names only: phrases are found by their meaning.
DROP INDEX item_names_similar;
CREATE INDEX item_names_similar ON item_names USING gin (key gin_trgm_ops) WHERE is_name;
