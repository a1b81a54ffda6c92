"""The API server by kr8s, with the credentials that a kubeconfig has, and what its refusals mean.

Knows credentials and status codes. Knows nothing of what is asked.
"""

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import kr8s
import kr8s.asyncio

from policy_controller.cli.reach.way import NotReached, Way

FORBIDDEN: Final = 403
UNAUTHORIZED: Final = 401


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that only this user may enter, and that leaves nothing behind.

    kr8s writes keys out of a kubeconfig into temporary files and leaves them, so they go there too.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="policyctl-") as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


async def connected(way: Way) -> kr8s.asyncio.Api:
    """A client of the API server, with the user's credentials. Raises NotReached, TimeoutError."""
    try:
        api = kr8s.asyncio.Api(kubeconfig=way.kubeconfig, context=way.context, bypass_factory=True)
        with warnings.catch_warnings():
            # kr8s warns of versions that it was not tried with; what is asked here is older than all of them.
            warnings.simplefilter("ignore", UserWarning)
            await api
    except httpx.HTTPError as fault:
        raise NotReached(f"the API server is not reached: {fault}") from fault
    except kr8s.ServerError as fault:
        raise refused(fault, "`get` on /version") from fault
    except TimeoutError:
        raise
    except Exception as fault:
        # Whatever a kubeconfig may hold, and whatever a program that it names does.
        raise NotReached(f"no credentials for a cluster: {type(fault).__name__}: {fault}") from fault
    return api


def refused(fault: kr8s.ServerError, permission: str) -> NotReached:
    """What an error of the API server means to whoever asked for what takes this permission."""
    status = fault.response.status_code if fault.response is not None else 0
    # Where the answer is no Status, its first line is httpx's sentence, and the second recommends reading.
    return refusal(status, permission, str(fault).partition("\n")[0])


def refusal(status: int, permission: str, words: str) -> NotReached:
    """What a refusal of the API server means: which permission is lacking, or that it does not know who asks."""
    said = f": {words}" if words else ""
    if status == FORBIDDEN:
        return NotReached(f"you lack the permission {permission}{said}")
    if status == UNAUTHORIZED:
        return NotReached(f"the API server does not accept your credentials{said}")
    return NotReached(f"the API server answers {status or 'nothing'} to {permission}{said}")
