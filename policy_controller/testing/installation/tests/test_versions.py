"""Operator and enforcers of two builds, one of them from the history: rolled forward and back under probing, each before the other."""

import asyncio
import copy
from pathlib import Path
from typing import Any, Final

import pytest

from policy_controller.testing.installation.installation import DAEMON_SET, DEPLOYMENT, OPERATOR
from policy_controller.testing.installation.settings import NAMESPACE
from policy_controller.testing.installation.tests.older_build import WORDS, older_build
from policy_controller.testing.installation.tests.rounds import ENFORCERS, Record
from policy_controller.testing.installation.tests.town import Town
from policy_controller.testing.laboratory import NetworkKind

pytestmark = [
    pytest.mark.packets,
    pytest.mark.whole,
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="module"),
    # Builds differ in programs, not in pod networks.
    pytest.mark.parametrize("town", [NetworkKind.BRIDGE], indirect=True, ids=["bridge"], scope="module"),
]

Json = dict[str, Any]

WORKLOADS: Final = {"Deployment": (DEPLOYMENT, (OPERATOR,)), "DaemonSet": (DAEMON_SET, ENFORCERS)}
ORDER: Final = (
    "DaemonSet",
    "Deployment",
    "DaemonSet",
    "Deployment",
    "Deployment",
    "DaemonSet",
    "Deployment",
    "DaemonSet",
)
"""What is replaced: enforcers back, operator back, enforcers forward, operator forward; then the operator first."""
WITHIN: Final = 60.0


async def replace(town: Town, kind: str, path: Path | None) -> None:
    """A rolling update to the build of a path, or to this one; returns when every pod of the workload is of it."""
    name, programs = WORKLOADS[kind]
    (workload,) = [one for one in await town.api.list(kind) if one["metadata"]["name"] == name]
    template: Json = copy.deepcopy(workload["spec"]["template"])
    (container,) = template["spec"]["containers"]
    container["env"] = [one for one in container["env"] if one["name"] != "PYTHONPATH"]
    if path is not None:
        container["env"].append({"name": "PYTHONPATH", "value": str(path)})
    await town.api.patch(kind, NAMESPACE, name, {"spec": {"template": template}})
    # Each pod has a log of its own, which begins with what its build says.
    async with asyncio.timeout(WITHIN):
        while not all([await is_of(town, program, path) for program in programs]):  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.1)
    await town.installation.settled()


async def is_of(town: Town, program: str, path: Path | None) -> bool:
    """Whether a program runs, and is of the build of the path or of this one."""
    try:
        return town.installation.is_running(program) and (WORDS in town.installation.log_of(program)) is (
            path is not None
        )
    except (KeyError, OSError):
        return False


async def test_two_builds_are_mixed_in_every_order_and_nothing_leaks_and_nothing_is_refused(
    town: Town, record_property: Record
) -> None:
    older = dict.fromkeys(WORKLOADS, False)
    pairs = 0
    with older_build() as path, await town.probing() as probing:
        for number, kind in enumerate(ORDER):
            older[kind] = not older[kind]
            await replace(town, kind, path if older[kind] else None)
            pairs += older["Deployment"] is not older["DaemonSet"]
            # What changes now crosses between the two.
            await town.admit(f"mixed-{number}")
            pod = await town.add_pod(f"mixed-{number}", "node-b")
            await town.in_force()
            await town.remove_pod(pod)
            await town.in_force()
        tally = await asyncio.to_thread(probing.stop)
    assert not any(older.values())
    record_property("rolling updates to another build", len(ORDER))
    record_property("mixed pairs of builds", pairs)
    record_property("builds mixed: probes", tally.probes)
    record_property("builds mixed: heartbeats of open connections", tally.heartbeats)
    record_property("builds mixed: leaks", tally.leaks)
    record_property("builds mixed: refusals", tally.refusals)
    assert tally.is_clean, tally
    assert tally.probes > 1_000
