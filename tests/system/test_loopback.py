"""Names of loopback, as a header Host holds them."""

import pytest

from livekeep.system.loopback import is_loopback_address, is_loopback_name

OURS = (
    "localhost",
    "LOCALHOST",
    "localhost:9876",
    "localhost.",
    "box.localhost:80",
    "127.0.0.1",
    "127.0.0.1:9878",
    "127.1.2.3",
    "[::1]:80",
)
OTHERS = (
    "evil.example", "evil.example:9876", "localhost.evil.example", "evil-localhost", "127.0.0.1.evil.example", "127.evil.example",
    "192.0.2.1", "[2001:db8::1]", "0.0.0.0", "evil.example@localhost", "localhost@evil.example", "localhost, evil.example",
    "localhost/x", " localhost", "", ":80", "[::1", "::1", "2130706433",
)  # fmt: skip


@pytest.mark.parametrize("host", OURS)
def test_loopback_is_ours(host: str) -> None:
    assert is_loopback_name(host)


@pytest.mark.parametrize("host", OTHERS)
def test_any_other_name_is_not(host: str) -> None:
    assert not is_loopback_name(host)


def test_addresses() -> None:
    assert [is_loopback_address(it) for it in ("127.0.0.1", "::1", "::ffff:127.0.0.1")] == [True] * 3
    assert [is_loopback_address(it) for it in ("0.0.0.0", "::", "192.0.2.1", "127.0.0.1x")] == [False] * 4
