"""The API's document held against what is really answered: every status, header and body must be in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

#: What any address may answer beside what its operation says (knative/local/openapi.md).
EVERYWHERE = {404: "not_found", 405: "method_not_allowed", 431: "headers_too_large"}

_ROOT = "urn:growbin:api"


class Document:
    """The document, with questions a test asks of it."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.raw = document
        resource = Resource.from_contents(document, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_ROOT, resource)
        self._paths = {
            path: re.compile("^" + re.sub(r"\\\{[a-z_]+\\\}", "[^/]+", re.escape(path)) + "$")
            for path in document["paths"]
        }

    def operations(self) -> list[tuple[str, str, dict[str, Any]]]:
        """(method, path, operation), every one."""
        paths = self.raw["paths"]
        return [(method, path, paths[path][method]) for path in paths for method in paths[path]]

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """The operation that an address without its query belongs to."""
        found = next((known for known, pattern in self._paths.items() if pattern.match(path)), None)
        operation: dict[str, Any] | None = self.raw["paths"][found].get(method.lower()) if found else None
        return operation

    def faults(self, method: str, path: str, answer: Answered) -> list[str]:
        """What the document does not say of this answer, or says otherwise."""
        operation = self.operation(method, path)
        code = answer.body.get("code") if isinstance(answer.body, dict) else None
        if operation is None or code == EVERYWHERE.get(answer.status, ""):
            return [] if code == EVERYWHERE.get(answer.status) else [f"{answer.status} where nothing is described"]
        said = self.resolve(operation["responses"].get(str(answer.status)))
        if said is None:
            return [f"{answer.status} {code or ''} is not described"]
        faults = [f"header {name} is missing" for name in self._missing(said, answer)]
        kind = answer.headers.get("content-type", "").partition(";")[0]
        content = said.get("content", {})
        if not content:
            return faults + ([f"a body where none is described: {answer.body!r}"] if answer.body else [])
        if kind not in content:
            return [*faults, f"{kind} instead of {', '.join(content)}"]
        return faults + self.misfits(content[kind]["schema"], answer.body)

    def misfits(self, schema: Any, value: Any) -> list[str]:
        """Why a value is none of that schema."""
        validator = Draft202012Validator(_absolute(schema), registry=self._registry, format_checker=FormatChecker())  # type: ignore[call-arg, unused-ignore]
        return [f"{'/'.join(map(str, one.absolute_path))}: {one.message[:300]}" for one in validator.iter_errors(value)]

    def resolve(self, given: Any) -> Any:
        """What a $ref stands for; anything else is itself."""
        if not isinstance(given, dict) or "$ref" not in given:
            return given
        place: Any = self.raw
        for step in given["$ref"].removeprefix("#/").split("/"):
            place = place[step]
        return place

    def _missing(self, said: Mapping[str, Any], answer: Answered) -> list[str]:
        named = {name: self.resolve(header) for name, header in said.get("headers", {}).items()}
        return [name for name, header in named.items() if header.get("required") and name.lower() not in answer.headers]


class Answered:
    """An answer as it came: status, headers by their small names, and the body as JSON (or text, or None)."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.text = data.decode("utf-8", "replace")
        self.body: Any = self.text or None
        if "json" in self.headers.get("content-type", ""):
            self.body = json.loads(data)


def _absolute(schema: Any) -> Any:
    """The schema with its references into the document, which is not the schema's own root."""
    text = json.dumps(schema).replace('"$ref": "#/', f'"$ref": "{_ROOT}#/')
    return json.loads(text)
