"""What every way to the operator's own certificate offers: the keeper's, and the user's files.

Knows nothing of either.
"""

import asyncio
from datetime import datetime
from typing import Protocol

from policy_controller.wire.channel import Certificate


class CertificateSource(Protocol):
    """Finds a certificate, and renews it for as long as it runs."""

    @property
    def ready(self) -> asyncio.Event:
        """Set once there is a certificate; from then on there always is one."""
        ...

    @property
    def ends(self) -> datetime | None:
        """When the certificate in use expires; None while there is none."""
        ...

    def certificate(self) -> Certificate:
        """The one to show now; may be asked by any thread, once `ready` is set."""
        ...

    def trouble(self) -> str:
        """Why there is no certificate, or why it may not be renewed in time: what was tried last; empty is well."""
        ...

    async def run(self) -> None:
        """Go on for ever."""
        ...


class NoCertificateYetError(RuntimeError):
    """Asked before `ready` was set."""
