"""An hour later: every token that was there at the start has ended, and the installation goes on with those that kubelets brought."""

import datetime
from pathlib import Path

import pytest

from manifests.tests.site import OPERATOR_USER, Site, policy
from policy_controller.testing.probe import Outcome

pytestmark = [pytest.mark.packets, pytest.mark.whole]

BEFORE, AFTER = datetime.timedelta(minutes=50), datetime.timedelta(minutes=70)
"""When kubelets have renewed tokens of an hour, and when the old ones have ended."""
CLOSED = policy("closed", [], {"matchLabels": {"app": "db"}})


async def test_installation_outlives_its_first_tokens(kubectl: Path, tmp_path: Path) -> None:
    async with Site(kubectl, tmp_path) as site:
        for name, node in (("web", "node-a"), ("db", "node-b")):
            await site.add_pod(name, node)
        await site.apply()
        await site.settled()
        old = account_token(site)
        site.clock.by = BEFORE
        site.kubelet.renew_tokens()
        await site.until(lambda: account_token(site) != old, "another token for the API server")
        site.clock.by = AFTER
        site.server.record.forget()
        # What was asked before goes on; what is asked anew needs a token that holds.
        site.server.close_watches()

        await site.apply(CLOSED)

        await site.comes_to("web", "db", Outcome.TIMED_OUT)
        asked = {row.question.verb for row in site.server.record.rows if row.question.user == OPERATOR_USER}
        assert "watch" in asked
        await site.settled()


def account_token(site: Site) -> str:
    program = site.operator().program("operator")
    return Path(f"/proc/{program}/root/var/run/secrets/kubernetes.io/serviceaccount/token").read_text()
