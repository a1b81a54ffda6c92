"""The switch, from the API server to a node's stream, whole: written once, in force on every node, and back."""

import asyncio
import json
from pathlib import Path

from compilers.model.settings import CONFIG_MAP, Enforcement
from policy_controller.clock import SystemClock
from policy_controller.controller.cluster_settings import OFF
from policy_controller.controller.operator import Operator
from policy_controller.controller.settings import Settings
from policy_controller.controller.tests.objects import allow_from, new, pod, policy
from policy_controller.controller.tests.running import Running, operator_of
from policy_controller.controller.tests.scripted_node import node
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import Fault, Faults, Refuse, Requests, Verb
from policy_controller.testing.credentials import NAMESPACE
from policy_controller.wire.channel import HostPort
from policy_controller.wire.messages import DeltaMessage, SnapshotMessage


def write(server: ApiServer, **data: str) -> None:
    server.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG_MAP, "namespace": NAMESPACE},
            "data": data,
        }
    )


def populate(server: ApiServer) -> None:
    for number in (1, 2):
        server.create(
            new(
                pod(f"web-{number}", address=f"10.{number}.0.1", node=f"node-{number}", labels={"app": "web"})
            )
        )
    server.create(new(policy("allow-shopper", allow_from({"app": "shopper"}))))


async def states(running: Running) -> dict[str, object]:
    _, text = await running.admin("/status")
    return {one["name"]: one.get("enforcement") for one in json.loads(text)["nodes"]}


async def test_off_reaches_every_node_and_enforced_gives_them_back_what_they_had(
    server: ApiServer, tmp_path: Path
) -> None:
    populate(server)

    def current() -> bool:
        return all(status.current for status in running.operator.streams.statuses().values())

    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as first:
        await first.apply()
        before = first.rule_set
        write(server, enforcement="off")
        delta = await first.apply()
        assert isinstance(delta, DeltaMessage)
        assert delta.stands.settings > 0
        # A node that comes meanwhile is told the same in its first word.
        async with node(running.door, "node-2") as second:
            assert isinstance(await second.apply(), SnapshotMessage)
            for one in (first, second):
                assert one.rule_set is not None
                assert one.rule_set.is_off
                assert len(one.rule_set.pods) == 1
            await eventually(current)
            assert await states(running) == {"node-1": "off", "node-2": "off"}
            assert await running.admin("/readyz") == (200, f"ok\nwarning: {OFF}\n")
            _, metrics = await running.admin("/metrics")
            assert 'policy_controller_enforcement{state="off"} 1.0' in metrics

            write(server, enforcement="enforced")
            for one in (first, second):
                await one.apply()
                assert one.rule_set == running.wanted(one.name)
            assert first.rule_set == before
            await eventually(current)
            assert await states(running) == {"node-1": "enforced", "node-2": "enforced"}


async def test_an_operator_that_starts_while_off_never_says_anything_else(
    server: ApiServer, tmp_path: Path
) -> None:
    populate(server)
    write(server, enforcement="off")
    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
        await one.apply()
        assert one.rule_set is not None
        assert one.rule_set.is_off
        assert running.operator.store.settings.enforcement is Enforcement.OFF
        server.delete("ConfigMap", CONFIG_MAP, NAMESPACE)
        await one.apply()
        assert one.rule_set.isolates


async def test_nothing_is_compiled_before_the_settings_are_known(
    server: ApiServer, faults: Faults, tmp_path: Path
) -> None:
    populate(server)
    write(server, enforcement="off")
    faults.begin(Fault(Refuse(503), Requests(frozenset({Verb.GET}), "configmaps")))
    kubeconfig, anywhere, stop = tmp_path / "kubeconfig", HostPort("127.0.0.1", 0), asyncio.Event()
    kubeconfig.write_text(server.kubeconfig())
    settings = Settings(kubeconfig=str(kubeconfig), listen=anywhere, health=anywhere, admin=anywhere)
    operator = Operator(settings, SystemClock())
    compiled: list[Enforcement] = []
    operator.compile_loop.subscribe(lambda _: compiled.append(operator.store.settings.enforcement))
    running = asyncio.create_task(operator.run(stop, lambda: None))
    try:
        await eventually(operator.relister.synced.is_set)
        await eventually(lambda: operator.cluster_settings.failures > 1)
        assert compiled == []
        assert any("settings of the cluster" in str(reason) for reason in operator.reasons_not_ready())
        faults.clear()
        await eventually(lambda: compiled != [])
        assert set(compiled) == {Enforcement.OFF}
    finally:
        stop.set()
        await running


async def test_an_operator_that_starts_with_a_word_that_nobody_knows_enforces_and_says_so(
    server: ApiServer, tmp_path: Path
) -> None:
    populate(server)
    write(server, enforcement="offf")
    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
        await one.apply()
        assert one.rule_set is not None
        assert not one.rule_set.is_off
        assert one.rule_set.isolates
        status, text = await running.admin("/readyz")
        assert status == 200
        assert "is invalid since the start: defaults hold (enforcement enforced, " in text
        assert "did you mean off?" in text


async def test_a_word_that_nobody_knows_switches_nothing(server: ApiServer, tmp_path: Path) -> None:
    populate(server)
    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
        await one.apply()
        write(server, enforcement="offf")
        await eventually(lambda: running.operator.cluster_settings.invalid)
        _, text = await running.admin("/status")
        (warning,) = json.loads(text)["warnings"]
        assert "enforcement enforced stays in force" in warning
        assert "did you mean off?" in warning
        assert [type(message) for message in one.heard] == [SnapshotMessage]
