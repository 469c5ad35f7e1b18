"""What the playbooks talk to where there is no cluster: `kubeadm` and `kubectl` as far as the roles use them.

Its state is one JSON file, named by FAKE_CLUSTER: nodes, tokens, what was applied. It refuses what the real ones refuse
and a wrong role would do: a second init, a join with an unknown token or certificate, a patch of nothing, a wait for
nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

CA_HASH = "sha256:" + "0" * 63 + "1"
State = dict[str, Any]


class Refused(Exception):
    """As the real program would say it, with exit status 1."""


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def register(state: State, registration: dict[str, Any]) -> None:
    """A kubelet registers: its labels, taints and provider id are those of its first start."""
    extra = registration["kubeletExtraArgs"]
    labels = dict(pair.split("=") for pair in extra["node-labels"].split(",") if pair)
    if any("kubernetes.io" in name for name in labels):
        raise Refused(f"a kubelet may not set {labels}")
    state["nodes"][registration["name"]] = {
        "metadata": {
            "name": registration["name"],
            "labels": {"kubernetes.io/hostname": registration["name"], **labels},
        },
        "spec": {"providerID": extra["provider-id"], "taints": registration["taints"]},
    }


def kubeadm(state: State, arguments: list[str]) -> int:
    """init, token create, join."""
    if "token" in arguments:
        token = f"abcdef.{len(state['tokens']):016d}"
        state["tokens"].append({"token": token, "ttl": option(arguments, "--ttl")})
        print(f"kubeadm join {state['endpoint']} --token {token} --discovery-token-ca-cert-hash {CA_HASH} ")
        return 0
    config = Path(option(arguments, "--config"))
    first = documents(config)[0]
    kubernetes = config.parents[1] / "kubernetes"
    if arguments[0] == "init":
        if state["nodes"]:
            raise Refused("a control plane already runs here")
        state["endpoint"] = documents(config)[1]["controlPlaneEndpoint"]
    else:
        discovery = first["discovery"]["bootstrapToken"]
        if discovery["token"] not in [known["token"] for known in state["tokens"]]:
            raise Refused("unknown token")
        if discovery["caCertHashes"] != [CA_HASH] or discovery["apiServerEndpoint"] != state["endpoint"]:
            raise Refused("that is not this cluster")
    register(state, first["nodeRegistration"])
    kubernetes.mkdir(parents=True, exist_ok=True)
    for name in ("kubelet.conf", "admin.conf") if arguments[0] == "init" else ("kubelet.conf",):
        (kubernetes / name).touch()
    return 0


def kubectl(state: State, arguments: list[str]) -> int:
    """get, label, taint, diff, apply, wait."""
    if not Path(option(arguments, "--kubeconfig")).exists():
        raise Refused("no such kubeconfig")
    at = arguments.index("--kubeconfig")
    arguments = arguments[:at] + arguments[at + 2 :]
    namespace = option(arguments, "--namespace") if arguments[0] == "--namespace" else ""
    verb, *rest = arguments[2:] if namespace else arguments
    if verb == "get":
        print("ok" if "--raw=/readyz" in rest else json.dumps({"items": list(state["nodes"].values())}))
    elif verb == "label":
        state["nodes"][rest[2]]["metadata"]["labels"].update(pair.split("=") for pair in rest[3:])
    elif verb == "taint":
        key, _, effect = rest[3].rpartition(":")
        name, _, value = key.partition("=")
        taints = [taint for taint in state["nodes"][rest[2]]["spec"]["taints"] if taint["key"] != name]
        state["nodes"][rest[2]]["spec"]["taints"] = [*taints, {"key": name, "value": value, "effect": effect}]
    elif verb in ("diff", "apply"):
        return bring(state, verb, Path(option(rest, "--kustomize")))
    elif verb == "wait":
        if not any(kind == "deployment" and found == namespace for kind, found, _ in state["objects"]):
            raise Refused("no matching resources found")
    else:
        raise Refused(f"{verb}: this fake does not know it")
    return 0


def bring(state: State, verb: str, folder: Path) -> int:
    """diff (1: differs) or apply a kustomization, whose every file and every patched object must be there."""
    kustomization = documents(folder / "kustomization.yaml")[0]
    objects = [found for file in kustomization["resources"] for found in documents(folder / file)]
    names = {(found["kind"], found["metadata"]["name"]) for found in objects}
    for patch in kustomization["patches"]:
        data = yaml.safe_load(patch["patch"])
        if isinstance(data, list):  # JSON patches name their objects in `target`, where several kinds may stand
            aimed = {(kind, patch["target"]["name"]) for kind in patch["target"]["kind"].split("|")}
        else:
            aimed = {(data["kind"], data["metadata"]["name"])} if "target" not in patch else names
        if not aimed & names:
            raise Refused(f"no matches for the patch of {aimed}")
    build = json.dumps([kustomization["patches"], objects], sort_keys=True)
    digest = hashlib.sha256(build.encode()).hexdigest()
    if verb == "diff":
        return 0 if state["applied"].get(folder.name) == digest else 1
    state["applied"][folder.name] = digest
    for found in objects:
        namespace = kustomization.get("namespace") or found["metadata"].get("namespace", "")
        state["objects"].append([found["kind"].lower(), namespace, found["metadata"]["name"]])
    return 0


def main() -> int:
    """Called as `cluster_fake.py kubeadm …` or `kubectl …`."""
    path = Path(os.environ["FAKE_CLUSTER"])
    alone = path.with_suffix(".lock").open("w")  # nodes join at the same time
    fcntl.flock(alone, fcntl.LOCK_EX)
    state: State = {"nodes": {}, "tokens": [], "applied": {}, "objects": [], "endpoint": "", "asked": []}
    if path.exists():
        state = json.loads(path.read_text(encoding="utf-8"))
    program, *arguments = sys.argv[1:]
    state["asked"].append(" ".join([program, *arguments]))
    try:
        status = (kubectl if program == "kubectl" else kubeadm)(state, arguments)
    except Refused as why:
        print(f"{program}: {why}", file=sys.stderr)
        return 1
    path.write_text(json.dumps(state), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
