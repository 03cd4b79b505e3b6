"""One scenario a file; each has SCENARIO."""

from __future__ import annotations

from bench.harness.measure import Scenario
from bench.scenarios import (
    connect,
    fanout,
    forwarder,
    framed,
    framings,
    idle,
    large,
    pingpong,
    pipeline,
    sendfile,
    silent,
    threads,
)

# connect comes last: its thousands of closed connections keep kernel timers busy for a minute
ALL: dict[str, Scenario] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (
        pingpong,
        pipeline,
        framed,
        framings,
        large,
        sendfile,
        fanout,
        forwarder,
        idle,
        silent,
        threads,
        connect,
    )
}
