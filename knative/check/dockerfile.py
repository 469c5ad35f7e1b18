"""What hadolint does not know of functions/Dockerfile: whose packages, which stages, who runs it, and what is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from knative.check.documents import ROOT
from knative.check.security import SECRET, SECRET_NAME

FILE = "functions/Dockerfile"
#: What the last stage may say: it is put together, nothing is run in it.
PUT_TOGETHER = {"FROM", "COPY", "WORKDIR", "ENV", "USER", "LABEL", "ARG", "STOPSIGNAL", "ENTRYPOINT", "CMD", "EXPOSE"}
#: How a function finds its packages and code, writes nothing below a read-only root, and says what it logs at once.
NEEDED = {
    "PATH": r"/venv/bin:.*", "PYTHONPATH": "/app", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
    "TMPDIR": "/dev/shm",  # noqa: S108
}  # fmt: skip
#: What is copied from the repository.
OURS = {
    "functions/${FUNCTION}/requirements.txt", "functions/__init__.py", "functions/shared", "functions/${FUNCTION}",
    "rag-index/corpus",
}  # fmt: skip
PIP = ("--require-hashes", "--no-deps", "--only-binary :all:", "--no-cache-dir")


def instructions(text: str) -> list[tuple[str, str]]:
    """(INSTRUCTION, the rest) with continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(pair[0].upper(), pair[1] if len(pair) > 1 else "") for pair in pairs]


def an_image_is_hashed_wheels_and_our_code(root: Path = ROOT) -> Iterator[str]:
    """Two stages; packages by hash and as wheels; nothing from an address; compiled; the last one only copies."""
    file = root / FILE
    if file.is_file():
        yield from (f"{FILE}: {problem}" for problem in _problems(instructions(file.read_text(encoding="utf-8"))))


def _problems(told: list[tuple[str, str]]) -> Iterator[str]:
    starts = [place for place, (word, _) in enumerate(told) if word == "FROM"]
    if len(starts) < 2:
        yield "one stage: what builds must not be in what runs"
        return
    build, last = told[: starts[-1]], told[starts[-1] :]
    for word, rest in told:
        if word == "FROM" and not re.search(r"@sha256:[0-9a-f]{64}( AS \w+)?$", rest):
            yield f"FROM {rest}: not by its digest"
        if word == "ADD":
            yield f"ADD {rest}: COPY what is in the repository; nothing is fetched but hashed wheels"
        sources = [part for part in rest.split()[:-1] if not part.startswith("--")] if "--from=" not in rest else []
        if word == "COPY" and (more := set(sources) - OURS):
            yield f"COPY {', '.join(sorted(more))}: one function and what all share, nothing else"
        if word == "RUN" and (found := re.search(r"\b(apt|apt-get|apk|curl|wget|git|gcc|make|sudo)\b", rest)):
            yield f"RUN {found[1]}: the network is for hashed wheels alone, and no compiler is needed"
        if word in ("ENV", "ARG") and _secret(rest):
            yield f"{word} {rest.split('=')[0]}: a secret in an image is everybody's"
        if word == "RUN" and "pip" in rest.split("requirements")[0]:
            yield from (f"pip without {flag}" for flag in PIP if flag not in rest)
            if found := re.search(r"--(extra-)?index-url|--trusted-host|--find-links", rest):
                yield f"pip with {found[0]}: packages come from where their hashes were made"
    compiled = [place for place, (word, rest) in enumerate(build) if word == "RUN" and "compileall" in rest]
    copied = [place for place, (word, rest) in enumerate(build) if word == "COPY" and " /app" in rest]
    if not compiled or compiled[-1] < max(copied, default=0):
        yield "no compileall after the code: without bytecode a cold start takes ten times as long"
    elif not all(
        part in build[compiled[-1]][1] for part in ("/venv/lib", "/app", "--invalidation-mode unchecked-hash")
    ):
        yield "compileall: /venv/lib and /app, by --invalidation-mode unchecked-hash (times of files change in a copy)"
    yield from _last(last)


def _last(told: list[tuple[str, str]]) -> Iterator[str]:
    for word, rest in told:
        if word not in PUT_TOGETHER:
            yield f"{word} {rest}: the last stage is put together, nothing is run in it"
        if word == "COPY" and "--chown" in rest:
            yield f"COPY {rest}: code that its own process may change"
        if word == "COPY" and not rest.startswith("--from="):
            yield f"COPY {rest}: the last stage takes from the stage before alone"
    users = [rest for word, rest in told if word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        yield f"USER {users[-1] if users else 'missing'}: a number that is not root's, as runAsNonRoot asks for"
    given = dict(re.findall(r"(\w+)=(\S+)", " ".join(rest for word, rest in told if word == "ENV")))
    for variable, wanted in NEEDED.items():
        if not re.fullmatch(wanted, given.get(variable, "")):
            yield f"ENV {variable} is {given.get(variable, 'missing')}, not {wanted}"


def _secret(rest: str) -> bool:
    return bool(SECRET.search(rest) or any(SECRET_NAME.search(word) for word in re.findall(r"(\w+)(?:=|$)", rest)))


def the_context_is_small(root: Path = ROOT) -> Iterator[str]:
    """What .dockerignore leaves out never reaches the engine: state, keys, environments."""
    file = root / ".dockerignore"
    if (root / "Makefile").is_file():
        told = file.read_text(encoding="utf-8").split() if file.is_file() else []
        if not {"*", "**", ".local", ".venv", ".git"} & set(told):
            yield ".dockerignore: .local, .venv and .git would be sent to the engine with every build"


FILES = [the_context_is_small, an_image_is_hashed_wheels_and_our_code]
