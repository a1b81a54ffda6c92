"""Nothing of a laboratory outlives its owner, however the owner ends; and two never meet."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from policy_controller.testing.laboratory import Laboratory, sweep
from policy_controller.testing.laboratory.ownership import LOCKS

pytestmark = pytest.mark.packets

OWNER = """
import sys
from policy_controller.testing.laboratory import Laboratory
with Laboratory() as laboratory:
    node = laboratory.add_node("node-1")
    laboratory.add_pod(node, "web")
    child = laboratory.spawn(node.namespace, ["sleep", "600"])
    print(laboratory.name, child.pid, laboratory._claim.janitor.pid, flush=True)
    if sys.argv[1] == "wait":
        sys.stdin.read()
"""


def eventually(holds: Callable[[], bool], within: float = 10.0) -> bool:
    """Whether the condition comes to hold in time."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def namespaces_of(name: str) -> list[Path]:
    return list(Path("/run/netns").glob(f"pc-{name}-*"))


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start_owner(how: str) -> tuple[subprocess.Popen[str], str, int, int]:
    owner = subprocess.Popen(  # noqa: S603 - our own interpreter and the text above
        [sys.executable, "-c", OWNER, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert owner.stdout is not None
    name, child, janitor = owner.stdout.readline().split()
    return owner, name, int(child), int(janitor)


def leave(owner: subprocess.Popen[str]) -> None:
    owner.communicate(timeout=20)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_laboratory_goes_when_its_owner_is_ended_by(end: signal.Signals) -> None:
    owner, name, child, _ = start_owner("wait")
    assert len(namespaces_of(name)) == 3
    assert lives(child)

    owner.send_signal(end)
    owner.wait(20)

    assert eventually(lambda: not namespaces_of(name) and not (LOCKS / name).exists())
    assert eventually(lambda: not lives(child))
    leave(owner)


def test_a_laboratory_goes_when_its_owner_simply_ends() -> None:
    owner, name, child, janitor = start_owner("leave")

    leave(owner)

    assert owner.returncode == 0
    assert not namespaces_of(name)
    assert not (LOCKS / name).exists()
    assert not lives(child)
    assert not lives(janitor)


def test_the_next_laboratory_sweeps_up_when_the_janitor_was_killed_too() -> None:
    owner, name, child, janitor = start_owner("wait")
    os.kill(janitor, signal.SIGKILL)
    assert eventually(lambda: not lives(janitor))
    owner.kill()
    leave(owner)
    assert namespaces_of(name)

    with Laboratory():
        assert not namespaces_of(name)

    assert eventually(lambda: not lives(child))


def test_a_sweep_leaves_laboratories_that_are_in_use() -> None:
    owner, name, _, _ = start_owner("wait")
    with Laboratory() as ours:
        ours.add_node("node-1")

        swept = sweep()

        assert name not in swept
        assert ours.name not in swept
        assert len(namespaces_of(name)) == 3
        assert len(namespaces_of(ours.name)) == 2
    assert len(namespaces_of(name)) == 3
    leave(owner)
    assert not namespaces_of(name)
