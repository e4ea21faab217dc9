"""PromQL that panels are made of, filtered by what is chosen above the dashboard.

Metrics are those of shared/metric_table.py. `$instance`, `$bundle` and `$window` are the dashboard's, see dashboard.py.
"""

from __future__ import annotations

RATE = "[$window]"
INSTANCE = 'instance=~"$instance"'
OF = f'{INSTANCE},bundle=~"$bundle"'
"""What the dashboard is filtered by. Series without a bundle are filtered by their instance alone."""


def per_second(metric: str, by: str = "", where: str = OF) -> str:
    """A counter's rate, summed up to the labels `by`."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({metric}{{{where}}}{RATE}))"


def share(metric: str, by: str) -> str:
    """Which part of a counter's rate has each value of the label `by`."""
    return f"{per_second(metric, by)} / ignoring ({by}) group_left {per_second(metric)}"


def mean(histogram: str, by: str = "") -> str:
    """The mean of what a histogram saw."""
    return f"{per_second(f'{histogram}_sum', by)} / {per_second(f'{histogram}_count', by)}"


def quantile(part: float, histogram: str, by: str = "", where: str = OF) -> str:
    """A quantile of what a histogram saw, within its buckets."""
    return f"histogram_quantile({part}, {per_second(f'{histogram}_bucket', f'le, {by}' if by else 'le', where)})"


def quantiles(histogram: str, parts: tuple[float, ...] = (0.5, 0.9, 0.99)) -> dict[str, str]:
    """Median and tails."""
    return {f"p{round(part * 100)}": quantile(part, histogram) for part in parts}


def buckets(histogram: str) -> dict[str, str]:
    """How many fell into each bucket, for a heatmap."""
    return {"{{le}}": f"sum by (le) (increase({histogram}_bucket{{{OF}}}{RATE}))"}


SAMPLES = per_second("neucodex_edge_sample_seconds_count")
STAGE = "neucodex_edge_stage_seconds"


def stage_per_sample(matcher: str) -> str:
    """Seconds that a stage takes of a sample, over all its timesteps; the sum over the stages that match."""
    return f"{per_second(f'{STAGE}_sum', where=f'{matcher},{OF}')} / {SAMPLES}"


OURS = f'job=~"neucodex-.*",{INSTANCE}'
SENT_TO_ANSWERED = stage_per_sample('stage="send_to_result"')
IN_CLOUD = stage_per_sample('stage=~"queue|tail"')
