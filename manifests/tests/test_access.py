"""RBAC is minimal: every verb on every resource that the roles grant is used, and what is not granted is never asked.

One operator goes through all that it ever asks for: first start, watching, an invalid policy, enforcers' tokens, a restart
with an authority that is to be rotated. The server's record of it is held against the roles as they are written.
"""

import datetime
import signal
from collections.abc import AsyncIterator, Iterator
from itertools import product
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from manifests.tests.reading import FOLDER, NAMESPACE, Json
from manifests.tests.site import OPERATOR_USER, Site, policy
from policy_controller.controller.identity.authority import Authority
from policy_controller.controller.identity.rotation import ROTATED, Authorities, written
from policy_controller.testing.api_server.access.rbac import allows
from policy_controller.testing.api_server.access.record import Question

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

AUTHORITY = "policy-controller-ca"
UNREADABLE = policy("unreadable", [{"ports": [{"port": 99_999}]}])


def roles() -> Iterator[Json]:
    for document in yaml.safe_load_all((FOLDER / "operator-access.yaml").read_text()):
        if document["kind"] in {"ClusterRole", "Role"}:
            yield document


def grants() -> Iterator[tuple[str, Json]]:
    """Each verb on each resource as a rule of its own, with the kind of role that grants it."""
    for role in roles():
        for rule in role["rules"]:
            for group, resource, verb in product(rule["apiGroups"], rule["resources"], rule["verbs"]):
                single = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                named = {"resourceNames": rule["resourceNames"]} if "resourceNames" in rule else {}
                yield role["kind"], single | named


GRANTS = tuple(grants())


def name_of(grant: tuple[str, Json]) -> str:
    kind, rule = grant
    return "-".join([kind, rule["verbs"][0], rule["resources"][0], *rule.get("resourceNames", [])])


def allowed(grant: tuple[str, Json], question: Question) -> bool:
    kind, rule = grant
    inside = kind == "ClusterRole" or question.namespace == NAMESPACE
    return inside and not question.path and allows(rule, question.asked())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(
    kubectl: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Question, ...]]:
    """What the operator asked in its whole life."""
    async with Site(kubectl, tmp_path_factory.mktemp("access")) as site:
        site.server.create(UNREADABLE)
        await site.apply()
        await site.settled()
        await site.until(lambda: bool(site.server.list("Event")), "an Event on the policy")
        site.server.apply(old_secret())
        before = site.operator().program("operator")
        site.operator().send_signal("operator", signal.SIGKILL)
        await site.until(lambda: site.operator().program("operator") not in {before, None}, "a restart")
        await site.until(lambda: rotated(site), "another authority in Secret and ConfigMap")
        await site.settled()
        assert not site.server.record.lost
        questions = [row.question for row in site.server.record.rows]
        yield tuple(question for question in questions if question.user == OPERATOR_USER)


def old_secret() -> Json:
    """An authority so old that another must be made."""
    made = datetime.datetime.now(datetime.UTC) - ROTATED - datetime.timedelta(days=1)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": AUTHORITY, "namespace": NAMESPACE},
        "data": written(Authorities(Authority.new(made))),
    }


def rotated(site: Site) -> bool:
    """Whether the ConfigMap shows the newer authority of the Secret beside the older."""
    secret = site.server.get("Secret", AUTHORITY, NAMESPACE)["data"]
    published = site.server.get("ConfigMap", AUTHORITY, NAMESPACE)["data"]["ca.crt"]
    return "previous.crt" in secret and str(published).count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("grant", GRANTS, ids=name_of)
async def test_grant_is_all_that_allows_something_the_operator_asks(
    asked: tuple[Question, ...], grant: tuple[str, Json]
) -> None:
    others = [other for other in GRANTS if other is not grant]
    needing = [
        question
        for question in asked
        if allowed(grant, question) and not any(allowed(other, question) for other in others)
    ]
    assert needing


async def test_operator_is_refused_nothing_that_it_asks(asked: tuple[Question, ...]) -> None:
    assert {question.resource for question in asked if question.resource}
    assert [question for question in asked if not question.allowed] == []


async def test_operator_asks_for_no_secret_by_list(asked: tuple[Question, ...]) -> None:
    """Who may list or watch Secrets reads all of them, whatever names a rule says."""
    verbs = {question.verb for question in asked if question.resource in {"secrets", "configmaps"}}
    assert verbs == {"create", "get", "update"}
