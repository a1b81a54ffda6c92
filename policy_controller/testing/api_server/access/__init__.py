"""Who asks, who may do what, and the reviews that answer both.

    identity    users, groups, service accounts; who a request is taken for
    rbac        the stored roles and bindings, evaluated
    tokens      tokens of service accounts that this server made
    reviews     TokenReview, SubjectAccessReview and their kin
    bootstrap   the roles that every cluster has

Nothing here refuses a request: the server listens for its developer. It says what a cluster with these objects would
allow.
"""

from policy_controller.testing.api_server.access.bootstrap import BOOTSTRAP
from policy_controller.testing.api_server.access.identity import DEVELOPER, Identity
from policy_controller.testing.api_server.access.reviews import Reviews
from policy_controller.testing.api_server.access.tokens import Tokens

__all__ = ["BOOTSTRAP", "DEVELOPER", "Identity", "Reviews", "Tokens"]
