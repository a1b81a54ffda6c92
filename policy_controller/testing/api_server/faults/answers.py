"""Answers that are none, by name: what every client of an API server should be tried with.

Knows faults of whole requests. How a client takes each, its own tests say.
"""

from collections.abc import Mapping
from typing import Final

from policy_controller.testing.api_server.faults.values import Garbage, Hang, Refuse, Reset, Trickle, What

ANSWERS: Final[Mapping[str, What]] = {
    "401": Refuse(401),
    "403": Refuse(403),
    "410": Refuse(410),
    "429": Refuse(429),
    "429 with Retry-After": Refuse(429, retry_after=1),
    "500": Refuse(500),
    "503": Refuse(503),
    "503 with Retry-After": Refuse(503, retry_after=1),
    "reset": Reset(),
    "hang": Hang(),
    "too slow": Trickle(50),
    "a web page": Garbage(),
    "an empty document": Garbage("application/json", "{}"),
    "no JSON": Garbage("application/json", "{"),
}
