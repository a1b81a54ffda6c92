"""Loading an example: its files read, its pods placed, its expectations about them.

Knows the names of the files. This is the one module here that reads files.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compilers.model.cluster import Cluster
from compilers.model.faults import Fault, ObjectRef
from compilers.parse.cluster import parse_cluster
from compilers.parse.source import Document, read_documents
from policy_controller.testing.examples.expectations import Expectation, read_expectations
from policy_controller.testing.examples.placement import NODES, place

POLICIES: Final = "policies.yaml"
WORKLOADS: Final = "workloads.yaml"
EXPECTED: Final = "expected.yaml"


class ExampleError(ValueError):
    """What is wrong with an example's files: every fault, one a line, with file, line and column."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(frozen=True, slots=True)
class Example:
    """An example: its cluster with every pod placed, and what must hold in it."""

    name: str
    cluster: Cluster
    expectations: tuple[Expectation, ...]


def examples_in(directory: Path) -> tuple[Path, ...]:
    """The folders of a directory that hold an example, sorted by name."""
    return tuple(sorted(path.parent for path in directory.glob(f"*/{EXPECTED}")))


def load_example(path: Path) -> Example:
    """The example in a folder.

    Raises ExampleError for faults in its files, PlacementError for a pod without a place, OSError for reading.
    """
    cluster = place(_cluster([path / POLICIES, path / WORKLOADS]), NODES)
    documents = _documents([path / EXPECTED])
    if len(documents) != 1:
        fault = f"must hold one document, not {len(documents)}"
        raise ExampleError([Fault(ObjectRef("Expectations", "", str(path / EXPECTED)), (), fault)])
    expected = read_expectations(documents[0], cluster)
    if expected.faults:
        raise ExampleError(expected.faults)
    return Example(path.name, cluster, expected.expectations)


def load_workloads(path: Path) -> Cluster:
    """All objects in the YAML and JSON files of a folder, pods placed; expectations are left aside.

    Raises ExampleError for faults in the files, PlacementError for a pod without a place, OSError for reading.
    """
    files = sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml", ".json"})
    return place(_cluster([file for file in files if file.name != EXPECTED]), NODES)


def _cluster(files: Iterable[Path]) -> Cluster:
    parsed = parse_cluster(_documents(files))
    if parsed.faults:
        raise ExampleError(parsed.faults)
    return parsed.cluster


def _documents(files: Iterable[Path]) -> list[Document]:
    documents: list[Document] = []
    faults: list[Fault] = []
    for file in files:
        # Bytes that are not UTF-8 become a fault of the reader, with line and column.
        read = read_documents(file.read_text("utf-8", "surrogateescape"), str(file))
        documents += read.documents
        faults += read.faults
    if faults:
        raise ExampleError(faults)
    return documents
