"""Every check over everything that is applied, as one list of sentences that begin with the file."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from knative.check import (
    addresses,
    admission,
    ansible,
    capacity,
    cost,
    dockerfile,
    enumerations,
    flows,
    functions,
    gitops,
    graph,
    images,
    monitoring,
    network,
    places,
    schemas,
    security,
    serving,
    storage,
    versions,
    workflows,
    workloads,
)
from knative.check.documents import ENVIRONMENTS, ROOT, Document, kind, name, namespace, title
from knative.check.render import RenderError, overlay, render
from knative.edge import envoy
from terraform import checks as terraform
from terraform import reading

#: What is there beside an overlay: Argo CD's own objects, what watches over the rest, and the flags that Ansible sets.
BESIDE = {
    "dev": ("knative/argocd/dev", "knative/monitoring", "knative/serving"),
    "prod": ("knative/argocd", "knative/monitoring", "knative/serving"),
}
#: one-node is any cluster, with a storage class of its own and no backups; its Secrets are made by hand.
OF_TIERS = (
    capacity.everything_fits,
    capacity.every_pod_has_its_tier,
    network.every_rule_is_needed,
    storage.every_volume_has_a_class,
)

#: Seconds that each check took so far: module and name → seconds.
spent: defaultdict[tuple[str, str], float] = defaultdict(float)


def applied(environment: str, root: Path = ROOT) -> list[Document]:
    """The overlay of an environment and what stands beside it. RenderError where it cannot be rendered."""
    found = overlay(environment, root)
    known = {(kind(each), namespace(each), name(each)) for each in found}
    for folder in BESIDE.get(environment, ()):
        beside = render(root / folder) if (root / folder).is_dir() else []
        found += [each for each in beside if (kind(each), namespace(each), name(each)) not in known]
    return found


def of_documents(documents: list[Document], root: Path = ROOT, environment: str = "prod") -> Iterator[str]:
    """What is wrong with rendered objects, by every check that concerns the environment."""
    by_hand = render(root / "knative/secrets") if environment == "one-node" else []
    for check in (
        schemas.every_object_fits_its_schema,
        *(
            check
            for module in (
                admission,
                enumerations,
                flows,
                functions,
                gitops,
                monitoring,
                network,
                security,
                serving,
                storage,
                workloads,
            )
            for check in module.CHECKS
        ),
        functools.partial(storage.every_reference_leads_somewhere, by_hand=by_hand),
        addresses.every_secret_can_be_made,
        functools.partial(addresses.every_address_is_answered, by_hand=by_hand),
        functools.partial(addresses.every_parameter_may_be_read, root=root),
        functools.partial(addresses.what_aws_made_is_named, root=root, environment=environment),
        functools.partial(versions.every_image_is_in_the_file, root=root),
        functools.partial(gitops.argo_installs_what_is_pinned, root=root),
        functools.partial(workloads.prod_survives_one, environment=environment),
        functools.partial(gitops.argo_reads_this_environment, environment=environment),
        functools.partial(capacity.everything_fits, root=root),
        functools.partial(capacity.every_pod_has_its_tier, root=root),
        functools.partial(security.every_image_is_pinned, digests=environment == "prod"),
    ):
        if environment != "one-node" or getattr(check, "func", check) not in OF_TIERS:
            yield from _careful(check, documents)


def of_files(root: Path = ROOT) -> Iterator[str]:
    """What is wrong with files that are not applied: versions, prices, the plan of nodes, Terraform's policies."""
    for sentence in _careful(graph.problems, root, ("graph", "the flows are a closed graph")):
        yield f"pipelines: {sentence}" if sentence.startswith("nobody ") else sentence
    if root == ROOT:  # made of the functions themselves, so only where they are
        yield from _careful(lambda _: envoy.problems(), root, ("envoy", "envoy.yaml is what its program makes"))
    for check in (
        *versions.FILES,
        *addresses.FILES,
        *monitoring.FILES,
        *gitops.FILES,
        *workflows.FILES,
        *ansible.FILES,
        *dockerfile.FILES,
        *storage.FILES,
        serving.ansible_sets_the_flags,
        images.the_dockerfile_is_clean,
        images.every_image_can_be_laid_out,
        security.every_image_in_a_file_is_pinned,
        security.the_world_reaches_the_load_balancer_alone,
        security.nobody_in_aws_may_do_everything,
        capacity.the_plan_is_that_of_terraform_and_ansible,
        capacity.charts_are_told_what_is_counted,
        capacity.releases_are_told_what_is_counted,
        cost.every_price_says_where_it_is_from,
    ):
        yield from _careful(check, root)
    if (root / "terraform/main.tf").is_file():
        yield from _careful(
            terraform_says, root, ("terraform", "; ".join(check.__name__ for check in terraform.CHECKS))
        )


def terraform_says(root: Path) -> Iterator[str]:
    """terraform/checks.py, each sentence with its file."""
    files = reading.files(root / "terraform")
    broken = list(_no_hcl(files))
    yield from broken
    for found in terraform.problems(files).values() if not broken else []:
        yield from (places.in_terraform(sentence, files) for sentence in found)


def _no_hcl(files: dict[str, str]) -> Iterator[str]:
    for path, text in files.items():
        if path.endswith((".tf", ".tfvars", ".tfbackend")):
            try:
                reading.tree({path: text})
            except Exception as error:
                yield f"terraform/{path}: no HCL: {' '.join(str(error).split())[:200]}"


def _careful(check: Callable[[Any], Iterable[str]], about: Any, called: tuple[str, str] | None = None) -> list[str]:
    """What a check finds, timed; one that stumbles says so instead of ending all the others."""
    function: Any = getattr(check, "func", check)
    module, label = called or (function.__module__.rpartition(".")[2], function.__name__.replace("_", " "))
    began, found = time.perf_counter(), list[str]()
    try:
        found += check(about)
    except Exception as error:
        text = " ".join(str(error).replace(f"{about if isinstance(about, Path) else ROOT}/", "").split())
        found.append(f"{module}: {label}: cannot read this: {type(error).__name__}: {text[:400]}")
    spent[module, label] += time.perf_counter() - began
    return found


def problems(root: Path = ROOT) -> list[str]:
    """Everything, each sentence once, with its file, and the environments that have it where not all do."""
    found: dict[str, list[str]] = {}
    holding: dict[str, set[str]] = {}
    for environment in ENVIRONMENTS:
        began = time.perf_counter()
        try:
            documents = applied(environment, root)
        except Exception as e:
            sentence = f"cannot be rendered: {'' if isinstance(e, RenderError) else f'{type(e).__name__}: '}{e}"
            found.setdefault(" ".join(sentence.replace(f"{root}/", "").split()), []).append(environment)
            continue
        spent["render", "every overlay can be rendered"] += time.perf_counter() - began
        for document in documents:
            holding.setdefault(title(document), set()).add(environment)
        for problem in dict.fromkeys(of_documents(documents, root, environment)):
            found.setdefault(problem, []).append(environment)
    if any(what.startswith("cannot be rendered") for what in found):
        for check in (schemas.every_object_fits_its_schema, *enumerations.CHECKS):
            found |= {what: list(ENVIRONMENTS) for what in _careful(check, list(places.raw(root))) if what not in found}
    there = places.Places.of(root, holding)
    return [there.placed(what, where) for what, where in found.items()] + [there.placed(s) for s in of_files(root)]
