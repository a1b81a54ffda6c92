"""The folder as it is, on every kind of pod network and with a Service of either family: nothing is told that can be found."""

from pathlib import Path

import pytest

from manifests.tests.reading import Json
from manifests.tests.site import Site, policy
from policy_controller.testing.laboratory import NetworkKind
from policy_controller.testing.probe import Outcome

pytestmark = [pytest.mark.packets, pytest.mark.whole]

CLOSED = policy("closed", [], {"matchLabels": {"app": "db"}})


def with_family(document: Json, family: str) -> Json:
    if document["kind"] != "Service":
        return document
    return {**document, "spec": {**document["spec"], "ipFamilies": [family], "ipFamilyPolicy": "SingleStack"}}


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize("network", NetworkKind, ids=lambda kind: kind.value)
async def test_installation_enforces_on_this_network_through_a_service_of_this_family(
    kubectl: Path, tmp_path: Path, documents: tuple[Json, ...], network: NetworkKind, family: str
) -> None:
    async with Site(kubectl, tmp_path, network) as site:
        for name, node in (("web", "node-a"), ("db", "node-b"), ("near", "node-b")):
            await site.add_pod(name, node)
        assert await site.outcomes("web", "db") == {Outcome.ACCEPTED}
        await site.apply(*(with_family(document, family) for document in documents))
        await site.settled()
        await site.apply(CLOSED)
        await site.comes_to("web", "db", Outcome.TIMED_OUT)
        assert await site.outcomes("near", "db") == {Outcome.TIMED_OUT}
        assert await site.outcomes("db", "web") == {Outcome.ACCEPTED}
