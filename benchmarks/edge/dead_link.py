"""How soon an edge notices that its link has died without a word: real TCP between two namespaces, the cable pulled."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

from benchmarks.dataset_samples import write_pictures
from benchmarks.edge.base import QUIET_CLOUD, Setup
from benchmarks.links.namespaces import cable, missing
from benchmarks.processes import CloudProcess, EdgeProcess
from benchmarks.record import Findings, Goal
from edge_client.link.grpc_call import DEAD_LINK_S
from edge_client.link.grpc_transport import PROBE_S
from shared.bundle import Bundle
from shared.errors import NeucodexError

PORT = 50051
SENT_S = 1.0
"""In which a frame is sent, and acknowledged by the kernel over there."""

SLACK_S = 2.0
"""TCP looks at its timers when it would send again, not on the second."""

NOTICED = "connecting again"
"""What an edge logs then."""

SENT, DUE = "frames sent into a dead link", "the link dies while an answer is due"
GOALS_S = {SENT: DEAD_LINK_S + SLACK_S, DUE: DEAD_LINK_S + PROBE_S + SLACK_S}


def measure(setup: Setup) -> Findings:
    """Pull the cable before a frame is sent, and after one was acknowledged."""
    lacking = missing()
    wanted = [] if lacking else [SENT] if setup.quick else [SENT, DUE]
    folder = write_pictures(Bundle.open(setup.bundle), setup.dataset, setup.data, 2, setup.folder / "dead-link")
    pictures = sorted(str(path) for path in folder.glob("*.png"))
    seconds = {name: round(_noticed_s(setup, pictures, name), 2) for name in wanted}
    why = lacking or "left out by --quick"
    return Findings(
        n={"cables pulled": len(seconds)},
        results={"seconds until it was noticed": seconds},
        targets=[
            Goal(name, goal, seconds.get(name), "s", "lower", "" if name in seconds else why)
            for name, goal in GOALS_S.items()
        ],
    )


def _noticed_s(setup: Setup, pictures: Sequence[str], when: str) -> float:
    """Seconds between the pull and the edge's log; its first picture is answered, the second one never."""
    go = threading.Event()

    def named() -> Iterator[str]:
        yield pictures[0]
        go.wait()
        yield pictures[1]

    log = setup.folder / "dead-link.log"
    with cable() as between:
        address = f"{between.far_address}:{PORT}"
        flags = (*QUIET_CLOUD, "--listen", address, "--insecure-anywhere")
        given = ["--bundle", str(setup.bundle), "--cloud", address, "--insecure-anywhere", "--images", "-"]
        with (
            CloudProcess([setup.bundle], setup.folder, *flags, prefix=between.inside(between.far)) as cloud,
            EdgeProcess(given, log, named(), prefix=between.inside(between.near)) as edge,
        ):
            cloud.wait_ready()
            if not edge.wait_for_lines(1):
                raise NeucodexError(f"the edge ended: {log.read_text().strip()}")
            if when == DUE:
                cloud.freeze()
                go.set()
                time.sleep(SENT_S)
            between.pull()
            pulled = time.monotonic()
            go.set()
            while NOTICED not in log.read_text():
                if time.monotonic() - pulled > 2 * GOALS_S[when]:
                    raise NeucodexError(f"the edge has not noticed within {2 * GOALS_S[when]:g} s")
                time.sleep(0.01)
            return time.monotonic() - pulled
