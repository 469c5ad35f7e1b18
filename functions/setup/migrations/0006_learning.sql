-- What became of it all, counted: per citizen and day, per item and step, for the city as a whole; lessons and reports.
-- Written by `aggregate` alone (quiz answers by `users`), always counted anew from analyses and proofs, never added to:
-- a repeated, late or early event changes nothing. Days are those of Asia/Seoul.

CREATE TABLE user_days (
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    day         date NOT NULL,
    analyses    integer NOT NULL,             -- that led to a guide, by the day they were asked for
    high        integer NOT NULL,             -- grades, by the day they were given
    middle      integer NOT NULL,
    low         integer NOT NULL,
    score_sum   integer NOT NULL,
    corrected   integer NOT NULL,             -- grades of an item the citizen has corrected since: they count for nothing
    counted_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, day)
);
CREATE INDEX user_days_day ON user_days (day);

-- Grades by where the thing had to go and what it was; `right` are those of grade high.
CREATE TABLE user_day_items (
    user_id      uuid NOT NULL,
    day          date NOT NULL,
    item_id      text NOT NULL,
    destination  text NOT NULL,               -- '' where municipalities differ
    graded       integer NOT NULL,
    right_ones   integer NOT NULL,
    missed       jsonb NOT NULL,              -- steps not done: {"<phase>": count}
    PRIMARY KEY (user_id, day, item_id, destination),
    FOREIGN KEY (user_id, day) REFERENCES user_days ON DELETE CASCADE
);
CREATE INDEX user_day_items_day ON user_day_items (day);

-- The same for everybody together: no user, and nothing that leads to one: what fewer than five citizens threw away is
-- not kept at all. Kept when users leave: a day whose sums would fall stays as it was, because that is the only way in
-- which they can.
CREATE TABLE city_days (
    day           date PRIMARY KEY,
    users         integer NOT NULL,
    analyses      integer NOT NULL,
    high          integer NOT NULL,
    middle        integer NOT NULL,
    low           integer NOT NULL,
    corrected     integer NOT NULL,
    destinations  jsonb NOT NULL,             -- {"<code>": {"graded", "right"}}; these three {} below five graded citizens
    items         jsonb NOT NULL,             -- {"<item>": {"graded", "right"}}
    missed        jsonb NOT NULL,             -- {"<phase>": count}
    counted_at    timestamptz NOT NULL DEFAULT now()
);

-- A weak item of a citizen. `learned` after two high grades later; wrong again, it is a new lesson.
CREATE TABLE lessons (
    id           uuid PRIMARY KEY,            -- derives from the user, the item and the proof that opened it
    user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    item_id      text NOT NULL,
    proof_id     uuid NOT NULL REFERENCES proofs ON DELETE CASCADE,    -- the grade that opened it
    wrong        integer NOT NULL,            -- grades below high since then, that one included
    right_since  integer NOT NULL,            -- high grades in a row since the last of them
    missed       jsonb NOT NULL,              -- steps not done since then: {"<phase>": count}
    opened_at    timestamptz NOT NULL,
    learned_at   timestamptz,
    withdrawn    boolean NOT NULL DEFAULT false,   -- no longer follows from the grades: not shown, kept for its quiz answers
    taken        integer NOT NULL DEFAULT 0,  -- how often its quiz was taken
    UNIQUE (user_id, item_id, proof_id)
);
CREATE INDEX lessons_proof ON lessons (proof_id);

-- One row for each time a quiz was taken: the last twenty, and the best.
CREATE TABLE quiz_answers (
    id          uuid PRIMARY KEY,
    lesson_id   uuid NOT NULL REFERENCES lessons ON DELETE CASCADE,
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    answers     jsonb NOT NULL,               -- [{"question", "option", "right"}]
    right_ones  integer NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX quiz_answers_lesson ON quiz_answers (lesson_id);

CREATE TABLE weekly_reports (
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    week        date NOT NULL,                -- its Monday
    content     jsonb NOT NULL,               -- {"analyses", "high", "middle", "low", "accuracy", "change", "weak_items", "sentence"}
    made_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, week)
);
