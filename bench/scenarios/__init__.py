"""One scenario a file; each has SCENARIO."""

from __future__ import annotations

from bench.harness.measure import Scenario
from bench.scenarios import (
    backends,
    connect,
    fanout,
    forwarder,
    framed,
    framings,
    idle,
    latency,
    pingpong,
    pipeline,
    sendfile,
    silent,
    sizes,
    threads,
    tls,
    tls_bulk,
    tls_idle,
    tls_shake,
)

# connect comes last: its thousands of closed connections keep kernel timers busy for a minute
_ORDER = (
    pingpong,
    pipeline,
    framed,
    framings,
    sizes,
    latency,
    fanout,
    sendfile,
    forwarder,
    idle,
    silent,
    threads,
    backends,
    tls,
    tls_bulk,
    tls_idle,
    tls_shake,
    connect,
)
ALL: dict[str, Scenario] = {module.SCENARIO.name: module.SCENARIO for module in _ORDER}
