"""Checks the connection to a cloud in steps. Each check says what it found and what to do.

A check that cannot pass after another has failed is skipped. Clocks are not among them: the cloud reports durations,
and the edge only ever subtracts moments of its own clock.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import grpc
import grpc.aio
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from edge_client.api import Edge
from edge_client.link.addresses import Target, resolve_name
from edge_client.link.grpc_call import CHANNEL_OPTIONS
from edge_client.link.grpc_transport import GrpcTransport
from edge_client.link.security import LinkSecurity
from shared.bundle import Bundle
from shared.command_line import Address, join_address, split_address
from shared.deadline import within
from shared.errors import CloudRefused, CloudUnavailable, NeucodexError
from shared.plain_text import plain

ROUND_TRIPS = 20
SAMPLES = 5
"""Empty samples, run to the last timestep. They take as long as others; their verdicts mean nothing."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check. `exit_code` is 0 when all is well; `todo` says what to do when it is not."""

    check: str
    of: str
    said: str
    todo: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class Asked:
    """What is examined. `bundle` None leaves out what needs one; `deadline_s` is for each check."""

    clouds: tuple[Address, ...]
    bundle: Bundle | None
    security: LinkSecurity
    deadline_s: float
    threads: int = 1


class Problem(Exception):
    """A check failed: what was found, and what to do."""

    def __init__(self, said: str, todo: str, exit_code: int = CloudUnavailable.exit_code) -> None:
        super().__init__(said)
        self.said, self.todo, self.exit_code = said, todo, exit_code


async def examine(asked: Asked) -> AsyncIterator[Finding]:
    """All findings, as they come: for each address and each machine that its name stands for, then with the head."""
    well: list[Address] = []
    for address in asked.clouds:
        named = join_address(address)
        try:
            targets = await resolve_name(address)
        except CloudUnavailable as error:
            yield Finding("name", named, str(error), "check --cloud, and this machine's DNS", error.exit_code)
            continue
        yield Finding("name", named, ", ".join(target.address for target in targets))
        for target in targets:
            failed = False
            async for finding in _machine(target, asked):
                failed = failed or finding.exit_code != 0
                yield finding
            if not failed and address not in well:
                well.append(address)
    if asked.bundle is not None and well:
        samples = _samples(asked.bundle, replace(asked, clouds=tuple(well)))
        yield await _made("head", asked.bundle.manifest.name, samples, asked.deadline_s * SAMPLES)


async def _machine(target: Target, asked: Asked) -> AsyncIterator[Finding]:
    options = (*CHANNEL_OPTIONS, ("grpc.default_authority", target.authority))
    async with asked.security.channel(target, options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        def ask() -> Awaitable[health_pb2.HealthCheckResponse]:
            return stub.Check(  # type: ignore[no-any-return]
                health_pb2.HealthCheckRequest(), metadata=asked.security.metadata(), timeout=asked.deadline_s
            )

        proxy = asked.security.proxy(target)
        if proxy is not None:
            said = f"gRPC goes by the proxy {proxy.address} ({proxy.variable} in the environment), not straight there"
            yield Finding("proxy", target.address, said, f"if it should not: name {target.host} in no_proxy")
        checks: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("health", lambda: _health(ask, asked)),
            ("round trip", lambda: _round_trip(ask)),
        ]
        if proxy is None:  # or they would look at another way than gRPC's
            checks[:0] = [("tcp", lambda: _tcp(target, asked)), ("tls", lambda: _tls(target, asked))]
        if (bundle := asked.bundle) is not None:
            checks.append(("bundle", lambda: _stream(target, bundle, asked)))
        for name, check in checks:
            finding = await _made(name, target.address, check(), asked.deadline_s * (1 + ROUND_TRIPS))
            yield finding
            if finding.exit_code:
                return


async def _made(check: str, of: str, work: Awaitable[str], within_s: float) -> Finding:
    try:
        return Finding(check, of, await within(within_s, work))
    except Problem as problem:
        return Finding(check, of, problem.said, problem.todo, problem.exit_code)
    except NeucodexError as error:
        said, _, todo = str(error).rpartition(": ")
        return Finding(check, of, said or todo, todo if said else "", error.exit_code)
    except TimeoutError:
        return Finding(check, of, f"nothing within {within_s:g} s", "try a longer --deadline", 5)


async def _tcp(target: Target, asked: Asked) -> str:
    host, port = split_address(target.address)
    began = time.perf_counter()
    try:
        _, writer = await within(asked.deadline_s, asyncio.open_connection(host, port))
    except ConnectionRefusedError:
        raise Problem(
            "the machine is there, and no server listens on this port",
            f"start `neucodex-cloud --listen ...:{port}` there, or name the port on which it listens",
        ) from None
    except TimeoutError:
        raise Problem(
            f"no answer within {asked.deadline_s:g} s",
            f"see that the machine is up, and that no firewall drops port {port} on the way",
        ) from None
    except OSError as error:
        raise Problem(error.strerror or str(error), "see that this machine has a route to that one") from None
    seconds = time.perf_counter() - began
    writer.close()
    return f"connected in {seconds * 1e3:.1f} ms"


async def _tls(target: Target, asked: Asked) -> str:
    security = asked.security
    if security.insecure:
        return "none: all travels in clear (--insecure)"
    host, port = split_address(target.address)
    name = security.server_name(target)
    context = ssl.create_default_context(cafile=None if security.ca is None else str(security.ca))
    context.set_alpn_protocols(["h2"])
    if security.certificate is not None:
        context.load_cert_chain(security.certificate, security.key)
    connecting = asyncio.open_connection(host, port, ssl=context, server_hostname=name)
    try:
        _, writer = await within(asked.deadline_s, connecting)
    except ssl.SSLCertVerificationError as error:
        raise Problem(
            f"its certificate is not accepted: {error.verify_message}",
            f"name the authority that issued it (--tls-ca), or the name in it (--tls-name, now {name}); if it "
            "has expired or is not valid yet: renew it, or set this machine's clock",
        ) from None
    except TimeoutError:
        raise _mute(asked) from None
    except (ssl.SSLError, ConnectionError) as error:
        raise Problem(
            f"no TLS there ({getattr(error, 'reason', None) or type(error).__name__})",
            "give the cloud --tls-cert and --tls-key; or, on one machine, say --insecure here",
        ) from None
    spoken: ssl.SSLObject = writer.get_extra_info("ssl_object")
    until = ssl.cert_time_to_seconds(str((spoken.getpeercert() or {}).get("notAfter")))
    writer.close()
    return f"{spoken.version()}, certificate for {name}, valid for {(until - time.time()) / 86400:.0f} days"


async def _health(ask: Callable[[], Awaitable[health_pb2.HealthCheckResponse]], asked: Asked) -> str:
    try:
        status = (await ask()).status
    except grpc.aio.AioRpcError as error:
        said = f"{error.code().name}: {plain(' '.join((error.details() or '').split()))}"
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise Problem(said, "a gRPC server that is no neucodex-cloud listens there: check --cloud", 6) from None
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise _mute(asked) from None
        if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            raise Problem(said, "give this edge a token that the cloud knows (--token-file)", 6) from None
        both = (
            "if it is a neucodex-cloud: it has TLS, and --insecure here has none"
            if asked.security.insecure
            else ("see the cloud's log; it may ask for a certificate of this edge (--tls-cert, --tls-key)")
        )
        raise Problem(said, f"no gRPC server answers there: check --cloud; {both}") from None
    if status != health_pb2.HealthCheckResponse.SERVING:
        known = health_pb2.HealthCheckResponse.ServingStatus
        said = known.Name(status) if status in known.values() else f"health status {status}"
        raise Problem(said, "it is starting or draining: wait until it serves, or name another cloud")
    return "SERVING"


def _mute(asked: Asked) -> Problem:
    return Problem(
        f"the machine takes connections, and the server there has said nothing within {asked.deadline_s:g} s",
        "it is stopped, frozen or overloaded, if it is a neucodex-cloud: look at its process, and restart it; an edge "
        "changes to the next --cloud without your help",
    )


async def _round_trip(ask: Callable[[], Awaitable[health_pb2.HealthCheckResponse]]) -> str:
    times: list[float] = []
    for _ in range(ROUND_TRIPS):
        began = time.perf_counter()
        try:
            await ask()
        except grpc.aio.AioRpcError as error:
            said = f"{len(times)} of {ROUND_TRIPS} were answered, then {error.code().name}"
            raise Problem(said, "the link or the cloud is unsteady: look again") from None
        times.append((time.perf_counter() - began) * 1e3)
    spread = f"{min(times):.2f} to {max(times):.2f}"
    return f"median {median(times):.2f} ms of {ROUND_TRIPS} ({spread}); lockstep pays it each timestep"


async def _stream(target: Target, bundle: Bundle, asked: Asked) -> str:
    transport = GrpcTransport.of(bundle, bundle.settings.exit_policy, target, asked.security, asked.deadline_s)
    try:
        ready = await transport.open()
    except CloudRefused:
        raise
    except CloudUnavailable as error:
        raise Problem(str(error), "see the cloud's log") from None
    finally:
        await transport.close()
    return (
        f"{bundle.manifest.name}, the same on both sides ({bundle.fingerprint.hex()[:12]}); up to "
        f"{ready.max_open_samples} samples at once on a stream"
    )


async def _samples(bundle: Bundle, asked: Asked) -> str:
    spec = bundle.manifest.network
    edge = Edge(
        bundle.path,
        [join_address(address) for address in asked.clouds],
        security=asked.security,
        in_flight=1,
        connect_deadline_s=asked.deadline_s,
        full_t=True,
        threads=asked.threads,
    )
    async with edge:
        verdicts = [await edge.classify(np.zeros(spec.sample_shape, np.uint8)) for _ in range(SAMPLES)]
    steps = [step for verdict in verdicts for step in verdict.steps]
    head = median(step.head_s + step.encode_s for step in steps) * 1e3
    tail = median(step.queue_s + step.tail_s for step in steps) * 1e3
    whole = median(verdict.latency_s for verdict in verdicts) * 1e3
    return (
        f"head and codec {head:.2f} ms a timestep, cloud {tail:.2f} ms; an empty sample to timestep {spec.timesteps} "
        f"{whole:.1f} ms (medians of {SAMPLES})"
    )


def lines(finding: Finding) -> Sequence[str]:
    """A finding for people."""
    mark = "ok   " if finding.exit_code == 0 else "WRONG"
    first = f"{mark}  {finding.check:<10}  {finding.of}: {finding.said}"
    return [first, f"       {'':<10}  -> {finding.todo}"] if finding.todo else [first]
