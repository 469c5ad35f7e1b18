-- A part that is asked about alone is a small item of its own ("샴푸통 펌프"): found by its names, never by meaning.
ALTER TABLE items DROP CONSTRAINT items_kind_check;
ALTER TABLE items ADD CONSTRAINT items_kind_check CHECK (kind IN ('item', 'part', 'choice', 'outside'));
