"""The proxy does to calls what tests rely on; the state of moto at the end shows it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection, RemoteDisconnected
from threading import Barrier
from urllib.parse import urlencode, urlsplit

import pytest

from backend.config import Cloud
from backend.providers.protocol import Boot
from backend.providers.registry import connect
from tests.backend.ec2_faults import every, refusal
from tests.ec2_proxy import Call, Proxy

BOOT = {"ImageId": "ami-0abcdef1234567890", "InstanceType": "t2.micro", "MinCount": "1", "MaxCount": "1"}
TOKEN = {"ClientToken": "token-1"}
SIGNED = "AWS4-HMAC-SHA256 Credential=AKIATESTING/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0"
"""The credential scope, from which moto takes the service and the region; it checks no signatures."""


@pytest.fixture
def proxy(cloud: Cloud) -> Iterator[Proxy]:
    assert cloud.endpoint is not None
    with Proxy(cloud.endpoint) as proxy:
        yield proxy


def sent(proxy: Proxy, action: str, **params: str) -> HTTPConnection:
    """Send one call and return the connection that its reply will come on."""
    parts = urlsplit(proxy.endpoint)
    connection = HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    headers = {"Authorization": SIGNED, "Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/", urlencode({"Action": action, "Version": "2016-11-15", **params}), headers)
    return connection


def ask(proxy: Proxy, action: str, **params: str) -> tuple[int, str]:
    """Send one call and return its status and body."""
    with closing(sent(proxy, action, **params)) as connection:
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def booted(cloud: Cloud) -> list[str]:
    """The ids of the VMs that moto has."""
    return [item["id"] for item in every(connect(cloud).of("vm").list())]


def test_the_proxy_keeps_the_calls(proxy: Proxy) -> None:
    proxy.answers["DescribeVolumes"] = refusal(403, "UnauthorizedOperation")
    assert ask(proxy, "DescribeVolumes")[0] == 403
    assert ask(proxy, "DescribeKeyPairs", MaxResults="5")[0] == 200
    assert proxy.calls == [
        Call("DescribeVolumes", {}, passed=False),
        Call("DescribeKeyPairs", {"MaxResults": "5"}, passed=True),
    ]
    assert (proxy.count("DescribeVolumes"), proxy.count("DescribeKeyPairs")) == (0, 1)
    assert proxy.asked == ["DescribeVolumes", "DescribeKeyPairs"]


def test_a_throttled_call_is_not_passed_on(proxy: Proxy, cloud: Cloud) -> None:
    drawn = []
    for _ in range(2):
        proxy.throttle(0.5, 7, {"RunInstances"})
        replies = [ask(proxy, "RunInstances", **BOOT) for _ in range(10)]
        assert all("RequestLimitExceeded" in body for status, body in replies if status != 200)
        drawn += [status for status, _ in replies]
    assert drawn[:10] == drawn[10:]
    assert set(drawn) == {200, 503}
    assert [call.passed for call in proxy.calls] == [status == 200 for status in drawn]
    assert len(booted(cloud)) == proxy.count("RunInstances") == drawn.count(200)

    assert all(ask(proxy, "DescribeKeyPairs")[0] == 200 for _ in range(10))
    proxy.throttle(1, 0)
    assert ask(proxy, "DescribeKeyPairs")[0] == 503
    proxy.throttle(0, 0)
    assert ask(proxy, "DescribeKeyPairs")[0] == 200


@pytest.mark.parametrize("after", [True, False])
def test_a_call_is_cut_off(proxy: Proxy, cloud: Cloud, after: bool) -> None:
    proxy.cut("RunInstances", 2, after)
    assert ask(proxy, "DescribeVolumes")[0] == 200
    for number in (1, 2):
        with pytest.raises(RemoteDisconnected):
            ask(proxy, "RunInstances", **BOOT)
        assert len(booted(cloud)) == proxy.count("RunInstances") == (number if after else 0)
    assert ask(proxy, "RunInstances", **BOOT)[0] == 200


@pytest.mark.parametrize("lost", [True, False])
def test_a_token_boots_once(proxy: Proxy, cloud: Cloud, lost: bool) -> None:
    if lost:
        proxy.cut("RunInstances")
        with pytest.raises(RemoteDisconnected):
            ask(proxy, "RunInstances", **BOOT, **TOKEN)
    replies = {ask(proxy, "RunInstances", **BOOT, **TOKEN) for _ in range(2)}
    [vm] = booted(cloud)
    [(status, body)] = replies
    assert status == 200
    assert vm in body
    status, body = ask(proxy, "RunInstances", **BOOT | {"MaxCount": "2"}, **TOKEN)
    assert status == 400
    assert "IdempotentParameterMismatch" in body
    assert [call.passed for call in proxy.calls] == [True] + [False] * (3 if lost else 2)
    assert booted(cloud) == [vm]

    proxy.tokens = False
    assert ask(proxy, "RunInstances", **BOOT, **TOKEN)[0] == 200
    assert len(booted(cloud)) == 2


def test_a_token_boots_once_however_many_ask_at_once(proxy: Proxy, cloud: Cloud) -> None:
    together = Barrier(8, timeout=30)

    def boot() -> tuple[int, str]:
        together.wait()
        return ask(proxy, "RunInstances", **BOOT, **TOKEN)

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(boot) for _ in range(8)]
    [(status, body)] = {future.result() for future in futures}
    [vm] = booted(cloud)
    assert status == 200
    assert vm in body
    assert proxy.count("RunInstances") == 1


def test_a_dry_run_uses_up_no_token(proxy: Proxy, cloud: Cloud) -> None:
    status, body = ask(proxy, "RunInstances", **BOOT, **TOKEN, DryRun="true")
    assert status != 200
    assert "DryRunOperation" in body
    assert ask(proxy, "RunInstances", **BOOT, **TOKEN)[0] == 200
    assert len(booted(cloud)) == proxy.count("RunInstances") - 1 == 1


def test_a_reply_is_held_after_moto_has_acted(proxy: Proxy, cloud: Cloud) -> None:
    proxy.hold_reply("RunInstances")
    with ThreadPoolExecutor(1) as pool:
        try:
            waiting = pool.submit(ask, proxy, "RunInstances", **BOOT, **TOKEN)
            assert proxy.acted.wait(30)
            [vm] = booted(cloud)
            status, body = ask(proxy, "RunInstances", **BOOT, **TOKEN)  # only the next one is held
            assert status == 200
            assert vm in body
            assert not waiting.done()
        finally:
            proxy.released.set()
    assert waiting.result() == (status, body)
    assert booted(cloud) == [vm]


def test_a_reply_can_be_held_from_a_client_that_is_gone(proxy: Proxy, cloud: Cloud) -> None:
    proxy.hold_reply("RunInstances")
    with closing(sent(proxy, "RunInstances", **BOOT, **TOKEN)):
        assert proxy.acted.wait(30)
    proxy.released.set()
    assert ask(proxy, "RunInstances", **BOOT, **TOKEN)[0] == 200
    assert len(booted(cloud)) == proxy.count("RunInstances") == 1


def test_the_provider_goes_through_it(proxy: Proxy, cloud: Cloud) -> None:
    ec2 = connect(replace(cloud, endpoint=proxy.endpoint))
    boot = Boot(BOOT["ImageId"], BOOT["InstanceType"], "token-1", name="web")
    assert ec2.of("vm").boot(boot)["id"] == ec2.of("vm").boot(boot)["id"] == booted(cloud)[0]
    assert proxy.count("RunInstances") == 1
