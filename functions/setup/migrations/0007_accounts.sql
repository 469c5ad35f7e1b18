-- Accounts, profiles, what those who left leave to be deleted, and recycling centres.

-- A guest who set a password. The user and all that hangs on it stay the same one.
CREATE TABLE accounts (
    user_id        uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    email          text NOT NULL UNIQUE,      -- as it is compared: NFC, lower case
    password_hash  text NOT NULL,             -- bcrypt of a digest of the password (functions/auth/passwords.py)
    changed_at     timestamptz NOT NULL DEFAULT now(),     -- the password
    created_at     timestamptz NOT NULL DEFAULT now()
);

-- The profile: what an app proposes for the next question.
ALTER TABLE users ADD COLUMN nickname text CHECK (length(nickname) BETWEEN 1 AND 20);
ALTER TABLE users ADD COLUMN region text CHECK (length(region) BETWEEN 1 AND 60);
ALTER TABLE users ADD COLUMN housing text CHECK (housing IN ('apartment', 'house'));
ALTER TABLE users ADD COLUMN language text NOT NULL DEFAULT 'ko' CHECK (language IN ('ko', 'en'));

-- Objects in the store whose owner has left: `recover` deletes them at once, and again when nothing can be on its way to
-- the store any more (an upload, a copy being made); then the row goes, too.
CREATE TABLE abandoned_objects (
    key         text PRIMARY KEY,
    since       timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz                   -- the first time
);
CREATE INDEX abandoned_objects_since ON abandoned_objects (since);

-- What the model calls of those who left had cost, by day of Asia/Seoul, of nobody: money spent stays spent.
CREATE TABLE departed_spending (
    day       date PRIMARY KEY,
    cost_usd  numeric(12, 6) NOT NULL
);

-- Who leaves takes every row along: without these each of them would be looked for in the whole table.
CREATE INDEX photos_analysis ON photos (analysis_id);
CREATE INDEX proofs_owner ON proofs (user_id);
CREATE INDEX disputes_user ON disputes (user_id);
CREATE INDEX quiz_answers_user ON quiz_answers (user_id);
CREATE INDEX dead_letters_analysis ON dead_letters (analysis_id);

-- What the model cost today, and what is open, is asked before anything that would cost more. Calls of a model without a
-- known price count, too (budget.py); those of the stand-in are free.
CREATE INDEX model_calls_cost ON model_calls (created_at) INCLUDE (cost_usd);
CREATE INDEX model_calls_unpriced ON model_calls (created_at)
    WHERE cost_usd IS NULL AND answer -> 'standin' <> 'true'::jsonb;
CREATE INDEX questions_open ON questions (created_at) WHERE status = 'asked';

-- Recycling centres of the bulk file (`make centres FILE=`), always replaced as a whole. Where the API is asked instead,
-- this stays empty.
CREATE TABLE centres (
    id              text PRIMARY KEY,         -- derives from name and address
    name            text NOT NULL,
    address         text,                     -- NULL: the row has none
    latitude        double precision NOT NULL CHECK (latitude BETWEEN -90 AND 90),
    longitude       double precision NOT NULL CHECK (longitude BETWEEN -180 AND 180),
    doc             jsonb NOT NULL,           -- the rest of the repaired row, as functions/locations/centre.py has it
    reference_date  date,                     -- the day the municipality says this was true
    imported_at     timestamptz NOT NULL DEFAULT now()
);
