"""The objects of this folder, read once."""

from pathlib import Path

import pytest

from manifests.tests.reading import Json, built


@pytest.fixture(scope="session")
def documents(kubectl: Path) -> tuple[Json, ...]:
    return built(kubectl)
