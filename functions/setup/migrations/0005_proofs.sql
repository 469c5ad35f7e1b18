-- The result, shown and graded: proofs (one attempt each), what the citizen says against a grade, further questions.
-- In model_calls.purpose they are grade<attempt> and ask<n>, each also with _repair.

-- An attempt to show that the guide was followed. Of one analysis at most one is open at a time, and of one round (one
-- guide) at most one is graded.
CREATE TABLE proofs (
    id            uuid PRIMARY KEY,
    analysis_id   uuid NOT NULL REFERENCES analyses ON DELETE CASCADE,
    user_id       uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    attempt       integer NOT NULL CHECK (attempt BETWEEN 1 AND 99),
    status        text NOT NULL CHECK (status IN (
                      'presigned',            -- an upload address was given out
                      'requested',            -- to be graded; the photo is not checked yet
                      'ingested',             -- clean photo kept; being compared
                      'graded',               -- the end: grade, score, feedback
                      'refused')),            -- the end: reason; another attempt may follow
    key           text NOT NULL UNIQUE,       -- object key of the citizen's after-photo
    content_type  text NOT NULL,
    round         integer,                    -- whose guide it is held against; set when it is requested
    checklist     jsonb,                      -- steps of the guide the citizen says are done: [0, 2]; a claim, no proof
    grade         text CHECK (grade IN ('high', 'middle', 'low')),     -- 상, 중, 하
    score         integer CHECK (score BETWEEN 0 AND 100),
    verdicts      jsonb,                      -- [{"step", "phase", "text", "verdict", "seen", "weight"}], as compared
    feedback      jsonb,                      -- {"summary", "points": [{"step", "text"}]}: Korean, for the citizen
    made_by       jsonb,                      -- {"model", "standin", "prompt_version", "repaired", "calls"}
    reason        text,                       -- of a refusal
    detail        text,                       -- of a refusal, for the curious
    refused_from  text,                       -- status before a refusal by us (internal): a replay goes on there
    flags         jsonb NOT NULL DEFAULT '[]',            -- what an operator may look at: [{"near", "proof_id", "bits"}]
    created_at    timestamptz NOT NULL DEFAULT now(),
    requested_at  timestamptz,
    finished_at   timestamptz,
    UNIQUE (analysis_id, attempt),
    CHECK ((status = 'graded') = (grade IS NOT NULL)),
    CHECK (status <> 'graded' OR round IS NOT NULL),
    CHECK ((status = 'refused') = (reason IS NOT NULL))
);
CREATE UNIQUE INDEX proofs_one_open ON proofs (analysis_id) WHERE status IN ('requested', 'ingested');
CREATE UNIQUE INDEX proofs_one_grade ON proofs (analysis_id, round) WHERE status = 'graded';
CREATE INDEX proofs_unused ON proofs (created_at) WHERE status = 'presigned';
CREATE INDEX proofs_user ON proofs (user_id, finished_at) WHERE status = 'graded';

-- Before-photos have no proof; every proof has at most one photo.
ALTER TABLE photos DROP CONSTRAINT photos_analysis_id_kind_key;
ALTER TABLE photos ADD COLUMN proof_id uuid REFERENCES proofs ON DELETE CASCADE;
ALTER TABLE photos ADD CONSTRAINT photos_proof CHECK ((kind = 'after') = (proof_id IS NOT NULL));
CREATE UNIQUE INDEX photos_before ON photos (analysis_id) WHERE kind = 'before';
CREATE UNIQUE INDEX photos_after ON photos (proof_id);
CREATE INDEX photos_user ON photos (user_id);

-- The citizen contests a grade: both stay, an operator is shown both (`make report`), nothing changes by itself.
CREATE TABLE disputes (
    id          uuid PRIMARY KEY,
    proof_id    uuid NOT NULL UNIQUE REFERENCES proofs ON DELETE CASCADE,
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    reason      text NOT NULL,                -- the citizen's own words
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Further questions about a guide, and their answers: a thread of at most ten, those that failed on our side not counted.
CREATE TABLE questions (
    id           uuid PRIMARY KEY,
    analysis_id  uuid NOT NULL REFERENCES analyses ON DELETE CASCADE,
    n            integer NOT NULL CHECK (n BETWEEN 1 AND 99),
    round        integer NOT NULL,            -- whose guide it is about
    text         text NOT NULL,               -- the citizen's own words: data, never an instruction
    status       text NOT NULL DEFAULT 'asked' CHECK (status IN ('asked', 'answered', 'declined', 'failed')),
    answer       jsonb,                       -- {"text", "rule_ids"}; of a declined one the polite sentence
    made_by      jsonb,
    created_at   timestamptz NOT NULL DEFAULT now(),
    answered_at  timestamptz,
    UNIQUE (analysis_id, n)
);
