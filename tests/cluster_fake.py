"""What the playbooks talk to where there is no cluster: `kubeadm` and `kubectl` as far as the roles use them.

Its state is one JSON file, named by FAKE_CLUSTER: nodes, tokens, what was applied. It refuses what the real ones refuse
and a wrong role would do: a second init, a join with an unknown token or certificate, a patch of nothing, a wait for
nothing, a minor version too many, a node whose brokers wait for each other. And it has the controllers that write into
what was applied: rules gathered from other roles, a Deployment that is scaled from 0.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
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
        "status": {"nodeInfo": {"kubeletVersion": state["version"]}},
    }


def kubeadm(state: State, arguments: list[str]) -> int:
    """init, token create, join, upgrade."""
    if arguments[0] == "upgrade":
        return upgrade(state, arguments[1:])
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
        state["version"] = documents(config)[1]["kubernetesVersion"]
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


def upgrade(state: State, arguments: list[str]) -> int:
    """apply of the next minor version at most; node."""
    if arguments[0] == "apply":
        now, wanted = (int(version.split(".")[1]) for version in (state["version"], arguments[-1]))
        if wanted > now + 1:
            raise Refused(f"cannot skip from {state['version']} to {arguments[-1]}")
        state["version"] = arguments[-1]
    return 0


def asked(state: State, namespace: str, what: str, rest: list[str]) -> str:
    """What `kubectl get` answers."""
    if what.startswith("--raw="):
        return json.dumps({"gitVersion": state["version"]}) if what.endswith("/version") else "ok"
    if what == "nodes":
        return json.dumps({"items": list(state["nodes"].values())})
    if what == "node":
        return str(state["nodes"][rest[0]]["status"]["nodeInfo"]["kubeletVersion"])
    if what == "pods":
        return "\n".join(state["brokers"].get(option(rest, "--field-selector").partition("=")[2], []))
    found = state["live"].get(f"{namespace}/{what}", {})
    return str(found.get("metadata", {}).get("labels", {}).get("app.kubernetes.io/version", ""))


def drain(state: State, node: str) -> None:
    """Every pod goes; of several brokers none before the others, unless they are told to."""
    brokers = state["brokers"].get(node, [])
    if len(brokers) > 1 and set(brokers) - set(state["told"]):
        raise Refused("global timeout reached: 15m0s")
    state["nodes"][node]["spec"]["unschedulable"] = True


def waited(state: State, namespace: str, rest: list[str]) -> None:
    """Deployments of a namespace, or a node, whose kubelet is new as soon as nothing runs there."""
    wanted, what = rest[0].removeprefix("--for="), rest[1]
    if what.startswith("node/"):
        node = state["nodes"][what.removeprefix("node/")]
        if wanted.startswith("jsonpath={.status.nodeInfo.kubeletVersion}=") and node["spec"].get("unschedulable"):
            node["status"]["nodeInfo"]["kubeletVersion"] = wanted.rpartition("=")[2]
    elif not any(key.startswith(f"{namespace}/deployment/") for key in state["live"]):
        raise Refused("no matching resources found")


def kubectl(state: State, arguments: list[str]) -> int:
    """get, label, taint, diff, apply, wait, exec, drain, uncordon."""
    if not Path(option(arguments, "--kubeconfig")).exists():
        raise Refused("no such kubeconfig")
    at = arguments.index("--kubeconfig")
    arguments = arguments[:at] + arguments[at + 2 :]
    namespace = option(arguments, "--namespace") if arguments[0] == "--namespace" else ""
    verb, *rest = arguments[2:] if namespace else arguments
    if verb == "get":
        print(asked(state, namespace, rest[0], rest[1:]))
    elif verb == "label" and namespace == "rabbitmq":
        state["told"] += rest[1:-1]
    elif verb == "exec":
        print("true" if rest[0] in state["told"] else "")
    elif verb == "drain":
        drain(state, rest[0])
    elif verb == "uncordon":
        print("uncordoned" if state["nodes"][rest[0]]["spec"].pop("unschedulable", False) else "already uncordoned")
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
        waited(state, namespace, rest)
    else:
        raise Refused(f"{verb}: this fake does not know it")
    return 0


def aimed(patch: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether kustomize would apply the patch to the object."""
    data = yaml.safe_load(patch["patch"])
    target = patch.get("target") or {"kind": data["kind"], "name": data["metadata"]["name"]}
    return bool(
        re.fullmatch(target["kind"], found["kind"])
        and re.fullmatch(target.get("name", ".*"), found["metadata"]["name"])
    )


def built(folder: Path) -> dict[str, dict[str, Any]]:
    """Object by its key, of a kustomization whose every file and every patched object must be there."""
    kustomization = documents(folder / "kustomization.yaml")[0]
    objects: dict[str, dict[str, Any]] = {}
    for name in kustomization["resources"]:
        if (folder / name).is_dir():
            objects |= built((folder / name).resolve())
            continue
        for found in documents(folder / name):
            namespace = kustomization.get("namespace") or found["metadata"].get("namespace", "")
            objects[f"{namespace}/{found['kind'].lower()}/{found['metadata']['name']}"] = found
    for patch in kustomization["patches"]:
        keys = [key for key, found in objects.items() if aimed(patch, found)]
        if not keys:
            raise Refused(f"no matches for the patch {patch}")
        data = yaml.safe_load(patch["patch"])
        for key in keys:
            if isinstance(data, dict) and data.get("$patch") == "delete":
                del objects[key]
            elif isinstance(data, dict) and data.get("rules", "") is None:
                objects[key].pop("rules", None)
            else:
                objects[key].setdefault("patches", []).append(patch)
    return objects


def bring(state: State, verb: str, folder: Path) -> int:
    """diff (1: differs) or apply."""
    objects = built(folder)
    if verb == "diff":
        return 0 if all(state["live"].get(key) == found for key, found in objects.items()) else 1
    state["applied"].append(folder.name)
    state["live"] |= objects
    for found in objects.values():
        if "aggregationRule" in found and "rules" in found:
            found["rules"] = ["of other roles"]
        if found.get("spec", {}).get("replicas") == 0:
            found["spec"]["replicas"] = 1
    return 0


def main() -> int:
    """Called as `cluster_fake.py kubeadm …` or `kubectl …`."""
    path = Path(os.environ["FAKE_CLUSTER"])
    alone = path.with_suffix(".lock").open("w")  # nodes join at the same time
    fcntl.flock(alone, fcntl.LOCK_EX)
    state: State = {
        "nodes": {}, "tokens": [], "applied": [], "live": {}, "endpoint": "", "version": "", "asked": [],
        "brokers": {}, "told": [],
    }  # fmt: skip
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
