"""The gateway's Envoy: its configuration is made from the route table, the functions and the catalogue of messages.

`python -m knative.edge.envoy` writes envoy.yaml and, into gateway.yaml, the digest by which pods are rolled when it
changes; with `--check` it only says whether they are what they should be. The stand-in on one machine
(knative/local/gateway.py) keeps the same rules.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from functions.shared import messages
from functions.shared.http import MAX_HEADERS, SECURITY_HEADERS

HERE = Path(__file__).parent
KNATIVE = HERE.parent
NAMESPACE = "growbin"
SOCKETS = "live"
#: A function's server (gunicorn) takes 4094 bytes for the whole request line.
LONGEST_PATH = 4000
#: Asked by the cluster on the functions' own port, of no interest to anybody outside.
INSIDE = ("/metrics", "/readyz")
#: Cluster → host. Argo CD and Grafana stand behind their own log-in and know below which path they are.
BESIDE = {"argocd": "argocd-server.argocd", "grafana": "grafana.monitoring"}
#: Status → message of the answers that are the gateway's own.
OWN = {400: "bad_request", 404: "not_found", 413: "body_too_large", 414: "bad_request", 431: "headers_too_large"}
OWN |= dict.fromkeys((408, 500, 502, 503, 504), "unavailable")

TYPE = "type.googleapis.com/envoy.extensions."

# Nothing a caller sends may pass for an event, for the platform's word, or for another caller's address. The load
# balancer appends to X-Forwarded-For whom it has the request from: the last one is the client, others are its words.
LUA = """\
local function foreign(name)
  return name:find("^ce%-") or name:find("^k%-") or name:find("^knative%-") or name == "forwarded"
    or name:find("^x%-envoy%-")
    or (name:find("^x%-forwarded%-") and name ~= "x-forwarded-for" and name ~= "x-forwarded-proto")
end

function envoy_on_request(handle)
  local headers = handle:headers()
  if #(headers:get(":path") or "") > LONGEST_PATH then
    handle:respond({[":status"] = "414"}, "")
    return
  end
  local gone = {}
  for name, _ in pairs(headers) do
    if foreign(name) then gone[#gone + 1] = name end
  end
  for _, name in ipairs(gone) do headers:remove(name) end
  local client = (headers:get("x-forwarded-for") or ""):match("([^,%s]+)%s*$")
  headers:replace("x-forwarded-for", client or handle:streamInfo():downstreamDirectRemoteAddress():match("^(.-):%d+$"))
  headers:replace("x-forwarded-proto", headers:get("x-forwarded-proto") == "https" and "https" or "http")
  headers:replace("x-forwarded-host", headers:get(":authority") or "")
end
""".replace("LONGEST_PATH", str(LONGEST_PATH))


def config() -> dict[str, Any]:
    """The whole configuration: one listener for everybody, one for Prometheus, and Envoy's own door on loopback."""
    return {
        "admin": {"address": _address("127.0.0.1", 9902)},
        "static_resources": {
            "listeners": [
                _listener("public", 8080, _manager(list(_routes()))),
                _listener("numbers", 9901, _numbers()),
            ],
            "clusters": [
                _cluster("functions", "kourier-internal.kourier-system.svc.cluster.local", 80),
                *(_cluster(name, f"{host}.svc.cluster.local", 80) for name, host in BESIDE.items()),
                _cluster("admin", "127.0.0.1", 9902),
            ],
        },
    }


def _routes() -> Iterator[dict[str, Any]]:
    yield {"match": {"path": "/healthz"}, "direct_response": {"status": 200, "body": {"inline_string": "ok\n"}}}
    for path in INSIDE:
        yield {"match": {"path": path}, "direct_response": {"status": 404}}
    for name in BESIDE:
        there = {"cluster": name, "timeout": "0s", "upgrade_configs": [{"upgrade_type": "websocket"}]}
        yield {"match": {"path_separated_prefix": f"/{name}"}, "route": there}
    table = yaml.safe_load((KNATIVE / "base/routes.yaml").read_text(encoding="utf-8"))["data"]["routes.yaml"]
    for row in yaml.safe_load(table):
        yield {"match": _match(row["path"]), "route": _route(row["function"])}


def _match(path: str) -> dict[str, Any]:
    """A path stands for itself and all below it, `{id}` for one segment."""
    if path == "/":
        return {"prefix": "/"}
    if "{" not in path:
        return {"path_separated_prefix": path}
    pattern = "/".join("[^/]+" if part.startswith("{") else re.escape(part) for part in path.split("/"))
    return {"safe_regex": {"regex": f"{pattern}(/.*)?"}}


def _route(function: str) -> dict[str, Any]:
    """Kourier knows a function by its name in the cluster. A try that reached nobody is made again, and no other."""
    service = yaml.safe_load((KNATIVE / f"functions/{function}.yaml").read_text(encoding="utf-8"))
    seconds = service["spec"]["template"]["spec"]["timeoutSeconds"]
    route: dict[str, Any] = {
        "cluster": "functions",
        "host_rewrite_literal": f"{function}.{NAMESPACE}.svc.cluster.local",
        "timeout": f"{seconds + 5}s",
        "retry_policy": {"retry_on": "connect-failure", "num_retries": 2},
    }
    if function == SOCKETS:
        open_for = f"{seconds}s"
        route |= {"timeout": open_for, "idle_timeout": open_for, "upgrade_configs": [{"upgrade_type": "websocket"}]}
    return route


def _manager(routes: list[dict[str, Any]]) -> dict[str, Any]:
    hosts = [{"name": "all", "domains": ["*"], "routes": routes}]
    return {
        "@type": TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "public",
        "use_remote_address": False,
        "skip_xff_append": True,
        "generate_request_id": False,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "max_request_headers_kb": MAX_HEADERS // 1024,
        "common_http_protocol_options": {
            "idle_timeout": "75s",  # longer than the load balancer's 60 s: it closes first
            "headers_with_underscores_action": "DROP_HEADER",  # to WSGI they are the same as those with hyphens
        },
        "request_headers_timeout": "10s",
        "request_timeout": "30s",
        "stream_idle_timeout": "300s",
        "upgrade_configs": [{"upgrade_type": "websocket", "enabled": False}],
        "route_config": {"virtual_hosts": hosts, "response_headers_to_remove": ["x-envoy-upstream-service-time"]},
        "http_filters": [
            {
                "name": "outside",
                "typed_config": {
                    "@type": TYPE + "filters.http.lua.v3.Lua",
                    "default_source_code": {"inline_string": LUA},
                },
            },
            {
                "name": "router",
                "typed_config": {"@type": TYPE + "filters.http.router.v3.Router", "suppress_envoy_headers": True},
            },
        ],
        "local_reply_config": {"mappers": list(_answers())},
        "access_log": [{"name": "log", "typed_config": _log()}],
        "server_name": "growbin",
    }


def _log() -> dict[str, Any]:
    """One JSON line a request: the path without its query, no address, no header of the citizen's."""
    fields = {
        "at": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ_WITHOUT_QUERY(:PATH):200%",
        "status": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "ms": "%DURATION%",
        "sent": "%BYTES_SENT%",
        "correlation_id": "%RESP(X-CORRELATION-ID)%",
    }
    without_query = {
        "name": "without_query",
        "typed_config": {"@type": TYPE + "formatter.req_without_query.v3.ReqWithoutQuery"},
    }
    return {
        "@type": TYPE + "access_loggers.stream.v3.StdoutAccessLog",
        "log_format": {"json_format": fields, "formatters": [without_query]},
    }


def _answers() -> Iterator[dict[str, Any]]:
    """What the gateway itself says is problem+json too, in English for who asks for it first, else in Korean."""
    english = {"header_filter": {"header": {"name": "accept-language", "string_match": {"prefix": "en"}}}}
    for status, code in OWN.items():
        wanted = {"comparison": {"op": "EQ", "value": {"default_value": status, "runtime_key": f"growbin.{status}"}}}
        exactly = {"status_code_filter": wanted}
        headers = SECURITY_HEADERS | ({"Retry-After": "1"} if status >= 500 else {})
        for locale in ("en", "ko"):
            yield {
                "filter": {"and_filter": {"filters": [exactly, english]}} if locale == "en" else exactly,
                "headers_to_add": [
                    {"header": {"key": k, "value": v}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                    for k, v in headers.items()
                ],
                "body_format_override": {
                    "content_type": "application/problem+json",
                    "json_format": {
                        "type": f"urn:growbin:problem:{code}",
                        "title": messages.text(f"problem.{code}", locale),
                        "status": status,
                        "code": code,
                        "detail": messages.text(f"problem.{code}.detail", locale),
                    },
                },
            }


def _numbers() -> dict[str, Any]:
    """Prometheus may read the numbers; Envoy's other levers stay on loopback."""
    match = {"path": "/stats/prometheus", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}
    hosts = [{"name": "all", "domains": ["*"], "routes": [{"match": match, "route": {"cluster": "admin"}}]}]
    router = {"name": "router", "typed_config": {"@type": TYPE + "filters.http.router.v3.Router"}}
    return {
        "@type": TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "numbers",
        "route_config": {"virtual_hosts": hosts},
        "http_filters": [router],
    }


def _listener(name: str, port: int, manager: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "address": _address("0.0.0.0", port),  # noqa: S104 - in a pod
        "per_connection_buffer_limit_bytes": 1 << 20,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _cluster(name: str, host: str, port: int) -> dict[str, Any]:
    there = {"endpoint": {"address": _address(host, port)}}
    many = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    return {
        "name": name,
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_ONLY",
        "dns_refresh_rate": "10s",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [many]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [there]}]},
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


class _Plain(yaml.SafeDumper):
    """Longer texts as blocks, nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Plain.add_representer(
    str, lambda d, s: d.represent_scalar("tag:yaml.org,2002:str", s, style="|" if "\n" in s[:-1] else None)
)


def files() -> Mapping[Path, str]:
    """What should stand where."""
    text = (
        "# Made by `python -m knative.edge.envoy` from knative/base/routes.yaml and its neighbours. Not to be edited.\n"
    )
    text += yaml.dump(config(), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)
    gateway = HERE / "gateway.yaml"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    manifest = re.sub(r"(growbin\.app/config: ).*", rf"\g<1>{digest!r}", gateway.read_text(encoding="utf-8"))
    return {HERE / "envoy.yaml": text, gateway: manifest.replace(f"'{digest}'", f'"{digest}"')}


def problems() -> Iterator[str]:
    """What is not as it should be; nothing after a run of this program."""
    for path, text in files().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            yield f"knative/edge/{path.name} is old: run python -m knative.edge.envoy"


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        found = list(problems())
        print("\n".join(found), end="\n" if found else "")
        return 1 if found else 0
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
