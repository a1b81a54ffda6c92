"""The table of a program's settings: a frozen dataclass, each of whose fields says how it is written and what it is for.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Settings:
        listen: HostPort = setting(HOST_PORT, "Where nodes connect.", "[::]:9473")

Knows names and defaults. Knows nothing of files, flags or the environment's content.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from policy_controller.settings.kinds import Kind, Plain, whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
S = TypeVar("S", bound="DataclassInstance")

_ROW: Final = "row"
_NEXT_WORD: Final = re.compile(r"_(.)")


@dataclass(frozen=True, slots=True)
class Derived:
    """A default that the environment decides: what Kubernetes puts there for every container."""

    words: str
    """Where it is from, in plain words."""
    of: Callable[[Mapping[str, str]], str | None]
    """The text of the value; None where the environment has none."""


class Required:
    """No default: somebody must say it."""


REQUIRED: Final = Required()
Default = str | Derived | Required | None
"""The text of the default; None: the setting may be absent, and then is None."""


@dataclass(frozen=True, slots=True)
class Row:
    """One setting. `name` is the field's: `tls_cert` is `--tls-cert`, `PREFIX_TLS_CERT`, and `tlsCert` in a file."""

    name: str
    kind: Kind[Any]
    help: str
    default: Default
    variable: str | None
    """A variable of another name that is read as well: `NODE_NAME`."""

    @property
    def flag(self) -> str:
        """As the command line has it."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def key(self) -> str:
        """As files have it."""
        return _NEXT_WORD.sub(lambda found: found[1].upper(), self.name)

    @property
    def may_be_absent(self) -> bool:
        """Whether None is a value."""
        return self.default is None

    def default_in(self, environment: Mapping[str, str]) -> str | None:
        """The default's text; None where there is none."""
        if isinstance(self.default, Derived):
            return self.default.of(environment)
        return self.default if isinstance(self.default, str) else None

    def show(self, value: object) -> Plain:
        """The value as a file would hold it."""
        return None if value is None else self.kind.show(value)


@dataclass(frozen=True, slots=True)
class Table(Generic[S]):
    """The settings of a program; `prefix` begins the names of its variables."""

    program: str
    prefix: str
    settings: type[S]

    def rows(self) -> tuple[Row, ...]:
        """In the order in which they are written."""
        return tuple(
            dataclasses.replace(field.metadata[_ROW], name=field.name)
            for field in dataclasses.fields(self.settings)
        )

    def variables(self, row: Row) -> tuple[str, ...]:
        """The variables that set it, the first that is set counts."""
        own = f"{self.prefix}_{row.name.upper()}"
        return (own,) if row.variable is None else (own, row.variable)


def setting(
    kind: Kind[T], help_: str, default: str | Derived | Required = REQUIRED, *, variable: str | None = None
) -> T:
    """A field of a table that always has a value. `default` is written as in a flag."""
    return cast("T", _field(Row("", kind, help_, default, variable)))


def optional(kind: Kind[T], help_: str, *, variable: str | None = None) -> T | None:
    """A field of a table that may be absent."""
    return cast("T | None", _field(Row("", kind, help_, None, variable)))


def up_to(most: int, called: str, help_: str) -> int:
    """A field of whole numbers from 1 to `most`, which is the default as well: it can only be made less."""
    return setting(whole(called, 1, most), help_, str(most))


def _field(row: Row) -> object:
    metadata = {_ROW: row}
    text = row.default_in({})
    if text is not None:
        return dataclasses.field(default=row.kind.read(text), metadata=metadata)
    if row.may_be_absent:
        return dataclasses.field(default=None, metadata=metadata)
    return dataclasses.field(metadata=metadata)
