"""Which authorities the Secret should hold, which are published, and which of them signs.

Knows the order of a rotation, as a function of what the Secret holds and the time. Knows no API server, and keeps
nothing. Only keys are new each time.

    eight months old    another is made, put into the Secret and published at once; the one before it goes on signing
    an hour later       the newer signs: every enforcer has read the ConfigMap anew by then
    a year old          the older has ended, and leaves Secret and ConfigMap
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from policy_controller.controller.identity.authority import Authority, InvalidAuthority

ROTATED: Final = timedelta(days=243)
"""The age at which another authority is made."""
SETTLED: Final = timedelta(hours=1)
"""The age from which an authority signs. A kubelet brings a changed ConfigMap to its pods within about two minutes."""
AHEAD: Final = timedelta(days=1)
"""How much later than now an authority may have been made, since another operator's clock may be ahead. One that is later
is of a clock that was wrong, and until that day no enforcer takes what it signs for valid."""

KEY: Final = "ca.key"
CERTIFICATE: Final = "ca.crt"
PREVIOUS_KEY: Final = "previous.key"
PREVIOUS_CERTIFICATE: Final = "previous.crt"
KEYS: Final = (CERTIFICATE, KEY, PREVIOUS_CERTIFICATE, PREVIOUS_KEY)
"""Keys of the Secret; the ConfigMap has CERTIFICATE alone."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """The newest, and the one before it until it has ended."""

    newest: Authority
    previous: Authority | None = None

    @property
    def bundle(self) -> bytes:
        """Whom enforcers should trust: PEM, the newest first."""
        older = b"" if self.previous is None else self.previous.certificate
        return self.newest.certificate + older

    def signer(self, now: datetime, published: bytes) -> Authority:
        """Who signs now, where `published` is the bundle that enforcers can read."""
        if self.previous is None or now >= self.previous.ends:
            return self.newest
        # An authority that could not be published would cut off who connects.
        settled = now >= self.newest.made + SETTLED and self.newest.certificate in published
        return self.newest if settled else self.previous


def desired(held: Authorities | None, now: datetime) -> Authorities:
    """What the Secret should hold, where it holds this; the same value when nothing is to be done."""
    if held is not None and held.newest.made > now + AHEAD:
        held = None if held.previous is None else Authorities(held.previous)
    if held is None or now >= held.newest.ends:
        return Authorities(Authority.new(now))
    if now >= held.newest.made + ROTATED:
        return Authorities(Authority.new(now), previous=held.newest)
    if held.previous is not None and now >= held.previous.ends:
        return Authorities(held.newest)
    return held


def read(data: object) -> Authorities:
    """The authorities in the `data` of a Secret; raises InvalidAuthority where it has no newest one.

    A previous one that cannot be read signs nothing any more, and counts as not there.
    """
    if not isinstance(data, Mapping):
        raise InvalidAuthority("it is empty")
    newest = Authority.read(_bytes(data, KEY), _bytes(data, CERTIFICATE))
    try:
        previous = Authority.read(_bytes(data, PREVIOUS_KEY), _bytes(data, PREVIOUS_CERTIFICATE))
    except InvalidAuthority:
        return Authorities(newest)
    return Authorities(newest, previous)


def written(authorities: Authorities) -> dict[str, str]:
    """The `data` of a Secret that holds them."""
    newest, previous = authorities.newest, authorities.previous
    texts = {KEY: newest.key, CERTIFICATE: newest.certificate}
    if previous is not None:
        texts |= {PREVIOUS_KEY: previous.key, PREVIOUS_CERTIFICATE: previous.certificate}
    return {name: base64.b64encode(text).decode() for name, text in sorted(texts.items())}


def _bytes(data: Mapping[str, object], name: str) -> bytes:
    text = data.get(name)
    if not isinstance(text, str):
        raise InvalidAuthority(f"{name} is not there")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise InvalidAuthority(f"{name} is not base64") from fault
