"""From the API server to a node's stream, whole: kopf and kr8s on one end, a scripted node on the other."""

from pathlib import Path

from compilers.model.settings import EXISTING_CONNECTIONS, ExistingConnections
from policy_controller.controller.kinds import Kind
from policy_controller.controller.status import EVERYTHING
from policy_controller.controller.tests import objects
from policy_controller.controller.tests.objects import allow_from, namespace, new, pod, policy
from policy_controller.controller.tests.running import operator_of
from policy_controller.controller.tests.scripted_node import node
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.api_server import ApiServer
from policy_controller.wire.convert import encode_operator
from policy_controller.wire.messages import DeltaMessage, SnapshotMessage

WEB, SHOPPER = {"app": "web"}, {"app": "shopper"}


def populate(server: ApiServer) -> None:
    """A pod on each node."""
    server.create(new(pod("web", address="10.1.0.1", node="node-1", labels=WEB)))
    server.create(new(pod("shopper", address="10.2.0.1", node="node-2", labels=SHOPPER)))


async def test_a_policy_reaches_the_nodes_that_it_concerns_and_no_other(
    server: ApiServer, tmp_path: Path
) -> None:
    populate(server)
    async with (
        operator_of(server, tmp_path) as running,
        node(running.door, "node-1") as first,
        node(running.door, "node-2") as second,
    ):
        assert isinstance(await first.apply(), SnapshotMessage)
        assert isinstance(await second.apply(), SnapshotMessage)
        assert first.rule_set is not None
        assert not first.rule_set.isolates

        spec = allow_from(SHOPPER) | {"podSelector": {"matchLabels": WEB}}
        server.create(new(policy("allow-shopper", spec)))

        delta = await first.apply()
        assert isinstance(delta, DeltaMessage)
        assert delta.stands == running.operator.store.stands()
        assert first.rule_set == running.wanted("node-1")
        assert first.rule_set.isolates
        assert {entry.name for entry in first.rule_set.pods.values()} == {"web"}

        assert second.rule_set == running.wanted("node-2")
        assert not second.rule_set.isolates
        assert [type(message) for message in second.heard] == [SnapshotMessage]


async def test_pods_and_namespaces_that_come_change_and_go_reach_the_node(
    server: ApiServer, tmp_path: Path
) -> None:
    populate(server)
    server.create(new(policy("allow-shopper", allow_from(SHOPPER))))
    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
        await one.apply()

        def addresses() -> set[str]:
            assert one.rule_set is not None
            return {str(address) for part in one.rule_set.peer_sets.values() for address in part.addresses}

        assert addresses() == {"10.2.0.1"}
        server.create(new(pod("another", address="10.2.0.2", node="node-2", labels=SHOPPER)))
        await one.apply()
        assert addresses() == {"10.2.0.1", "10.2.0.2"}
        server.apply(new(pod("another", address="10.2.0.2", node="node-2", labels=WEB)))
        await one.apply()
        assert addresses() == {"10.2.0.1"}
        server.delete("Pod", "shopper", "shop")
        await one.apply()
        assert addresses() == set()
        server.delete("NetworkPolicy", "allow-shopper", "shop")
        await one.apply()
        assert one.rule_set == running.wanted("node-1")
        assert one.rule_set is not None
        assert not one.rule_set.isolates


async def test_what_a_namespace_chooses_about_open_connections_reaches_the_nodes_of_its_pods(
    server: ApiServer, tmp_path: Path
) -> None:
    populate(server)
    server.create(new(policy("allow-shopper", allow_from(SHOPPER))))
    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
        await one.apply()

        def chosen() -> set[ExistingConnections]:
            assert one.rule_set is not None
            return {pod.existing for pod in one.rule_set.pods.values() if pod.ingress is not None}

        def annotate(word: str) -> None:
            tree = new(namespace("shop"))
            tree["metadata"]["annotations"] = {EXISTING_CONNECTIONS: word}
            server.apply(tree)

        assert chosen() == {ExistingConnections.KEEP}
        annotate("cut")
        await one.apply()
        assert chosen() == {ExistingConnections.CUT}
        assert one.rule_set == running.wanted("node-1")
        annotate("cutt")
        await one.apply()
        assert chosen() == {ExistingConnections.KEEP}
        (warning,) = (await running.operator.status(EVERYTHING))["warnings"]
        assert "shop" in warning
        assert "must be keep or cut" in warning


async def test_a_node_leaves_the_status_while_its_label_names_another_system(
    server: ApiServer, tmp_path: Path
) -> None:
    populate(server)
    server.create(new(policy("allow-shopper", allow_from(SHOPPER))))
    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
        await one.apply()

        async def counts() -> tuple[object, ...]:
            told = await running.operator.status(EVERYTHING)
            (of_policy,) = told["policies"]
            return (
                told["nodeCount"],
                told.get("otherNodeCount"),
                of_policy["nodes"],
                of_policy.get("otherNodes"),
            )

        async def labelled(system: str) -> None:
            revision = running.operator.store.revision
            server.apply(
                new(objects.node("node-2", address="192.0.2.2", labels={"kubernetes.io/os": system}))
            )
            await eventually(lambda: running.operator.store.revision > revision)
            compiled = running.operator.store.revision
            await eventually(lambda: running.operator.compile_loop.revision == compiled)

        assert await counts() == (2, None, 2, None)
        await labelled("windows")
        assert await counts() == (1, 1, 1, 1)
        await labelled("linux")
        assert await counts() == (2, None, 2, None)


async def test_changes_during_a_slow_apply_arrive_as_one_delta(server: ApiServer, tmp_path: Path) -> None:
    populate(server)
    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
        snapshot = await one.hear()
        for number in range(5):
            server.create(new(policy(f"deny-{number}")))
        await eventually(lambda: len(running.operator.store.cluster().policies) == 5)
        revision = running.operator.store.revision
        await eventually(lambda: running.operator.compile_loop.revision == revision)

        await one.acknowledge(snapshot)
        delta = await one.apply()

        assert delta.generation == 2
        assert one.rule_set == running.wanted("node-1")


async def test_a_node_that_reconnects_and_an_operator_that_restarts_send_the_same_snapshot(
    server: ApiServer, tmp_path: Path
) -> None:
    populate(server)
    server.create(new(policy("allow-shopper", allow_from(SHOPPER))))
    heard = []
    async with operator_of(server, tmp_path):
        # The first one writes its authority, which others find.
        pass
    for _ in range(2):
        async with operator_of(server, tmp_path) as running:
            for _ in range(2):
                async with node(running.door, "node-1") as one:
                    heard.append(await one.apply())
                    assert one.rule_set == running.wanted("node-1")
    encoded = {encode_operator(message).SerializeToString(deterministic=True) for message in heard}
    assert len(heard) == 4
    assert len(encoded) == 1


async def test_a_deletion_that_no_watch_told_of_is_repaired_by_a_list(
    server: ApiServer, tmp_path: Path
) -> None:
    populate(server)
    server.create(new(policy("deny")))
    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
        await one.apply()
        assert one.rule_set is not None
        assert one.rule_set.isolates

        # The watches begin anew behind the deletion, so none of them tells of it.
        server.close_watches()
        server.delete("NetworkPolicy", "deny", "shop")
        server.compact()

        await one.apply()
        assert one.rule_set == running.wanted("node-1")
        assert not one.rule_set.isolates
        repairs = running.operator.relister.repairs
        await eventually(lambda: repairs[Kind.POLICY, "removed"] == 1)
        _, metrics = await running.admin("/metrics")
        assert 'policy_controller_repairs_total{kind="NetworkPolicy",what="removed"} 1.0' in metrics


async def test_an_invalid_policy_closes_its_pods_and_its_author_is_told_once(
    server: ApiServer, tmp_path: Path
) -> None:
    populate(server)
    stored = server.create(new(policy("broken", allow_from(SHOPPER, port=70000))))
    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
        await one.apply()
        assert one.rule_set is not None
        (closed,) = one.rule_set.classes.values()
        assert closed.rules == ()

        await eventually(lambda: running.operator.events.written == 1)
        (event,) = server.list("Event", "shop")
        assert (event["type"], event["reason"]) == ("Warning", "InvalidPolicy")
        assert event["involvedObject"]["uid"] == stored["metadata"]["uid"]
        assert event["involvedObject"]["fieldPath"] == "spec.ingress[0].ports[0].port"
        assert "70000" in event["message"]
        assert "admits no ingress of the pods it selects" in event["message"]

        # Another change of the policy with the same fault is not news; another fault is.
        server.apply(new(policy("broken", allow_from({"app": "other"}, port=70000))))
        server.apply(new(policy("broken", allow_from(SHOPPER, port=80001))))
        await eventually(lambda: len(server.list("Event", "shop")) == 2)
        server.apply(new(policy("broken", allow_from(SHOPPER))))
        await one.until(running.wanted("node-1"))
    async with operator_of(server, tmp_path):
        assert len(server.list("Event", "shop")) == 2


async def test_the_admin_interface_tells_of_nodes_and_policies(server: ApiServer, tmp_path: Path) -> None:
    populate(server)
    server.create(new(policy("broken", allow_from(SHOPPER, port=70000))))
    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
        await one.apply()
        await eventually(lambda: running.operator.streams.statuses()["node-1"].current)
        await eventually(lambda: len(running.operator.store.cluster().nodes) == 2)
        assert await running.admin("/healthz") == (200, "ok\n")
        assert await running.admin("/readyz") == (200, "ok\n")
        status = await running.operator.status(EVERYTHING)
        assert [row["connected"] for row in status["nodes"]] == [True, False]
        assert status["nodes"][0]["generationApplied"] == 1
        assert status["policies"][0]["name"] == "broken"
        await eventually(lambda: running.operator.version.name.startswith("v1."))
        assert (await running.admin("/status"))[0] == 200
        _, metrics = await running.admin("/metrics")
        for line in (
            'policy_controller_objects{kind="Pod"} 4.0',
            "policy_controller_invalid_policies 1.0",
            "policy_controller_connected_nodes 1.0",
            'policy_controller_generation_acked{node="node-1"} 1.0',
            "policy_controller_watches 4.0",
            "policy_controller_compile_seconds_count",
            'policy_controller_list_overdue{kind="NetworkPolicy"} 0.0',
            'policy_controller_list_age_seconds{kind="Node"}',
        ):
            assert line in metrics
