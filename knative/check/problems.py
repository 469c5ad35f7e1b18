"""Every check over everything that is applied, as one list of sentences."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from knative.check import (
    capacity,
    cost,
    flows,
    gitops,
    graph,
    images,
    network,
    schemas,
    security,
    serving,
    storage,
    versions,
    workloads,
)
from knative.check.documents import ENVIRONMENTS, ROOT, Document, kind, name, namespace
from knative.check.render import RenderError, overlay, render
from knative.edge import envoy

#: What is there beside an overlay: Argo CD's own objects, what watches over the rest, and the flags that Ansible sets.
BESIDE = {
    "dev": ("knative/argocd/dev", "knative/monitoring", "knative/serving"),
    "prod": ("knative/argocd", "knative/monitoring", "knative/serving"),
}
#: one-node is any cluster, with a storage class of its own; its Secrets are made by hand (knative/secrets).
OF_TIERS = (capacity.everything_fits, storage.every_volume_has_a_class)


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
            for module in (flows, gitops, network, security, serving, storage, workloads)
            for check in module.CHECKS
        ),
        functools.partial(storage.every_reference_leads_somewhere, by_hand=by_hand),
        functools.partial(versions.every_image_is_in_the_file, root=root),
        functools.partial(gitops.argo_installs_what_is_pinned, root=root),
        functools.partial(capacity.everything_fits, root=root),
        functools.partial(security.every_image_is_pinned, digests=environment == "prod"),
    ):
        if environment != "one-node" or getattr(check, "func", check) not in OF_TIERS:
            yield from _careful(check, documents)


def _careful(check: Callable[[list[Document]], Iterator[str]], documents: list[Document]) -> Iterator[str]:
    """A check that stumbles over an object which no schema fits says so instead of ending all the others."""
    try:
        yield from check(documents)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        yield f"{getattr(check, 'func', check).__name__} cannot read the objects: {type(error).__name__}: {error}"


def of_files(root: Path = ROOT) -> Iterator[str]:
    """What is wrong with files that are not applied: versions, prices, the plan of nodes, Terraform's policies."""
    yield from graph.problems(root)
    if root == ROOT:  # made of the functions themselves, so only where they are
        yield from envoy.problems()
    for check in (
        *versions.FILES,
        storage.every_file_is_applied,
        serving.ansible_sets_the_flags,
        images.the_dockerfile_is_clean,
        security.every_image_in_a_file_is_pinned,
        security.the_world_reaches_the_load_balancer_alone,
        security.nobody_in_aws_may_do_everything,
        capacity.the_plan_is_that_of_terraform_and_ansible,
        capacity.charts_are_told_what_is_counted,
        capacity.releases_are_told_what_is_counted,
        cost.every_price_says_where_it_is_from,
    ):
        try:
            yield from check(root)
        except (OSError, yaml.YAMLError) as error:
            yield f"{check.__name__} cannot read the files: {' '.join(str(error).split())}"


def problems(root: Path = ROOT) -> list[str]:
    """Everything, each sentence once, with the environments that have it where not all do."""
    found: dict[str, list[str]] = {}
    for environment in ENVIRONMENTS:
        try:
            documents = applied(environment, root)
        except (RenderError, OSError, yaml.YAMLError) as error:
            found.setdefault(f"cannot be rendered: {error}", []).append(environment)
            continue
        for problem in dict.fromkeys(of_documents(documents, root, environment)):
            found.setdefault(problem, []).append(environment)
    sentences = [
        (f"{', '.join(where)}: " if len(where) < len(ENVIRONMENTS) else "") + what for what, where in found.items()
    ]
    return sentences + list(of_files(root))
