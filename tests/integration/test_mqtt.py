"""Verdicts by MQTT, through a real mosquitto: each arrives, also over its restart, and the edge is known to be gone."""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from shared.bundle import Bundle
from tests.support.bundles import make_bundle
from tests.support.certificates import authority_file, issue
from tests.support.edges import edge_process, rename_classes, run_edge
from tests.support.graphs import with_tail_step
from tests.support.mosquitto import Broker, broker, subscriber
from tests.support.processes import CloudProcess, cloud_process, wait_for

TOPIC = "home/hall"
STATUS = f"{TOPIC}/status"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return with_tail_step(
        rename_classes(make_bundle(tmp_path_factory.mktemp("bundle"), threshold=0.5), tuple("0123456789"))
    )


@pytest.fixture(scope="module")
def cloud(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    with cloud_process(tmp_path_factory.mktemp("cloud"), [bundle.path]) as running:
        yield running


def flags(bundle: Bundle, cloud: CloudProcess, at: Broker, *more: str) -> list[str]:
    return [
        "--bundle", str(bundle.path), "--cloud", cloud.listen, "--dataset", "digits", "--json",
        "--mqtt", f"mqtt://127.0.0.1:{at.port}/{TOPIC}", *more,
    ]  # fmt: skip


def names(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate()
    return [line["sample"] for line in map(json.loads, out.splitlines()) if "summary" not in line]


def test_every_verdict_arrives_as_it_is_printed_and_the_edge_says_when_it_comes_and_goes(
    bundle: Bundle, cloud: CloudProcess, tmp_path: Path
) -> None:
    with broker(tmp_path) as at, subscriber(at) as hearing:
        run = run_edge(*flags(bundle, cloud, at, "--limit", "20", "--mqtt-discovery", "homeassistant"))
        assert run.code == 0, run.err
        wait_for(lambda: len(hearing.lines(TOPIC)) == 20 and len(hearing.texts(STATUS)) == 2, "all of it")
        assert hearing.lines(TOPIC) == run.lines
        assert hearing.texts(STATUS) == ["online", "offline"]
        (device,) = hearing.lines("homeassistant/device/neucodex_home_hall/config")
        assert device["availability_topic"] == STATUS
        assert device["state_topic"] == TOPIC
        assert {one["platform"] for one in device["components"].values()} == {"sensor"}
        with subscriber(at) as late:  # what is kept for those who come later
            wait_for(lambda: len(late.heard) == 2, "what is kept")
            assert {(topic, kept) for topic, _, kept in late.heard} == {
                (STATUS, True),
                ("homeassistant/device/neucodex_home_hall/config", True),
            }


def test_verdicts_wait_while_the_broker_is_away(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    with broker(tmp_path) as at, subscriber(at) as hearing:
        endless = ("--repeat", "0", "--rate", "40")
        with edge_process(*flags(bundle, cloud, at, *endless, "--metrics", "127.0.0.1:0")) as edge:
            wait_for(lambda: len(hearing.lines(TOPIC)) >= 10, "the first verdicts")
            at.stop()
            heard = len(hearing.lines(TOPIC))
            out = edge.stdout
            assert out is not None
            printed = [json.loads(out.readline())["sample"] for _ in range(heard + 40)]
            at.start()
            wait_for(lambda: hearing.subscribed == 2, "the subscription after the restart")
            wait_for(lambda: len(hearing.lines(TOPIC)) > heard, "verdicts after the restart")
            edge.send_signal(signal.SIGINT)
            printed += names(edge)
        assert edge.returncode == 130
        wait_for(
            lambda: hearing.lines(TOPIC)[-1]["sample"] == printed[-1], "the last verdict on its way to the subscriber"
        )
        arrived = [line["sample"] for line in hearing.lines(TOPIC)]
        # The subscriber may come back later than the edge: what arrived before that was for nobody.
        assert arrived[-1] == printed[-1]
        assert arrived == sorted(arrived, key=printed.index)


def test_nothing_is_lost_when_the_broker_comes_late(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    with broker(tmp_path) as at:
        at.stop()
        with edge_process(*flags(bundle, cloud, at, "--repeat", "0", "--rate", "40")) as edge:
            out = edge.stdout
            assert out is not None
            printed = [json.loads(out.readline())["sample"] for _ in range(60)]
            at.start()
            # The edge tries again after a pause, so this one is here first.
            with subscriber(at) as hearing:
                wait_for(lambda: len(hearing.lines(TOPIC)) >= 60, "verdicts")
                edge.send_signal(signal.SIGTERM)
                printed += names(edge)
                wait_for(lambda: "offline" in hearing.texts(STATUS), "the end")
                arrived = [line["sample"] for line in hearing.lines(TOPIC)]
                assert arrived == printed


def test_an_edge_that_is_killed_is_offline_by_its_will(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    with broker(tmp_path) as at, subscriber(at) as hearing:
        with edge_process(*flags(bundle, cloud, at, "--repeat", "0", "--rate", "5")) as edge:
            wait_for(lambda: hearing.texts(STATUS) == ["online"], "the edge to be there")
            edge.send_signal(signal.SIGKILL)
        wait_for(lambda: hearing.texts(STATUS) == ["online", "offline"], "the last will")


def test_tls_a_certificate_and_a_password(bundle: Bundle, cloud: CloudProcess, tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = authority_file(authority, tmp_path / "ca.pem")
    certificate, key = issue(authority, tmp_path, "broker", "localhost", "127.0.0.1")
    mine, mine_key = (str(file) for file in issue(authority, tmp_path, "edge", "edge.test"))
    right, wrong, users = (tmp_path / name for name in ("right", "wrong", "users"))
    right.write_text("open sesame\n")
    wrong.write_text("open barley\n")
    users.write_text(f"ali:{mosquitto_hash('open sesame')}\n")
    settings = [f"cafile {ca}", f"certfile {certificate}", f"keyfile {key}", "require_certificate true"]
    with broker(tmp_path / "broker", [*settings, "allow_anonymous false", f"password_file {users}"]) as at:
        given = ["--bundle", str(bundle.path), "--cloud", cloud.listen, "--dataset", "digits", "--limit", "3"]
        url = ("--mqtt", f"mqtts://ali@127.0.0.1:{at.port}/{TOPIC}", "--mqtt-password-file")
        shown = ("--mqtt-cert", mine, "--mqtt-key", mine_key)
        trusting = ("--mqtt-ca", str(ca))
        run = run_edge(*given, *url, str(right), *shown, *trusting)
        assert run.code == 0, run.err
        assert "MQTT: connected to 127.0.0.1" in run.err
        # The run goes on without a broker, and says why.
        for more, why in (
            ((str(wrong), *shown, *trusting), "refuses this edge"),
            ((str(right), *shown), "CERTIFICATE_VERIFY_FAILED"),
        ):
            run = run_edge(*given, *url, *more)
            assert run.code == 0
            assert "MQTT: connected" not in run.err
            assert why in run.err
            assert "MQTT: 3 verdicts did not reach 127.0.0.1" in run.err


def mosquitto_hash(password: str) -> str:
    """A password as its password file has it."""
    salt, rounds = b"twelve bytes", 101
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    return f"$7${rounds}${base64.b64encode(salt).decode()}${base64.b64encode(made).decode()}"
