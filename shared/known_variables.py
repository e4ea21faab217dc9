"""Environment variables NEUCODEX_*: one that no flag of any of our programs reads is a mistake, and is said."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

PREFIX = "NEUCODEX_"

_NAMES = """
    ALLOW_PARTIAL ALTERNATIVES BALANCE BATCH BATCH_INVARIANT BINNING BOARD BUDGET BUDGET_DROP BUNDLE BUNDLES_DIR
    BYTE_PRICE_US CHANNELS CHECKPOINT_SECONDS CLOUD CLOUD_HOST DATA DATASET DEADLINE DEVICE DRAIN_TIMEOUT EDGES
    EDGE_GMACS EDGE_HOST EDGE_INTERFACE EDGE_PYTHON EPOCHS EVENTS EVERY EXECUTION FALLBACK_AFTER FRAMES FULL_T
    FULL_WIDTH HEALTH HEARTBEAT IMAGES INFLIGHT INIT INPUT_MEAN INPUT_SCALE INPUT_STD INSECURE INSECURE_ANYWHERE
    JSON KEEPALIVE LATEST LEAVE_AFTER LICENCE LIMIT LINK LINKS LISTEN LIVE LOCAL_EXIT LOG_FORMAT LOG_LEVEL
    LOOKAHEAD MAIN_EDGE MAIN_LINK MAX_BATCH MAX_MESSAGE_BYTES MAX_OPEN_SAMPLES MAX_OUTGOING MAX_PIXELS MAX_QUEUE
    MAX_RECORDING MAX_STREAMS MAX_STREAMS_PER_PEER MAX_WAIT_MS MEASURE METRICS METRICS_TLS_CERT
    METRICS_TLS_CLIENT_CA METRICS_TLS_KEY METRICS_USERS MINUTES MODELS MQTT MQTT_CA MQTT_CERT MQTT_DISCOVERY
    MQTT_KEY MQTT_PASSWORD_FILE N NAME NO_PICTURE_SIZES N_FIT N_OTHERS ONLY ON_LOSS OUT PAGE PERCENTILE PER_CLASS
    POWER_METER PRECISION PROCESSES QUICK RADIO RATE REACH READOUT READY_FILE RECIPE RECONNECT RECORD REFLECTION
    REPEAT RESUME RUNS RUNTIME SAMPLE_DEADLINE SAMPLE_IDLE_TIMEOUT SEED SENSOR SET SHOW SIDE SIZE SLOTS SOURCE
    START_DEADLINE STREAMS STREAM_IDLE_TIMEOUT STRETCH SUMMARY_FILE TEST_DATA THREADS THRESHOLD TIMEOUT TIMESTEPS
    TINY TLS_CA TLS_CERT TLS_CLIENT_CA TLS_KEY TLS_NAME TOKEN_FILE TOP_K UNCOMPRESSED URL VIDEO WATCH WEIGHTS
    WINDOW WORKERS
"""

KNOWN = frozenset(PREFIX + name for name in _NAMES.split())
"""Of all programs: one environment often serves several. A test holds it equal to their flags."""

NEAR = 0.6
"""How alike the nearest name must be, of 1, to be worth saying."""


def unknown_variables(environment: Mapping[str, str], known: Iterable[str] = KNOWN) -> list[str]:
    """A sentence for each variable that looks like ours and is not."""
    names = sorted(known)
    said = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in names:
            near = difflib.get_close_matches(name, names, 1, NEAR)
            hint = f"did you mean {near[0]}?" if near else "--help names those that are"
            said.append(f"the environment variable {name} is read by no flag: {hint}")
    return said
