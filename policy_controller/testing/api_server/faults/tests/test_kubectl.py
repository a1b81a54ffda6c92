"""The real kubectl under each fault: what it says, how it ends, and that it works again afterwards."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import (
    ANSWERS,
    Disorder,
    End,
    ErrorEvent,
    Events,
    Fault,
    Faults,
    HalfList,
    Hang,
    Refuse,
    Requests,
    Reset,
    StaleList,
    Stall,
    Trickle,
    Verb,
    What,
)
from policy_controller.testing.api_server.faults.tests.conftest import PODS, eventually
from policy_controller.testing.api_server.tests.raw import pod
from policy_controller.testing.client_tools import CommandLine

Record = Callable[[str, object], None]

COUNTED = "faults of the API server, seen by kubectl"
OF_PODS = Requests(resource="pods")
NAMES = [f"p{number}" for number in range(PODS)]
OPEN_ONLY = 0
GET = ("get", "pods", "-o", "name")
WATCH = ("get", "pods", "-w", "-o", "name")
TABLE = ("get", "pods", "-w", "--no-headers")


@pytest.fixture
def cluster(kubectl: Path, server: ApiServer, tmp_path: Path) -> CommandLine:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(server.kubeconfig())
    return CommandLine(kubectl, kubeconfig, tmp_path)


def named(out: str) -> list[str]:
    return [line.removeprefix("pod/") for line in out.splitlines()]


@dataclass(frozen=True, slots=True)
class Row:
    """How kubectl takes a fault of every LIST: its exit code, a pattern of its complaint, what it shows."""

    code: int
    words: str = ""
    shown: tuple[str, ...] = ()
    times: int | None = None
    flags: tuple[str, ...] = ()


EVERYTHING = tuple(NAMES)
LATE = "Client.Timeout|context deadline exceeded"
"""Either of two timers of kubectl may be the first to run out."""
LISTS: dict[str, What] = {**ANSWERS, "slow": Trickle(8_000), "half": HalfList()}
ROWS = {
    "401": Row(1, "You must be logged in to the server"),
    "403": Row(1, "Forbidden"),
    "410": Row(1, "Expired"),
    "429": Row(1, "TooManyRequests"),
    "429 with Retry-After": Row(0, "", EVERYTHING, times=1),
    "500": Row(1, "InternalError"),
    "503": Row(1, "ServiceUnavailable"),
    "503 with Retry-After": Row(0, "", EVERYTHING, times=1),
    "reset": Row(0, "", EVERYTHING, times=1),
    "hang": Row(1, LATE, flags=("--request-timeout=1s",)),
    "too slow": Row(1, LATE, flags=("--request-timeout=1s",)),
    "slow": Row(0, "", EVERYTHING),
    "half": Row(1, "unexpected EOF"),
    "a web page": Row(1, "serializer for text/html doesn't exist"),
    "an empty document": Row(1, "Kind"),
    "no JSON": Row(1, "unexpected end of JSON input"),
}


@pytest.mark.parametrize("name", LISTS)
async def test_kubectl_get_says_what_is_wrong_and_works_again(
    cluster: CommandLine, faults: Faults, name: str, record_property: Record
) -> None:
    row = ROWS[name]
    assert (await cluster.run(*GET)).code == 0
    with faults.during(LISTS[name], OF_PODS, row.times) as standing:
        ended = await cluster.run(*GET, *row.flags)
    assert (ended.code, tuple(named(ended.out))) == (row.code, row.shown)
    assert re.search(row.words, ended.err)
    assert (ended.err == "") is (row.code == 0)
    assert standing.met == 1
    again = await cluster.run(*GET)
    assert (again.code, named(again.out)) == (0, NAMES)
    record_property(COUNTED, 1)


@pytest.mark.whole
async def test_kubectl_gives_up_after_ten_resets(cluster: CommandLine, faults: Faults) -> None:
    with faults.during(Reset(), OF_PODS) as standing:
        ended = await cluster.run(*GET)
    assert ended.code == 1
    assert "connection reset by peer" in ended.err
    assert standing.met > 10


async def test_kubectl_shows_what_a_stale_list_shows(
    cluster: CommandLine, server: ApiServer, faults: Faults, record_property: Record
) -> None:
    then = server.resource_version
    server.delete("Pod", "p0")
    with faults.during(StaleList(then), OF_PODS):
        assert named((await cluster.run(*GET)).out) == NAMES
    assert named((await cluster.run(*GET)).out) == NAMES[1:]
    record_property(COUNTED, 1)


WATCHES: dict[str, tuple[What, str]] = {
    "end": (End(), ""),
    "reset": (Reset(), ""),
    "410": (ErrorEvent(), "too old resource version"),
    "500": (ErrorEvent(500), "an error on the server"),
}
"""By fault of an open watch: words of the complaint. The exit code is 0 in all of them."""


@pytest.mark.parametrize(("what", "words"), WATCHES.values(), ids=list(WATCHES))
async def test_kubectl_get_w_ends_with_its_watch_and_begins_again(
    cluster: CommandLine,
    server: ApiServer,
    faults: Faults,
    what: What,
    words: str,
    record_property: Record,
) -> None:
    async with cluster.following(*TABLE) as following:
        assert [(await following.line()).split()[0] for _ in NAMES] == NAMES
        await eventually(lambda: server.open_watches == 1)
        standing = faults.begin(Fault(what, OF_PODS, times=OPEN_ONLY))
        ended = await following.ended()
    assert standing.met == 1
    assert (ended.code, words in ended.out, ended.err) == (0, True, "")
    async with cluster.following(*WATCH) as following:
        await following.until("pod/p4")
        await eventually(lambda: server.open_watches == 1)
        server.apply({**pod("p2"), "status": {"phase": "Running"}})
        assert await following.line() == "pod/p2"
    record_property(COUNTED, 1)


BEGINNINGS: dict[str, tuple[What, int, str]] = {
    "end": (End(), 0, ""),
    "401": (Refuse(401), 1, "You must be logged in"),
    "403": (Refuse(403), 1, "Forbidden"),
    "410": (Refuse(410), 1, "too old resource version"),
    "410 as an event": (ErrorEvent(), 0, "too old resource version"),
    "429": (Refuse(429), 1, "TooManyRequests"),
    "500": (Refuse(500), 1, "InternalError"),
    "503": (Refuse(503), 1, "ServiceUnavailable"),
    "stall": (Stall(), 0, ""),
}
"""By fault of a watch that begins: exit code and words of the complaint."""


@pytest.mark.parametrize(("what", "code", "words"), BEGINNINGS.values(), ids=list(BEGINNINGS))
async def test_kubectl_get_w_shows_the_list_and_ends_when_its_watch_cannot_begin(
    cluster: CommandLine, faults: Faults, what: What, code: int, words: str, record_property: Record
) -> None:
    of_watches = Requests(verbs=frozenset({Verb.WATCH}), resource="pods")
    with faults.during(what, of_watches) as standing:
        ended = await cluster.run(*TABLE, "--request-timeout=1s")
    assert standing.met == 1
    assert [line.split()[0] for line in ended.out.splitlines()[:PODS]] == NAMES
    assert (ended.code, words in ended.out + ended.err) == (code, True)
    assert named((await cluster.run(*GET)).out) == NAMES
    record_property(COUNTED, 1)


async def test_kubectl_get_w_asks_again_for_a_watch_that_hangs(
    cluster: CommandLine, server: ApiServer, faults: Faults, record_property: Record
) -> None:
    of_watches = Requests(verbs=frozenset({Verb.WATCH}), resource="pods")
    faults.begin(Fault(Hang(), of_watches, times=1))
    async with cluster.following(*WATCH, "--request-timeout=1s") as following:
        await following.until("pod/p4")
        await eventually(lambda: server.open_watches == 1)
        server.apply({**pod("p2"), "status": {"phase": "Running"}})
        assert await following.line() == "pod/p2"
    record_property(COUNTED, 1)


async def test_kubectl_get_w_on_a_stalled_watch_waits_and_a_new_one_sees(
    cluster: CommandLine, server: ApiServer, faults: Faults, record_property: Record
) -> None:
    async with cluster.following(*WATCH, seconds=0.5) as following:
        await eventually(lambda: server.open_watches == 1)
        await following.until("pod/p4")
        faults.begin(Fault(Stall(), OF_PODS, times=OPEN_ONLY))
        server.delete("Pod", "p0")
        with pytest.raises(TimeoutError):
            await following.line()
        assert following.running
    assert named((await cluster.run(*GET)).out) == NAMES[1:]
    record_property(COUNTED, 1)


DISORDERS = {
    Disorder.LOST: ["p2"],
    Disorder.REPEATED: ["p0", "p0", "p1", "p1", "p2"],
    Disorder.SWAPPED: ["p1", "p0", "p2"],
}


@pytest.mark.parametrize(("are", "seen"), DISORDERS.items(), ids=[are.value for are in DISORDERS])
async def test_kubectl_get_w_shows_events_as_they_come(
    cluster: CommandLine,
    server: ApiServer,
    faults: Faults,
    are: Disorder,
    seen: list[str],
    record_property: Record,
) -> None:
    async with cluster.following(*WATCH) as following:
        await following.until("pod/p4")
        await eventually(lambda: server.open_watches == 1)
        with faults.during(Events(are), OF_PODS) as standing:
            for name in ("p0", "p1"):
                server.apply({**pod(name), "status": {"phase": "Running"}})
            wanted = 1 if are is Disorder.SWAPPED else 2
            await eventually(lambda: standing.met == wanted)
        server.apply({**pod("p2"), "status": {"phase": "Running"}})
        assert [await following.line() for _ in seen] == [f"pod/{name}" for name in seen]
    record_property(COUNTED, 1)


async def test_kubectl_itself_begins_and_ends_faults(
    cluster: CommandLine, tmp_path: Path, record_property: Record
) -> None:
    (tmp_path / "fault.json").write_text(
        '{"what": {"fault": "refuse", "status": 503}, "requests": {"resource": "pods"}}'
    )
    began = await cluster.run("create", "--raw", "/_faults", "-f", str(tmp_path / "fault.json"))
    assert began.code == 0
    assert "ServiceUnavailable" in (await cluster.run(*GET)).err
    assert '"met":1' in (await cluster.run("get", "--raw", "/_faults")).out
    assert (await cluster.run("delete", "--raw", "/_faults")).code == 0
    assert (await cluster.run(*GET)).code == 0
    record_property(COUNTED, 1)
