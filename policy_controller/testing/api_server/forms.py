"""Forms: in which form a client wants its answer, read from the Accept header.

Knows media types and their parameters. Knows nothing of what is answered.
"""

import enum
from dataclasses import dataclass
from typing import Final

from policy_controller.testing.api_server.errors import not_acceptable

JSON: Final = "application/json"
ACCEPTED: Final = frozenset({JSON, "application/*", "*/*"})


class Form(enum.Enum):
    """In which form a document is sent; the value is what `as` may say of it."""

    PLAIN = ()
    TABLE = ("Table",)
    METADATA = ("PartialObjectMetadata", "PartialObjectMetadataList")
    DISCOVERY = ("APIGroupDiscoveryList",)


@dataclass(frozen=True, slots=True)
class _Parameters:
    group: str
    version: str


_KNOWN: Final = {
    Form.TABLE: _Parameters("meta.k8s.io", "v1"),
    Form.METADATA: _Parameters("meta.k8s.io", "v1"),
    Form.DISCOVERY: _Parameters("apidiscovery.k8s.io", "v2"),
}


def read_form(header: str, *offered: Form) -> Form:
    """The first form of the header that is offered; plain JSON is, always.

    Raises:
        ApiError: 406 when the client takes none of them.
    """
    if not header:
        return Form.PLAIN
    for part in header.split(","):
        media_type, *parameters = (word.strip() for word in part.split(";"))
        if media_type not in ACCEPTED:
            continue
        given = dict(word.partition("=")[::2] for word in parameters)
        if "as" not in given:
            return Form.PLAIN
        for form in offered:
            known = _KNOWN[form]
            if given["as"] in form.value and (given.get("g"), given.get("v")) == (known.group, known.version):
                return form
    raise not_acceptable([JSON])
