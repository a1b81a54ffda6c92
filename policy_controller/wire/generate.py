"""Makes the checked-in stubs of enforcement.proto: `python -m policy_controller.wire.generate [DIRECTORY]`.

Knows the proto compiler and its plugins, which developers have. Nothing at run time imports this.
"""

import sys
from pathlib import Path
from typing import Final

from grpc_tools import protoc  # type: ignore[import-untyped]  # ships without types

PROTO: Final = Path("policy_controller/wire/enforcement.proto")
REPOSITORY: Final = Path(__file__).parents[2]
STUBS: Final = (
    "enforcement_pb2.py",
    "enforcement_pb2.pyi",
    "enforcement_pb2_grpc.py",
    "enforcement_pb2_grpc.pyi",
)


def generate(target: Path) -> None:
    """Write the stubs below `target`, at the place they have in the repository; raises RuntimeError when protoc fails.

    The proto path is the root of the repository, so that the stubs import each other as modules of this package.
    """
    plugins = Path(sys.executable).parent
    code = protoc.main(
        [
            "protoc",
            f"--proto_path={REPOSITORY}",
            f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
            f"--python_out={target}",
            f"--grpc_python_out={target}",
            f"--mypy_out={target}",
            f"--mypy_grpc_out={target}",
            str(REPOSITORY / PROTO),
        ]
    )
    if code != 0:
        raise RuntimeError(f"protoc ended with {code}")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY)
