"""Each grant is taken away from a running installation: the operator is refused exactly that, and says so by name."""

import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from manifests.tests.reading import NAMESPACE, Json
from manifests.tests.site import Site
from manifests.tests.test_access import AUTHORITY, GRANTS, UNREADABLE, name_of, old_secret, roles
from policy_controller.testing.api_server import ApiError

pytestmark = [pytest.mark.packets, pytest.mark.whole, pytest.mark.asyncio(loop_scope="module")]

KINDS = {"secrets": "Secret", "configmaps": "ConfigMap"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(kubectl: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with Site(kubectl, tmp_path_factory.mktemp("removed")) as site:
        site.server.create(UNREADABLE)
        await site.apply()
        await site.settled()
        yield site


def allow_all_but(site: Site, removed: Json) -> None:
    for role in roles():
        namespace = {"namespace": NAMESPACE} if role["kind"] == "Role" else {}
        rules = [rule for kind, rule in GRANTS if kind == role["kind"] and rule is not removed]
        site.server.apply({**role, "metadata": {**role["metadata"], **namespace}, "rules": rules})


def make_it_needed(site: Site, rule: Json) -> None:
    """Leave the operator's own objects so that its next start needs this grant."""
    (resource,), (verb,) = rule["resources"], rule["verbs"]
    if resource == "events":
        for event in site.server.list("Event"):
            site.server.delete("Event", event["metadata"]["name"], event["metadata"]["namespace"])
    if (resource, verb) == ("secrets", "update"):
        site.server.apply(old_secret())
    elif (resource, verb) == ("configmaps", "update"):
        stale = {"metadata": {"name": AUTHORITY, "namespace": NAMESPACE}, "data": {"ca.crt": ""}}
        site.server.apply({"apiVersion": "v1", "kind": "ConfigMap", **stale})
    elif resource in KINDS and verb == "create":
        with contextlib.suppress(ApiError):
            site.server.delete(KINDS[resource], AUTHORITY, NAMESPACE)


@pytest.mark.parametrize("grant", GRANTS, ids=name_of)
async def test_operator_without_the_grant_is_refused_and_says_so(site: Site, grant: tuple[str, Json]) -> None:
    _, rule = grant
    (resource,), (verb,) = rule["resources"], rule["verbs"]
    allow_all_but(site, rule)
    make_it_needed(site, rule)
    life = site.operator()
    said, before = len(life.log_of("operator").read_text()), life.program("operator")
    site.server.record.forget()
    life.send_signal("operator", signal.SIGKILL)
    await site.until(lambda: life.program("operator") not in {before, None}, "a restart")
    # As it stands in a line of JSON.
    sentence = json.dumps(f'cannot {verb} resource "{resource}"')[1:-1]
    await site.until(
        lambda: sentence in life.log_of("operator").read_text()[said:], f"the operator to say: {sentence}"
    )
    refused = {row.question for row in site.server.record.rows if not row.question.allowed}
    assert {(question.verb, question.resource) for question in refused} == {(verb, resource)}
