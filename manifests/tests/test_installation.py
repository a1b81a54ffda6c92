"""The folder is applied with kubectl and run as it says: it becomes ready, enforces, and stays as it is."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from manifests.tests.reading import NAMESPACE, Json, chosen, container_of, pod_of
from manifests.tests.site import ENFORCER_USER, NODES, Site, deny_all, policy
from policy_controller.testing.kubelet import PodLife
from policy_controller.testing.kubelet.spec import CAPABILITIES
from policy_controller.testing.probe import Outcome

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

CONNECTED = "connected from"
WAITS = "waiting for the CA"
ONLY_WEB = policy(
    "only-web", [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}], {"matchLabels": {"app": "db"}}
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(kubectl: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with Site(kubectl, tmp_path_factory.mktemp("site")) as site:
        yield site


def versions(site: Site, documents: tuple[Json, ...]) -> dict[tuple[str, str], str]:
    """The resourceVersion of each applied object, less what only its status has changed: its generation counts there."""
    found = {}
    for document in documents:
        metadata = document["metadata"]
        stored = site.server.get(document["kind"], metadata["name"], metadata.get("namespace"))["metadata"]
        found[document["kind"], metadata["name"]] = str(stored.get("generation", stored["resourceVersion"]))
    return found


def restarts(life: PodLife) -> int:
    (status,) = life.tree["status"]["containerStatuses"]
    return int(status["restartCount"])


def connections(site: Site) -> int:
    return sum(CONNECTED in words for words in site.words(site.operator()))


async def test_enforcers_that_come_first_wait_for_the_authority(
    site: Site, documents: tuple[Json, ...]
) -> None:
    later = {"Deployment"}
    await site.apply(*(one for one in documents if one["kind"] not in later))

    def wait() -> bool:
        lives = [life for life in site.enforcers() if life.program("enforcer") is not None]
        waiting = [life for life in lives if any(WAITS in words for words in site.words(life))]
        return len(waiting) == len(NODES)

    await site.until(wait, "both enforcers to wait for the authority")
    await site.add_pod("web", "node-a")
    await site.add_pod("guest", "node-b")
    await site.add_pod("db", "node-b")
    # Installing must not take a cluster down.
    assert await site.outcomes("guest", "db") == {Outcome.ACCEPTED}


async def test_whole_folder_becomes_ready_and_enforces(site: Site) -> None:
    await site.apply()
    await site.settled()
    assert [restarts(life) for life in site.enforcers()] == [0, 0]
    await site.apply(ONLY_WEB)
    await site.comes_to("guest", "db", Outcome.TIMED_OUT)
    assert await site.outcomes("web", "db") == {Outcome.ACCEPTED}
    assert await site.outcomes("db", "guest") == {Outcome.ACCEPTED}


async def test_second_apply_changes_nothing(site: Site, documents: tuple[Json, ...]) -> None:
    before, lives = versions(site, documents), {life.uid for life in (site.operator(), *site.enforcers())}
    assert set((await site.apply()).values()) == {"unchanged"}
    assert versions(site, documents) == before
    ended = await site.client.run("diff", "-k", str(Path(__file__).parents[1]))
    assert (ended.code, ended.out) == (0, "")
    assert {life.uid for life in (site.operator(), *site.enforcers())} == lives


async def test_programs_run_with_the_rights_of_the_manifest_and_no_more(
    site: Site, documents: tuple[Json, ...]
) -> None:
    for kind, lives in (("Deployment", (site.operator(),)), ("DaemonSet", site.enforcers())):
        workload = chosen(documents, kind)
        container = container_of(workload)
        added = container["securityContext"]["capabilities"].get("add", [])
        for life in lives:
            program = life.program(container["name"])
            status = status_of(program)
            uid = str(pod_of(workload)["securityContext"]["runAsUser"])
            assert status["Uid"] == [uid] * 4
            mask = sum(1 << CAPABILITIES.index(name) for name in added)
            for held in ("CapEff", "CapPrm", "CapBnd"):
                assert int(status[held][0], 16) == mask, (kind, held)
            assert status["NoNewPrivs"] == ["1"]
            assert "ro" in options_of_root(program)


async def test_enforcers_ask_the_api_server_nothing_and_the_operator_is_refused_nothing(site: Site) -> None:
    asked = [row.question for row in site.server.record.rows]
    assert not [question for question in asked if question.user == ENFORCER_USER]
    assert not [question for question in asked if not question.allowed]
    assert not site.server.record.lost


async def test_renewed_tokens_keep_every_stream(site: Site) -> None:
    before, reviewed = connections(site), reviews(site)
    tokens = {life.uid: token_of(life) for life in site.enforcers()}
    site.kubelet.renew_tokens()
    await site.until(
        lambda: all(token_of(life) != tokens[life.uid] for life in site.enforcers()),
        "new tokens in the volumes",
    )
    await site.until(
        lambda: reviews(site) >= reviewed + len(NODES), "the operator to ask about both of the new tokens"
    )
    await site.settled()
    assert connections(site) == before


async def test_default_deny_of_every_namespace_leaves_the_way_to_the_operator(site: Site) -> None:
    for namespace in ("default", "kube-system", NAMESPACE):
        await site.apply(deny_all(namespace))
    await site.comes_to("web", "db", Outcome.TIMED_OUT)
    for life in (site.operator(), *site.enforcers()):
        (container,) = life.tree["spec"]["containers"]
        life.send_signal(container["name"], signal.SIGKILL)
    await site.until(
        lambda: all(restarts(life) == 1 for life in (site.operator(), *site.enforcers())),
        "all to be restarted",
    )
    await site.settled()
    for namespace in ("default", "kube-system", NAMESPACE):
        site.server.delete("NetworkPolicy", "deny-all", namespace)
    await site.comes_to("web", "db", Outcome.ACCEPTED)


@pytest.mark.whole
async def test_update_leaves_no_moment_without_a_ready_operator(
    site: Site, documents: tuple[Json, ...]
) -> None:
    changed = chosen(documents, "Deployment")
    changed["spec"]["template"]["metadata"]["annotations"] = {"example.com/restarted": "1"}
    old = site.operator()
    ready = []

    def replaced() -> bool:
        ready.append(site.server.get("Deployment", "policy-controller", NAMESPACE)["status"]["readyReplicas"])
        lives = site.kubelet.pods_of("policy-controller")
        return [life.uid for life in lives] != [old.uid] and len(lives) == 1 and not site.kubelet.unsettled()

    await site.apply(changed)
    await site.until(replaced, "another operator")
    assert min(ready) >= 1
    await site.settled()
    await site.comes_to("guest", "db", Outcome.TIMED_OUT)


def status_of(program: int | None) -> dict[str, list[str]]:
    lines = Path(f"/proc/{program}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def options_of_root(program: int | None) -> list[str]:
    """How the root of a process is mounted."""
    mounts = Path(f"/proc/{program}/mounts").read_text().splitlines()
    (root,) = (line.split() for line in mounts if line.split()[1] == "/")
    return root[3].split(",")


def token_of(life: PodLife) -> str:
    """What the enforcer reads."""
    program = life.program("enforcer")
    return Path(f"/proc/{program}/root/var/run/policy-controller/token/token").read_text()


def reviews(site: Site) -> int:
    return sum(row.times for row in site.server.record.rows if row.question.resource == "tokenreviews")
