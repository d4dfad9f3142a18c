"""Where webhooks may go: URLs that can be used, and addresses that nobody outside may have us call."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billhook.http import AllowedTargets, read_target
from billhook.http.addresses import is_public

NOWHERE = AllowedTargets()


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
        "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
        "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b::a00:1",
        "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1",
        "2002:7f00:1::", "2002:a9fe:a9fe::", "2002:c0a8:101::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1",
        "ff02::1", "5f00::1", "3fff::1",
    ],
)  # fmt: skip
def test_addresses_of_somebodys_own_network_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1",
     "::ffff:8.8.8.8"],
)  # fmt: skip
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_however_it_is_wrapped(address: object) -> None:
    plain = ip_address(str(address))
    number = int(plain)
    mapped, nat64, six = (0xFFFF << 32) | number, (0x64FF9B << 96) | number, (0x2002 << 112) | (number << 80)
    for wrapped in (mapped, nat64, six):
        assert is_public(ip_address(wrapped.to_bytes(16))) is is_public(plain)


def test_a_url_is_taken_apart() -> None:
    target = read_target("https://Hooks.Example.com:8443/a%20b?c=d", NOWHERE)
    assert (target.host, target.port, target.path) == ("hooks.example.com", 8443, "/a%20b?c=d")
    assert target.authority == "hooks.example.com:8443"
    plain = read_target("https://[2606:4700::1111]", NOWHERE)
    assert (plain.authority, plain.path) == ("[2606:4700::1111]", "/")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "https://user@example.com/", "https://:p@example.com/", "https://example.com/#",
        "https://127.0.0.1/", "https://[::1]/", "https://127.1/", "https://0177.0.0.1/", "https://0x7f.0.0.1/",
        "https://1.2.3.4.5/", "https://example.com:25/", "https://example.com:0/", "https://exa\\mple.com/",
        "https://example.com\\@127.0.0.1/", "https://ex ample.com/", "https://example.com/\r\nHost: x", "//example.com/",
        "https://", "https://-x.com/", "https://a..b/", "https://[fe80::1%25eth0]/", "file:///etc/passwd", "",
        "https://" + "a" * 254 + "/", "https://example.com/" + "a" * 2048,
    ],
)  # fmt: skip
def test_a_url_that_must_not_be_called_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_target(url, NOWHERE)


def test_what_an_operator_opened_may_be_called() -> None:
    opened = AllowedTargets.of(["Hooks.Internal", "10.1.0.0/16", "::1"])
    for url in (
        "http://hooks.internal:81/",
        "http://10.1.2.3/",
        "https://[::1]:9/",
        "http://[::ffff:10.1.2.3]/",
    ):
        read_target(url, opened)
    for url in ("http://other.internal/", "http://10.2.0.1/", "https://127.0.0.1/"):
        with pytest.raises(ValueError, match=r"https|private"):
            read_target(url, opened)
    assert opened.permits("hooks.internal", ip_address("192.168.0.1"))
    assert opened.permits("public.example.com", ip_address("10.1.2.3"))
    assert not opened.permits("public.example.com", ip_address("192.168.0.1"))


@pytest.mark.parametrize("word", ["10.1.2.3/16", "a b", "*.internal", "127.1", "http://x", ""])
def test_what_opens_nothing_is_a_mistake(word: str) -> None:
    with pytest.raises(ValueError, match="host name, address or network"):
        AllowedTargets.of([word])
