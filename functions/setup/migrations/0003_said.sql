-- Besides its names an item has phrases by which people describe it: found by meaning and by likeness, never shown as names.
ALTER TABLE item_names ADD COLUMN is_name boolean NOT NULL DEFAULT true;
