"""Who a token stands for: the developer, or a service account.

Knows the developer's own token. Knows nothing of requests, nor of what anybody may do.
"""

import hmac
import secrets
from collections.abc import Sequence

from policy_controller.testing.api_server.access.identity import DEVELOPER
from policy_controller.testing.api_server.access.tokens import AUDIENCE, Made, TokenRefusedError, Tokens


class Authenticator:
    """Knows one server's users by their tokens."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.developer_token = secrets.token_urlsafe(32)
        """The token of whoever may do everything; it is in the kubeconfig."""

    def authenticate(self, token: str, audiences: Sequence[str] = (AUDIENCE,)) -> Made:
        """Who shows this token, and which of these audiences it is for.

        Raises:
            TokenRefusedError: it does not hold, or is for none of them.
        """
        if hmac.compare_digest(token.encode(), self.developer_token.encode()):
            made = Made(DEVELOPER, (AUDIENCE,))
        else:
            made = self._tokens.read(token)
        shared = tuple(audience for audience in audiences if audience in made.audiences)
        if not shared:
            why = f"is invalid for the target audiences {_listed(audiences)}"
            raise TokenRefusedError(f"token audiences {_listed(made.audiences)} {why}")
        return Made(made.identity, shared)


def _listed(words: Sequence[str]) -> str:
    """As Go prints a list of texts."""
    return "[" + " ".join(f'"{word}"' for word in words) + "]"
