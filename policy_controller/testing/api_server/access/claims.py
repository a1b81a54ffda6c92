"""What a token of a service account claims: RFC 7519's names, and Kubernetes' own below `kubernetes.io`.

Knows the claims and how they are spelt. Knows nothing of signatures nor of whether a claim still holds.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from policy_controller.testing.api_server.access.identity import Identity, account_groups, account_user

EXTRA: Final = "authentication.kubernetes.io"


class Ref(msgspec.Struct, frozen=True, omit_defaults=True):
    """An object that a token is about, or bound to."""

    name: str
    uid: str = ""


class Subject(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose token it is, and what must be there while it is good."""

    namespace: str
    serviceaccount: Ref
    node: Ref | None = None
    pod: Ref | None = None
    secret: Ref | None = None


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """All claims; times are whole seconds since 1970."""

    aud: list[str]
    exp: int
    iat: int
    iss: str
    nbf: int
    sub: str
    kubernetes: Subject = msgspec.field(name="kubernetes.io")
    jti: str = ""

    def identity(self) -> Identity:
        """Who shows this token."""
        subject = self.kubernetes
        account = subject.serviceaccount
        user = account_user(subject.namespace, account.name)
        return Identity(user, account_groups(subject.namespace), account.uid, dict(self._extra()))

    def _extra(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        if self.jti:
            yield f"{EXTRA}/credential-id", (f"JTI={self.jti}",)
        named: Mapping[str, Ref | None] = {"node": self.kubernetes.node, "pod": self.kubernetes.pod}
        for word, ref in named.items():
            if ref is not None:
                yield f"{EXTRA}/{word}-name", (ref.name,)
                # A token can name a node that has no object (yet): then it has no uid.
                if ref.uid:
                    yield f"{EXTRA}/{word}-uid", (ref.uid,)
