"""What namespaces choose about open connections reaches the cluster's state, and what cannot be read is told."""

from compilers.model.settings import EXISTING_CONNECTIONS, ClusterSettings, ExistingConnections
from policy_controller.controller.complaints import unread_choices
from policy_controller.controller.kinds import Kind
from policy_controller.controller.store import Store
from policy_controller.controller.tests import objects


def chosen(name: str, word: str, version: int) -> objects.Tree:
    tree = objects.namespace(name, version=version)
    tree["metadata"]["annotations"] = {EXISTING_CONNECTIONS: word}
    return tree


def test_a_choice_changes_the_state_and_ends_with_its_annotation() -> None:
    store = Store()
    store.settle(ClusterSettings(existing_connections=ExistingConnections.CUT), 1)
    seen = []
    for tree in (
        objects.namespace("shop", version=1),
        chosen("shop", "keep", 2),
        objects.namespace("shop", version=3),
    ):
        store.put(Kind.NAMESPACE, tree)
        seen.append(store.cluster().existing_connections_in("shop"))
    assert seen == [ExistingConnections.CUT, ExistingConnections.KEEP, ExistingConnections.CUT]
    assert store.cluster().existing_connections_in("unknown") is ExistingConnections.CUT


def test_a_choice_that_cannot_be_read_is_told_and_the_cluster_wide_one_holds() -> None:
    store = Store()
    assert unread_choices(store) == ()
    for number in range(9):
        store.put(Kind.NAMESPACE, chosen(f"shop-{number}", "kut\x1b[2J", number + 1))
    (trouble,) = unread_choices(store)
    assert "shop" not in trouble.sentence
    assert "shop-0" in trouble.cause
    assert "must be keep or cut" in trouble.cause
    assert "and 4 more" in trouble.cause
    assert trouble.cause.isprintable()
    assert store.cluster().existing_connections_in("shop-0") is ExistingConnections.KEEP
    for number in range(9):
        store.put(Kind.NAMESPACE, chosen(f"shop-{number}", "cut", number + 20))
    assert unread_choices(store) == ()
    assert store.cluster().existing_connections_in("shop-0") is ExistingConnections.CUT
