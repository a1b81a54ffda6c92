"""What is cut is what the tables deny: one walk over rule sets, another over tables, on generated clusters."""

from collections import Counter
from dataclasses import replace
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compilers.evaluate.decision import Verdict
from compilers.evaluate.traffic import Traffic
from compilers.model.settings import ClusterSettings, ExistingConnections
from compilers.model.words import PROTOCOLS, Protocol
from compilers.ruleset.denial import Denials, Flow, perhaps_closed
from policy_controller.testing.agreement.tests.scene import BASE, Record
from policy_controller.testing.agreement.walk import ClusterWalk, way
from policy_controller.testing.extent import Extent
from policy_controller.testing.generators import random_cluster, traffic_of

CUT = ClusterSettings(existing_connections=ExistingConnections.CUT)
CHOICES = st.randoms(use_true_random=False)
LONG = settings(deadline=None, suppress_health_check=list(HealthCheck))


def flow_of(traffic: Traffic) -> Flow:
    protocol = traffic.protocol
    number = PROTOCOLS[protocol].number if isinstance(protocol, Protocol) else protocol
    return Flow(traffic.source.address, traffic.destination.address, number, 40000, traffic.port or 0)


def test_a_connection_is_cut_when_the_tables_of_a_node_on_its_way_drop_its_first_packet(
    extent: Extent,
    record_property: Record,
) -> None:
    seen: Counter[Verdict] = Counter()

    @settings(LONG, max_examples=extent.choose(50, 1000))
    @given(CHOICES)
    def agree(rng: Random) -> None:
        cluster = replace(random_cluster(rng), settings=CUT)
        walk = ClusterWalk(cluster, BASE)
        denials = {node: Denials(rule_set) for node, rule_set in walk.rule_sets.items()}
        for traffic in traffic_of(cluster, rng, services_each=2):
            verdict = walk.verdict(traffic)
            cut = any(denials[hop.node].denies(flow_of(traffic)) for hop in way(traffic))
            assert cut is (verdict is Verdict.DENIED), traffic
            seen[verdict] += 1

    agree()
    assert min(seen[Verdict.ALLOWED], seen[Verdict.DENIED]) > 1000, "one verdict is hardly tried"
    record_property("connections, walk over rule sets == walk over tables", seen.total())


@settings(LONG, max_examples=50)
@given(CHOICES)
def test_no_pod_that_a_change_closed_to_something_is_left_out(rng: Random) -> None:
    """The second cluster is the first with some of its policies and labels, so that much of it is shared."""
    first = replace(random_cluster(rng), settings=CUT)
    policies = tuple(policy for policy in first.policies if rng.random() < 0.7)
    pods = tuple(replace(pod, labels={}) if rng.random() < 0.2 else pod for pod in first.pods)
    second = replace(first, pods=pods, policies=policies)
    if rng.random() < 0.5:
        first, second = second, first
    before, now = ClusterWalk(first, BASE).rule_sets, ClusterWalk(second, BASE).rule_sets
    for node in now:
        old, new = Denials(before[node]), Denials(now[node])
        addresses = perhaps_closed(before[node], now[node])
        for traffic in traffic_of(second, rng, services_each=1):
            flow = flow_of(traffic)
            if new.denies(flow) and not old.denies(flow):
                assert flow.source in addresses or flow.destination in addresses, traffic
