"""Chaos: random faults and changes under a whole installation, every pair probed, each verdict compared with the evaluator's.

    plan        which fault and which change comes when: pure, of a seed
    verdicts    what the reference evaluator says of every pair in every state there was: pure
    judge       what of the probes is a leak, a refusal, or lies in a window: pure
    journal     when objects changed and when faults stood open, written down while it happens
    stations    pods that ask and answer, cheap enough for a thousand questions a second
    knocking    the process that asks them
    town        the pods, policies and namespaces that change
    meddling, outages, departures   the faults
    chaos       all of it in order

Knows the installation by what an admin has: the API, packets, programs that are ended. Knows no expected verdict of its own.
"""
