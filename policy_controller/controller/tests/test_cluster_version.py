"""The version of Kubernetes: read as API servers say it, and told when it is too old."""

import asyncio
import importlib
import warnings
from pathlib import Path

import pytest
from kr8s._constants import KUBERNETES_MINIMUM_SUPPORTED_VERSION

from policy_controller.controller.api import Kr8sApi
from policy_controller.controller.cluster_version import (
    AGAIN_SECONDS,
    OLDEST,
    RETRY_SECONDS,
    ClusterVersion,
    complaint,
)
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.clock import FakeClock

MAJOR, MINOR = OLDEST


@pytest.mark.parametrize(
    ("version", "word"),
    [
        (f"v{MAJOR}.{MINOR}.0", None),
        (f"v{MAJOR}.{MINOR}.15+k3s1", None),
        (f"v{MAJOR}.{MINOR}.9-eks-113cf36", None),
        (f"v{MAJOR}.{MINOR + 100}.0", None),
        (f"v{MAJOR}.{MINOR - 1}.16", "older than"),
        (f"v{MAJOR - 1}.99.0", "older than"),
        ("unknown", "does not say"),
        ("", "does not say"),
        ("v1.99999", "does not say"),
    ],
)
def test_a_version_is_supported_or_told_in_one_sentence(version: str, word: str | None) -> None:
    told = complaint(version)
    assert (told is None) is (word is None)
    if told is not None and word is not None:
        assert word in told
        assert f"{MAJOR}.{MINOR}" in told


def test_the_client_library_is_tried_with_the_oldest_version() -> None:
    minimum = KUBERNETES_MINIMUM_SUPPORTED_VERSION
    assert (minimum.major, minimum.minor) <= OLDEST


class Saying:
    """An API server that says what it is told to; an exception is no answer."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    async def version(self) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_it_is_asked_for_until_there_is_an_answer_and_again_after_an_upgrade(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    old, new = {"gitVersion": "v1.2.3"}, {"gitVersion": f"v{MAJOR}.{MINOR}.0"}
    version = ClusterVersion(Saying(OSError("gone"), old, old, new, ["hostile"]), clock)
    running = asyncio.create_task(version.run())

    def told() -> tuple[str, str | None]:
        return version.name, version.warning

    await clock.advance(0.0)
    assert told() == ("", None)
    await clock.advance(RETRY_SECONDS)
    assert told() == ("v1.2.3", complaint("v1.2.3"))
    await clock.advance(AGAIN_SECONDS)
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [complaint("v1.2.3")]
    await clock.advance(AGAIN_SECONDS)
    assert told() == (new["gitVersion"], None)
    await clock.advance(AGAIN_SECONDS)
    assert version.name == "unknown"
    running.cancel()


async def test_an_api_server_says_its_version_over_http(server: ApiServer, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(server.kubeconfig())
    told = await Kr8sApi(str(kubeconfig)).version()
    assert isinstance(told, dict)
    assert complaint(told["gitVersion"]) is None


async def test_the_client_librarys_own_opinion_of_a_version_is_not_told(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package has a function of the module's name.
    module = importlib.import_module("kr8s._api")
    monkeypatch.setattr(module, "KUBERNETES_MAXIMUM_SUPPORTED_VERSION", KUBERNETES_MINIMUM_SUPPORTED_VERSION)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(server.kubeconfig())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await Kr8sApi(str(kubeconfig)).version()
    assert [str(one.message) for one in caught if "Kubernetes" in str(one.message)] == []
