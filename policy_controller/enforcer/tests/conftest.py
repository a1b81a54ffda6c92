"""What tests of the real process share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from policy_controller.enforcer.tests.host import Host
from policy_controller.testing.namespaces import PrivateNamespace


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with PrivateNamespace() as network:
        yield Host(network, tmp_path)
