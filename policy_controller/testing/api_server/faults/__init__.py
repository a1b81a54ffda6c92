"""Faults on demand: what an API server does to its clients on a bad day, begun and ended at an exact moment.

    values      what goes wrong, with which requests, how often, for how long: typed, and as JSON
    answers     those of whole requests, by name
    asked       what a request asks for
    standing    the faults in force, and the watches that are open
    streams     the stream of a watch, as faults leave it
    middleware  puts faults into force around the server's own handlers
    control     `/_faults`: list, begin and end them over HTTP

A server that was not given a `Faults` has none of this on its way.
"""

from policy_controller.testing.api_server.faults.answers import ANSWERS
from policy_controller.testing.api_server.faults.asked import Verb
from policy_controller.testing.api_server.faults.middleware import middleware
from policy_controller.testing.api_server.faults.standing import Faults, Standing
from policy_controller.testing.api_server.faults.values import (
    Disorder,
    End,
    ErrorEvent,
    Events,
    Fault,
    Garbage,
    HalfList,
    Hang,
    Refuse,
    Requests,
    Reset,
    StaleList,
    Stall,
    Trickle,
    What,
)

__all__ = [
    "ANSWERS",
    "Disorder",
    "End",
    "ErrorEvent",
    "Events",
    "Fault",
    "Faults",
    "Garbage",
    "HalfList",
    "Hang",
    "Refuse",
    "Requests",
    "Reset",
    "StaleList",
    "Stall",
    "Standing",
    "Trickle",
    "Verb",
    "What",
    "middleware",
]
