"""Who asks, who may do what, and the reviews that answer both.

    identity        users, groups, service accounts
    signed          tokens as signed documents
    claims          what they say
    tokens          tokens of service accounts: how they are made, whether they still hold
    authentication  who a token stands for
    attributes      what a request asks for
    rbac            the stored roles and bindings, evaluated
    record          what was asked
    telling         `/_access`, where that is told
    gate            before every request
    reviews         TokenReview, SubjectAccessReview and their kin
    bootstrap       the roles that every cluster has

Unless the server is told to authorise, nothing here refuses a request: it listens for its developer, and says what a
cluster with these objects would allow.
"""

from policy_controller.testing.api_server.access.authentication import Authenticator
from policy_controller.testing.api_server.access.bootstrap import BOOTSTRAP
from policy_controller.testing.api_server.access.gate import ADMITTED, Gate
from policy_controller.testing.api_server.access.identity import DEVELOPER, Identity
from policy_controller.testing.api_server.access.record import Record, unused
from policy_controller.testing.api_server.access.reviews import Reviews
from policy_controller.testing.api_server.access.tokens import Tokens

__all__ = [
    "ADMITTED",
    "BOOTSTRAP",
    "DEVELOPER",
    "Authenticator",
    "Gate",
    "Identity",
    "Record",
    "Reviews",
    "Tokens",
    "unused",
]
