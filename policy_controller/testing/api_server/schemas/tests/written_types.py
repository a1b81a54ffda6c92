"""`python -m policy_controller.testing.api_server.schemas.tests.written_types` writes `types.json` anew.

The names and types of fields are read from lightkube's models, which are made from the API's own description. The
file is kept, so that the server runs without lightkube.
"""

import importlib
import inspect
import re
import types
import typing
from pathlib import Path
from typing import Final

import msgspec

from policy_controller.testing.api_server import schemas
from policy_controller.testing.api_server.resources import RESOURCES, SUBRESOURCES

PATH: Final = Path(schemas.__file__).with_name("types.json")

# lightkube calls every map `dict`. These hold something else than texts.
QUANTITY_MAPS: Final = frozenset(
    {
        "allocatable",
        "allocatedResources",
        "capacity",
        "default",
        "defaultRequest",
        "hard",
        "limits",
        "max",
        "maxLimitRequestRatio",
        "min",
        "overhead",
        "requests",
        "used",
    }
)
OTHER_MAPS: Final = {"extra": "{[string]}", "fieldsV1": "*"}
SCALARS: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}


def written() -> str:
    """The text of `types.json`: one type a line, sorted."""
    found: dict[str, dict[str, str]] = {}
    for api_version, kind in sorted(_kinds()):
        group, _, version = api_version.rpartition("/")
        module = importlib.import_module(
            f"lightkube.models.{group.partition('.')[0] or 'core'}_{version}".replace("-", "_")
        )
        _visit(getattr(module, kind), found)
    lines = (f'"{name}":{msgspec.json.encode(fields).decode()}' for name, fields in sorted(found.items()))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _kinds() -> set[tuple[str, str]]:
    own = {(row.api_version, row.kind) for row in RESOURCES}
    parts = {(part.api_version, part.kind) for part in SUBRESOURCES.values() if part.kind}
    return own | parts | {("meta/v1", "DeleteOptions"), ("meta/v1", "Status")}


def _visit(model: type, found: dict[str, dict[str, str]]) -> None:
    name = _name(model)
    if name in found:
        return
    fields = found[name] = {}
    sources = inspect.get_annotations(model)
    known = {field.name: field for field in msgspec.structs.fields(model)}
    for attribute, hint in sorted(typing.get_type_hints(model).items()):
        field = known[attribute]
        required = "!" if field.required else ""
        fields[field.encode_name] = _notation(field.encode_name, hint, sources[attribute], found) + required


def _notation(name: str, hint: object, source: str, found: dict[str, dict[str, str]]) -> str:
    hint = _without_none(hint)
    if typing.get_origin(hint) is list:
        return f"[{_notation(name, typing.get_args(hint)[0], source, found)}]"
    if "IntOrString" in source:
        return "int-or-string"
    if re.search(r"\bQuantity\b", source):
        return "quantity"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        _visit(hint, found)
        return _name(hint)
    if dict in {hint, typing.get_origin(hint)}:
        quantities = "{quantity}" if name in QUANTITY_MAPS else "{string}"
        return "*" if "RawExtension" in source else OTHER_MAPS.get(name, quantities)
    return SCALARS.get(hint, "string") if isinstance(hint, type) else "string"


def _without_none(hint: object) -> object:
    if typing.get_origin(hint) not in {typing.Union, types.UnionType}:
        return hint
    rest = [option for option in typing.get_args(hint) if option is not type(None)]
    return rest[0]


def _name(model: type) -> str:
    return f"{model.__module__.rpartition('.')[2].replace('_', '.')}.{model.__name__}"


if __name__ == "__main__":
    PATH.write_text(written())
