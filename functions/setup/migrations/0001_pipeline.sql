-- The pipeline: users, analyses, what they said (events), who has done what (claims), what it produced.
-- Nothing newer than PostgreSQL 14. Times are timestamptz; money is US dollars; sizes are bytes; lengths are milliseconds.

CREATE TABLE users (
    id          uuid PRIMARY KEY,
    kind        text NOT NULL CHECK (kind IN ('guest', 'account')),
    consent_at  timestamptz,                    -- agreed to photos being sent to the model provider
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE analyses (
    id               uuid PRIMARY KEY,
    user_id          uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    status           text NOT NULL CHECK (status IN (
                         'presigned',           -- an upload address was given out
                         'requested',           -- asked for; the photo is not checked yet
                         'ingested',            -- clean photo kept; being identified
                         'needs_answer',        -- we asked, the citizen has not answered
                         'identified',          -- item known; rules being looked up
                         'retrieved',           -- rules known; guide being written
                         'completed', 'failed', 'expired')),
    outcome          text CHECK (outcome IN ('guide', 'not_found')),   -- of a completed one
    key              text NOT NULL UNIQUE,      -- object key of the citizen's photo
    content_type     text NOT NULL,
    question         text,                      -- the citizen's own words: data, never an instruction
    region           text,
    housing          text CHECK (housing IN ('apartment', 'house')),
    round            integer NOT NULL DEFAULT 1,
    last_n           integer NOT NULL DEFAULT 0,           -- number of the newest analysis_events row
    idempotency_key  text,
    request_digest   text,                      -- sha256 of the analyze request that idempotency_key belongs to
    failure          jsonb,                     -- {"reason", "detail", "from": status before}
    correlation_id   text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    requested_at     timestamptz,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz,
    UNIQUE (user_id, idempotency_key)
);
CREATE INDEX analyses_history ON analyses (user_id, created_at DESC, id DESC);
CREATE INDEX analyses_open ON analyses (status, updated_at) WHERE status NOT IN ('completed', 'failed', 'expired');

-- Append-only: outbox, history, the feed of `live`, and what `recover` replays. n counts 1, 2, 3 … within an analysis.
CREATE TABLE analysis_events (
    analysis_id     uuid NOT NULL REFERENCES analyses ON DELETE CASCADE,
    n               integer NOT NULL,
    source          text NOT NULL,
    id              text NOT NULL,
    type            text NOT NULL,
    data            jsonb NOT NULL,
    correlation_id  text NOT NULL,
    traceparent     text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (analysis_id, n),
    UNIQUE (source, id)
);
CREATE INDEX analysis_events_recent ON analysis_events (created_at);

-- One row for each (consumer, event). A finished claim is the acknowledgement; nothing else marks "sent".
CREATE TABLE claims (
    consumer         text NOT NULL,
    event_source     text NOT NULL,
    event_id         text NOT NULL,
    analysis_id      uuid REFERENCES analyses ON DELETE CASCADE,
    state            text NOT NULL CHECK (state IN ('running', 'released', 'parked', 'done', 'dead')),
    outcome          text CHECK (outcome IN ('event', 'nothing', 'superseded', 'rejected')),
    attempts         integer NOT NULL DEFAULT 1,           -- also the fencing token of the holder
    model_failures   integer NOT NULL DEFAULT 0,
    lease_until      timestamptz NOT NULL,
    next_attempt_at  timestamptz,                          -- of parked work
    reply_n          integer,                              -- the analysis_events row this step produced
    error            text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz,
    PRIMARY KEY (consumer, event_source, event_id)
);
CREATE INDEX claims_event ON claims (event_source, event_id);
CREATE INDEX claims_analysis ON claims (analysis_id);
CREATE INDEX claims_parked ON claims (next_attempt_at) WHERE state = 'parked';

CREATE TABLE photos (
    id           uuid PRIMARY KEY,
    analysis_id  uuid NOT NULL REFERENCES analyses ON DELETE CASCADE,
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    kind         text NOT NULL CHECK (kind IN ('before', 'after')),
    kept_key     text NOT NULL,                 -- at most 2048 px
    model_key    text NOT NULL,                 -- at most 1024 px
    sha256       text NOT NULL,                 -- of the bytes the citizen sent
    phash        text NOT NULL,                 -- 64-bit perceptual hash, 16 hex digits
    width        integer NOT NULL,
    height       integer NOT NULL,
    bytes        integer NOT NULL,              -- of the bytes the citizen sent
    created_at   timestamptz NOT NULL DEFAULT now(),
    deleted_at   timestamptz,                   -- objects removed after the retention time; the hashes stay
    UNIQUE (analysis_id, kind)
);
CREATE INDEX photos_sha256 ON photos (sha256);

-- What was seen and decided in each round; round 2 and later are the citizen's corrections.
CREATE TABLE identifications (
    analysis_id  uuid NOT NULL REFERENCES analyses ON DELETE CASCADE,
    round        integer NOT NULL,
    seen         jsonb NOT NULL,                -- {"objects": [...], "notes": str} as the model answered
    candidates   jsonb NOT NULL,                -- [{"id", "name", "score"}] best first, at most 5
    decision     text NOT NULL CHECK (decision IN ('match', 'ambiguous', 'not_found')),
    item_id      text,
    state        jsonb NOT NULL,                -- conditions in force: {"contents": "remaining", ...}
    question     jsonb,                         -- {"text": {"ko","en"}, "options": [{"id", "label", "item_id", "state"}]}
    chosen_by    text NOT NULL CHECK (chosen_by IN ('model', 'answer', 'correction')),
    words        text,                          -- free words of a correction
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (analysis_id, round)
);

CREATE TABLE retrievals (
    analysis_id    uuid NOT NULL REFERENCES analyses ON DELETE CASCADE,
    round          integer NOT NULL,
    item_id        text NOT NULL,
    passages       jsonb NOT NULL,              -- the rules as they read that day: an old analysis keeps its rules
    index_version  text NOT NULL,
    cached         boolean NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (analysis_id, round)
);

CREATE TABLE guides (
    id           uuid PRIMARY KEY,
    analysis_id  uuid NOT NULL REFERENCES analyses ON DELETE CASCADE,
    round        integer NOT NULL,
    item_id      text NOT NULL,
    content      jsonb NOT NULL,                -- {"summary","destination","steps":[{"phase","text","rule_ids"}],"cautions","answer"}
    made_by      jsonb NOT NULL,                -- {"model","prompt_version","standin","repaired","fallback","cached","calls"}
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (analysis_id, round)
);

-- Every call to the model, kept before it has any effect: a retry with a stored answer makes no second call.
CREATE TABLE model_calls (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    analysis_id     uuid NOT NULL REFERENCES analyses ON DELETE CASCADE,
    round           integer NOT NULL,
    purpose         text NOT NULL,              -- see | guide | guide_repair
    model           text NOT NULL,
    prompt_version  text NOT NULL,
    answer          jsonb NOT NULL,             -- {"parsed": object|null, "raw": str}
    tokens_in       integer NOT NULL,
    tokens_out      integer NOT NULL,
    cost_usd        numeric(12, 6),             -- null where the price table does not know the model
    ms              integer NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (analysis_id, round, purpose)
);

-- What the broker gave up on, with its bytes, once per (consumer, event).
CREATE TABLE dead_letters (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer      text NOT NULL,
    event_source  text NOT NULL,
    event_id      text NOT NULL,
    analysis_id   uuid,
    attributes    jsonb NOT NULL,               -- the CloudEvents attributes as they arrived
    body          bytea NOT NULL,
    error_code    text,
    created_at    timestamptz NOT NULL DEFAULT now(),
    replayed_at   timestamptz,
    UNIQUE (consumer, event_source, event_id)
);

CREATE FUNCTION announce_analysis_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('analysis_events', NEW.analysis_id::text || ':' || NEW.n::text);
    RETURN NULL;
END $$;
CREATE TRIGGER analysis_events_announce AFTER INSERT ON analysis_events
    FOR EACH ROW EXECUTE FUNCTION announce_analysis_event();
