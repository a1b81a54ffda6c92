"""Which pods there should be, and the steps that lead there: state in, steps out."""

from typing import Any

import pytest

from policy_controller.testing.kubelet.controllers import (
    Creation,
    Deletion,
    is_of,
    revision,
    status_of,
    steps,
)
from policy_controller.testing.kubelet.spec import SpecError

Json = dict[str, Any]
READY = [{"type": "Ready", "status": "True"}]


def workload(kind: str, image: str = "app:1", **spec: object) -> Json:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": image}], "nodeSelector": {"os": "linux"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", "namespace": "shop", "uid": f"uid-of-{kind}", "generation": 3},
        "spec": {"replicas": 1, "template": template, **spec},
    }


def nodes(*names: str, os: str = "linux") -> list[Json]:
    return [{"metadata": {"name": name, "labels": {"os": os}}} for name in names]


def pod(owner: Json, node: str, name: str = "", *, ready: bool = True, ending: bool = False) -> Json:
    (creation,) = steps({**owner, "spec": {**owner["spec"], "replicas": 1}}, nodes(node), [])
    assert isinstance(creation, Creation)
    metadata = {**creation.pod["metadata"], "name": name or f"web-{node}"}
    if ending:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {**creation.pod, "metadata": metadata, "status": {"conditions": READY if ready else []}}


def shown(workload: Json, known: list[Json], pods: list[Json]) -> list[str]:
    """Steps as words: `+node` and `-pod`."""
    return [
        f"+{step.pod['spec']['nodeName']}" if isinstance(step, Creation) else f"-{step.name}"
        for step in steps(workload, known, pods)
    ]


DAEMONS = workload(
    "DaemonSet", updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}}
)
OLD_DAEMONS = workload("DaemonSet", "app:0")
WEB = workload("Deployment", strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
OLD_WEB = workload("Deployment", "app:0")
TWO = workload("Deployment", replicas=2, strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})

CASES: dict[str, tuple[Json, list[Json], list[Json], list[str]]] = {
    "a daemon for each node that fits": (
        DAEMONS,
        [*nodes("b", "a"), *nodes("c", os="other")],
        [],
        ["+a", "+b"],
    ),
    "nothing where all is well": (DAEMONS, nodes("a"), [pod(DAEMONS, "a")], []),
    "a node is gone, and so is its daemon": (
        DAEMONS,
        nodes("a"),
        [pod(DAEMONS, "a"), pod(DAEMONS, "b")],
        ["-web-b"],
    ),
    "old daemons go one by one": (
        DAEMONS,
        nodes("a", "b"),
        [pod(OLD_DAEMONS, "a"), pod(OLD_DAEMONS, "b")],
        ["-web-a"],
    ),
    "the next waits for the one before it": (
        DAEMONS,
        nodes("a", "b"),
        [pod(DAEMONS, "a", ready=False), pod(OLD_DAEMONS, "b")],
        [],
    ),
    "an old daemon that is not ready goes at once": (
        DAEMONS,
        nodes("a", "b"),
        [pod(DAEMONS, "a", ready=False), pod(OLD_DAEMONS, "b", ready=False)],
        ["-web-b"],
    ),
    "a daemon's place is taken until it has ended": (
        DAEMONS,
        nodes("a"),
        [pod(DAEMONS, "a", ending=True, ready=False)],
        [],
    ),
    "a replica on the emptiest node": (WEB, nodes("b", "a"), [], ["+a"]),
    "no node, no pod": (WEB, [], [], []),
    "the new one comes before the old one goes": (WEB, nodes("a", "b"), [pod(OLD_WEB, "a")], ["+b"]),
    "and the old one stays while the new one is not ready": (
        WEB,
        nodes("a", "b"),
        [pod(OLD_WEB, "a"), pod(WEB, "b", ready=False)],
        [],
    ),
    "and goes when it is": (WEB, nodes("a", "b"), [pod(OLD_WEB, "a"), pod(WEB, "b")], ["-web-a"]),
    "one that ends is replaced at once": (WEB, nodes("a"), [pod(WEB, "a", ending=True)], ["+a"]),
    "too many": (
        WEB,
        nodes("a"),
        [pod(WEB, "a", "web-1"), pod(WEB, "a", "web-2")],
        ["-web-2"],
    ),
    "without surge an old one goes first": (
        TWO,
        nodes("a"),
        [pod(OLD_WEB, "a", "web-1"), pod(OLD_WEB, "a", "web-2")],
        ["-web-1"],
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_next_steps_are_those_of_a_rolling_update(case: str) -> None:
    asked, known, pods, expected = CASES[case]
    assert shown(asked, known, pods) == expected


def test_pod_of_a_template_is_its_workloads_and_no_others() -> None:
    (creation,) = steps(WEB, nodes("a"), [])
    assert isinstance(creation, Creation)
    assert is_of(creation.pod, WEB)
    assert not is_of(creation.pod, DAEMONS)
    assert creation.pod["metadata"]["labels"] == {"app": "web", "pod-template-hash": revision(WEB)}
    assert "nodeName" not in WEB["spec"]["template"]["spec"]


def test_revision_changes_with_the_template_alone() -> None:
    scaled = workload("Deployment", replicas=5)
    assert revision(scaled) == revision(WEB)
    assert revision(OLD_WEB) != revision(WEB)


def test_status_counts_new_and_ready_pods() -> None:
    pods = [pod(DAEMONS, "a"), pod(OLD_DAEMONS, "b"), pod(DAEMONS, "c", ready=False)]
    status = status_of(DAEMONS, nodes("a", "b", "c", "d"), pods)
    assert (status["desiredNumberScheduled"], status["currentNumberScheduled"]) == (4, 3)
    assert (status["updatedNumberScheduled"], status["numberReady"], status["numberUnavailable"]) == (2, 2, 2)
    assert status["observedGeneration"] == 3
    assert status_of(WEB, nodes("a"), [pod(WEB, "a")])["availableReplicas"] == 1


@pytest.mark.parametrize(
    "refused",
    [
        workload("DaemonSet", updateStrategy={"type": "OnDelete"}),
        workload("DaemonSet", updateStrategy={"rollingUpdate": {"maxSurge": 1}}),
        workload("Deployment", strategy={"type": "Recreate"}),
    ],
    ids=["OnDelete", "surge of daemons", "Recreate"],
)
def test_strategy_that_is_not_played_is_refused(refused: Json) -> None:
    with pytest.raises(SpecError, match="not played"):
        steps(refused, nodes("a"), [])


def test_deletions_name_namespace_and_pod() -> None:
    assert steps(DAEMONS, [], [pod(DAEMONS, "a")]) == [Deletion("shop", "web-a")]
