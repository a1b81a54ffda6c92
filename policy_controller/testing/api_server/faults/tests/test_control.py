"""`/_faults`: begun, listed and ended over HTTP, with sentences for what is no fault; and not there unasked."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import (
    Disorder,
    Events,
    Fault,
    Faults,
    Garbage,
    Refuse,
    Requests,
    StaleList,
    Verb,
)
from policy_controller.testing.api_server.features import Features, Permission
from policy_controller.testing.api_server.tests.raw import DEADLINE, PODS, RawClient

PATH = "/_faults"


async def test_faults_begin_are_listed_and_end_over_http(client: RawClient) -> None:
    assert (await client.get(PATH)).body == {"faults": []}
    asked = {"what": {"fault": "refuse", "status": 429, "retryAfter": 2}, "requests": {"verbs": ["list"]}}
    one = await client.post(PATH, asked)
    two = await client.post(PATH, {"what": {"fault": "hang"}, "requests": {"agent": "nobody"}, "times": 3})
    assert [one.body["number"], two.body["number"]] == [1, 2]
    assert (await client.get(PODS)).code == 429
    listed = (await client.get(PATH)).body["faults"]
    assert [(row["number"], row["met"]) for row in listed] == [(1, 1), (2, 0)]
    assert listed[0]["fault"]["what"] == asked["what"]
    assert (await client.do("DELETE", f"{PATH}/1")).code == 200
    assert (await client.get(PODS)).code == 200
    assert (await client.do("DELETE", f"{PATH}/1")).code == 404
    assert (await client.do("DELETE", PATH)).body == {"faults": []}
    assert (await client.do("PUT", PATH)).code == 405


async def test_server_that_authorises_lets_its_developer_begin_faults_and_nobody_else() -> None:
    features = Features(permission=Permission.AUTHORIZED)
    async with (
        ApiServer.running(faults=Faults(), features=features) as server,
        aiohttp.ClientSession(server.url) as session,
    ):
        own = {"Authorization": f"Bearer {server.developer_token}"}
        for headers, code in (({}, 403), ({"Authorization": "Bearer x"}, 401), (own, 200)):
            async with session.get(PATH, headers=headers) as answer:
                assert answer.status == code


async def test_no_fault_meets_the_control_path(client: RawClient) -> None:
    await client.post(PATH, {"what": {"fault": "reset"}})
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.get(PODS)
    assert (await client.do("DELETE", PATH)).code == 200
    assert (await client.get(PODS)).code == 200


NO_FAULTS: dict[str, tuple[Any, str]] = {
    "nothing": ({}, "missing required field `what`"),
    "another word": ({"what": {"fault": "meltdown"}}, "Invalid value 'meltdown'"),
    "an unknown field": ({"what": {"fault": "hang", "for": 1}}, "unknown field `for`"),
    "a misspelt limit": ({"what": {"fault": "hang"}, "time": 1}, "unknown field `time`"),
    "no error": ({"what": {"fault": "refuse", "status": 200}}, "`int` >= 400"),
    "no verbs": ({"what": {"fault": "hang"}, "requests": {"verbs": []}}, "length >= 1"),
    "no verb": ({"what": {"fault": "hang"}, "requests": {"verbs": ["look"]}}, "Invalid enum value 'look'"),
    "no time": ({"what": {"fault": "hang"}, "seconds": 0}, "`float` > 0"),
    "a number": (7, "Expected `object`"),
}


@pytest.mark.parametrize(("document", "words"), NO_FAULTS.values(), ids=list(NO_FAULTS))
async def test_what_is_no_fault_is_refused_with_the_reason(
    client: RawClient, document: object, words: str
) -> None:
    answer = await client.post(PATH, document)
    assert (answer.code, answer.body["kind"]) == (400, "Status")
    assert words in answer.body["message"]
    assert (await client.get(PATH)).body == {"faults": []}


def test_every_fault_survives_its_json() -> None:
    for what in (Refuse(410), Garbage(), StaleList(3), Events(Disorder.SWAPPED)):
        fault = Fault(what, Requests(verbs=frozenset({Verb.WATCH}), resource="pods"), times=1, seconds=2.0)
        assert msgspec.json.decode(msgspec.json.encode(fault), type=Fault) == fault


async def test_a_server_without_faults_has_no_such_path() -> None:
    async with ApiServer.running() as server, aiohttp.ClientSession(server.url) as session:
        assert (await RawClient(session).get(PATH)).code == 404


@pytest.mark.parametrize(("flags", "code"), [((), 404), (("--faults",), 200)], ids=["unasked", "asked"])
async def test_the_command_has_the_path_only_when_asked(
    tmp_path: Path, flags: tuple[str, ...], code: int
) -> None:
    arguments = ["-m", "policy_controller.testing.api_server", *flags]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            url = (await process.stdout.readline()).decode().strip()
        async with aiohttp.ClientSession(url) as session:
            assert (await RawClient(session).get(PATH)).code == code
    finally:
        process.terminate()
        await process.communicate()


async def test_faults_in_process_are_those_of_the_path(client: RawClient, faults: Faults) -> None:
    with faults.during(Refuse(500)) as standing:
        (row,) = (await client.get(PATH)).body["faults"]
        assert row["number"] == standing.number
