"""What each function may do in the database: the `reads` and `writes` of its README, table by table.

Letters: r SELECT, a INSERT (append), w UPDATE, d DELETE, l lock a row (`FOR UPDATE` and its like ask for UPDATE on one
column; `created_at` is that column). What hangs on a deleted user or analysis goes by cascade, which needs no rights.
"""

from __future__ import annotations

#: A table's letters for everybody who finds things by the rules.
_SEARCH = {"items": "r", "item_names": "r", "rules": "r", "rule_index": "r"}
#: What every event function does beside its work: claim, reply, move its analysis.
_STEP = {"analyses": "rw", "analysis_events": "ra", "claims": "raw"}
#: A paid call is kept, or, where its citizen has left, only what it cost.
_CALLS = {"model_calls": "ra", "departed_spending": "raw"}
#: Everything a citizen has goes, what their photos are called stays for `recover`.
_LEAVING = {
    "analyses": "rl",
    "analysis_events": "rl",
    "proofs": "r",
    "photos": "r",
    "model_calls": "r",
    "abandoned_objects": "ra",
    "departed_spending": "raw",
    "dead_letters": "rd",
}
#: What an app is shown of an analysis.
_SHOWN = {"guides": "r", "identifications": "r", "proofs": "r", "retrievals": "r", "questions": "r", "disputes": "r"}

GRANTS: dict[str, dict[str, str]] = {
    "auth": _LEAVING | {"users": "rawd", "accounts": "raw"},
    "users": _SEARCH
    | _SHOWN
    | _LEAVING
    | {
        "users": "rwd",
        "accounts": "r",
        "user_days": "r",
        "user_day_items": "r",
        "weekly_reports": "r",
        "lessons": "rw",
        "quiz_answers": "rad",
    },
    "presign": {"analyses": "raw", "analysis_events": "ra", "photos": "r", "proofs": "raw"},
    "waste": _SEARCH
    | _SHOWN
    | {
        "users": "r",
        "analyses": "rw",
        "analysis_events": "ra",
        "identifications": "raw",
        "proofs": "rw",
        "disputes": "ra",
        "questions": "ra",
        "photos": "r",
        "model_calls": "r",
        "departed_spending": "r",
    },
    "locations": {"centres": "r"},
    "live": {"analyses": "r", "analysis_events": "r", "proofs": "r", "questions": "r"},
    "ingest": _STEP | {"photos": "ra", "proofs": "rw"},
    "identify": _STEP | _CALLS | _SEARCH | {"users": "r", "photos": "r", "identifications": "ra"},
    "retrieve": _STEP | _SEARCH | {"users": "r", "identifications": "r", "retrievals": "ra"},
    "generate": _STEP
    | _CALLS
    | {
        "users": "r",
        "items": "r",
        "identifications": "r",
        "retrievals": "r",
        "guides": "ra",
        "questions": "rw",
    },
    "grade": _STEP
    | _CALLS
    | {"users": "r", "items": "r", "photos": "r", "proofs": "rw", "guides": "r", "retrievals": "r"},
    "aggregate": _STEP
    | {
        "users": "rl",
        "guides": "r",
        "proofs": "r",
        "quiz_answers": "r",
        "lessons": "rawd",
        "user_days": "rawd",
        "user_day_items": "rawd",
        "weekly_reports": "raw",
        "city_days": "raw",
    },
    "recover": _STEP
    | {
        "analysis_events": "ral",
        "users": "rld",
        "photos": "rw",
        "proofs": "rw",
        "questions": "rw",
        "dead_letters": "raw",
        "abandoned_objects": "rwd",
        "model_calls": "r",
        "departed_spending": "r",
    },
}
