"""What can go wrong, with which requests, how often and for how long: typed values that are also JSON.

Knows what a fault is and which values make sense. Knows nothing of HTTP or of how a fault is done.

    {"what": {"fault": "refuse", "status": 429, "retryAfter": 2},
     "requests": {"verbs": ["list", "watch"], "resource": "pods", "agent": "kopf"},
     "times": 3, "seconds": 10}
"""

import enum
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import Meta

from policy_controller.testing.api_server.faults.asked import Asked, Verb

EVERY: Final = frozenset(Verb)
WATCHES: Final = frozenset({Verb.WATCH})
LISTS: Final = frozenset({Verb.LIST})

ErrorStatus = Annotated[int, Meta(ge=400, le=599)]
Positive = Annotated[int, Meta(ge=1)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0)]


class Kind(
    msgspec.Struct, frozen=True, tag_field="fault", tag=None, rename="camel", forbid_unknown_fields=True
):
    """What goes wrong. `meets` are the verbs that it can go wrong with."""

    meets: ClassVar[frozenset[Verb]] = EVERY


class Refuse(Kind, frozen=True, tag="refuse"):
    """Answers with a Status of this code; `retry_after` seconds are told in the header and in the Status."""

    status: ErrorStatus
    retry_after: Count | None = None


class Reset(Kind, frozen=True, tag="reset"):
    """Resets the connection instead of answering, and that of open watches."""


class Hang(Kind, frozen=True, tag="hang"):
    """Takes the request and never answers, not even when the fault has ended: the connection is left as it is."""


class Trickle(Kind, frozen=True, tag="trickle"):
    """Sends bodies at so many bytes a second, those of watches too."""

    bytes_per_second: Positive


class Garbage(Kind, frozen=True, tag="garbage"):
    """Answers 200 with this body, as a proxy in between does that has a page of its own."""

    content_type: str = "text/html"
    body: str = "<html><body>It works!</body></html>"


class End(Kind, frozen=True, tag="end"):
    """Ends open watches in good order, as a restarting server does, and new ones as soon as they have begun."""

    meets: ClassVar[frozenset[Verb]] = WATCHES


class ErrorEvent(Kind, frozen=True, tag="error-event"):
    """Ends open watches with an ERROR event, and answers new ones with nothing else. 410: the version is too old."""

    meets: ClassVar[frozenset[Verb]] = WATCHES
    status: ErrorStatus = 410


class Stall(Kind, frozen=True, tag="stall"):
    """Sends nothing more on open watches, and on new ones nothing but the headers, and closes none of them."""

    meets: ClassVar[frozenset[Verb]] = WATCHES


class Disorder(enum.Enum):
    """What becomes of an event of a watch."""

    LOST = "lost"
    REPEATED = "repeated"
    """It comes twice."""
    SWAPPED = "swapped"
    """It comes after the one that follows it; until one does, it does not come."""


class Events(Kind, frozen=True, tag="events"):
    """Loses, repeats or swaps the events of watches, of open ones too. `times` counts events, bookmarks not."""

    meets: ClassVar[frozenset[Verb]] = WATCHES
    are: Disorder


class HalfList(Kind, frozen=True, tag="half-list"):
    """Sends half of a LIST's body and closes the connection."""

    meets: ClassVar[frozenset[Verb]] = LISTS


class StaleList(Kind, frozen=True, tag="stale-list"):
    """Answers a LIST with what was there right after this version, as a replica does that lags behind."""

    meets: ClassVar[frozenset[Verb]] = LISTS
    version: Positive


OF_OPEN_WATCHES: Final = (Reset, End, ErrorEvent, Stall)
"""What is done at once to the watches that are open. (Events and Trickle meet each event as it comes.)"""

What = Refuse | Reset | Hang | Trickle | Garbage | End | ErrorEvent | Stall | Events | HalfList | StaleList


class Requests(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests a fault meets: those for which all that is given holds.

    `resource` is `pods`, `networkpolicies.networking.k8s.io` and so on; `namespace` the one that is asked for by name;
    `agent` a part of the client's User-Agent.
    """

    verbs: Annotated[frozenset[Verb], Meta(min_length=1)] | None = None
    resource: str | None = None
    namespace: str | None = None
    agent: str | None = None

    def hold(self, asked: Asked) -> bool:
        """Whether a request is one of them."""
        return (
            (self.verbs is None or asked.verb in self.verbs)
            and (self.resource is None or asked.resource == self.resource)
            and (self.namespace is None or asked.namespace == self.namespace)
            and (self.agent is None or self.agent in asked.agent)
        )


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault in full. It ends after so many `times`, after so many `seconds`, or when somebody ends it.

    `times` 0 is over at once: it meets the watches that are open, and no request.
    """

    what: What
    requests: Requests = Requests()
    times: Count | None = None
    seconds: Seconds | None = None

    def meets(self, asked: Asked) -> bool:
        """Whether it has to do with a request."""
        return asked.verb in self.what.meets and self.requests.hold(asked)
