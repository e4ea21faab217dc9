"""What links are like: one table, each row with its source. Rates and delays of a typical, not of the best, link."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LinkProfile:
    """What was asked of a link; rates None: not limited. `loss` is a share of packets, `source` where it is from,
    `mtu` the bytes of the longest packet."""

    name: str
    rtt_ms: float
    up_mbit: float | None
    down_mbit: float | None
    loss: float
    jitter_ms: float
    source: str
    mtu: int = 1500


PROFILES: tuple[LinkProfile, ...] = (
    LinkProfile("loopback", 0.0, None, None, 0.0, 0.0, "no link: what the processes themselves take"),
    LinkProfile("lan", 0.5, 1000.0, 1000.0, 0.0, 0.05, "gigabit Ethernet (IEEE 802.3ab) through one switch"),
    LinkProfile(
        "wifi", 4.0, 40.0, 40.0, 0.0, 1.0,
        "802.11n, one stream of 20 MHz (72 Mbit/s at the air, about 55 % of it as TCP) to an access point in the room",
    ),
    LinkProfile(
        "lte", 50.0, 10.0, 30.0, 0.0, 5.0, "LTE: 3GPP TR 36.912 latency plus core network; rates as operators' medians"
    ),
    LinkProfile("3g", 120.0, 1.0, 4.0, 0.0, 15.0, "HSPA: WebPageTest's '3G' class, round trip lowered to HSPA's"),
    LinkProfile(
        "lora", 100.0, 0.05, 0.05, 0.0, 0.0,
        "LoRa-class: LoRaWAN's FSK mode of 50 kbit/s (Regional Parameters, EU868 DR7), point to point",
    ),
    LinkProfile(
        "lte-m", 100.0, 0.375, 0.3, 0.0, 10.0,
        "LTE Cat-M1 in half duplex: peak rates of 3GPP release 13 (300 kbit/s down, 375 up); 10-15 ms at the air, and "
        "a core network",
    ),
    LinkProfile(
        "nb-iot", 1600.0, 0.062, 0.026, 0.0, 100.0,
        "LTE Cat-NB1: peak rates of 3GPP release 13 (62 kbit/s up, 26 down), 1.6 s the least of the 1.6-10 s that are "
        "usually named; devices are measured at less",
    ),
    LinkProfile(
        "lorawan", 1000.0, 0.00547, 0.00547, 0.0, 0.0,
        "LoRaWAN-like: EU868 DR5, 5,470 bit/s in uplinks of at most 222 bytes, an answer 1 s later (RX1). Nobody runs "
        "TCP over it, and its duty cycle of 1 % is not in it: what it would allow is a hundredth",
        mtu=222,
    ),
    LinkProfile(
        "satellite", 600.0, 5.0, 20.0, 0.0, 10.0, "geostationary: 4 x 35,786 km at light speed is 477 ms, plus hubs"
    ),
)  # fmt: skip
BY_NAME = {profile.name: profile for profile in PROFILES}
