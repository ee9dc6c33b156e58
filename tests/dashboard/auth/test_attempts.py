"""How failed sign-ins delay the next attempt, and which address they count for."""

import pytest

from kswatch.dashboard.auth.attempts import (
    FAILURES_COUNT_FOR_S,
    FREE_FAILURES,
    MOST_DELAY_S,
    MOST_OVERALL_DELAY_S,
    MOST_WAITING,
    MOST_WAITING_OF_CLIENT,
    Attempts,
    client_of,
    read_networks,
)
from kswatch.errors import ConfigurationError

PROXY = read_networks(["127.0.0.1", "10.0.0.0/8", "::1"])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fail(attempts: Attempts, times: int, client: str = "1.2.3.4", name: str = "me") -> None:
    for _ in range(times):
        attempts.add_failure(client, name)


def test_typing_errors_are_hardly_delayed_and_guessing_is_for_as_long_as_failures_count(clock: Clock) -> None:
    attempts = Attempts(clock)
    fail(attempts, FREE_FAILURES - 1)
    assert attempts.delay_s("1.2.3.4", "me") < 0.1
    fail(attempts, 20)
    assert attempts.delay_s("1.2.3.4", "me") >= MOST_DELAY_S
    clock.now = FAILURES_COUNT_FOR_S
    assert attempts.delay_s("1.2.3.4", "me") == 0


def test_a_name_is_delayed_from_every_address_and_an_address_under_every_name(clock: Clock) -> None:
    attempts = Attempts(clock)
    fail(attempts, 20, client="1.2.3.4", name="Victim")
    assert attempts.delay_s("5.6.7.8", "victim") >= MOST_DELAY_S
    assert attempts.delay_s("1.2.3.4", "another") >= MOST_DELAY_S
    assert attempts.delay_s("5.6.7.8", "another") < 1


def test_no_number_of_failures_delays_beyond_the_longest(clock: Clock) -> None:
    attempts = Attempts(clock)
    for number in range(30_000):
        attempts.add_failure(f"client {number}", f"name {number}")
    fail(attempts, 5_000)
    assert attempts.delay_s("1.2.3.4", "me") <= MOST_DELAY_S + MOST_OVERALL_DELAY_S
    assert attempts.delay_s("9.9.9.9", "calm") <= MOST_OVERALL_DELAY_S


def test_so_many_attempts_wait_at_a_time_of_one_client_and_of_all(clock: Clock) -> None:
    attempts = Attempts(clock)
    held = [attempts.waiting("a") for _ in range(MOST_WAITING_OF_CLIENT)]
    assert all(one.__enter__() for one in held)
    with attempts.waiting("a") as admitted, attempts.waiting("b") as other:
        assert (admitted, other) == (False, True)
    held += [attempts.waiting(f"client {number}") for number in range(MOST_WAITING - len(held))]
    assert all(one.__enter__() for one in held[MOST_WAITING_OF_CLIENT:])
    with attempts.waiting("b") as admitted:
        assert not admitted
    for one in held:
        one.__exit__(None, None, None)
    with attempts.waiting("a") as admitted:
        assert admitted


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("9.9.9.9", "1.2.3.4", "9.9.9.9"),
        ("127.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("127.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("127.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.7", "1.2.3.4"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("127.0.0.1", "1.2.3.4, nonsense", "127.0.0.1"),
        ("::ffff:127.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("::1", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("", "1.2.3.4", "unknown"),
    ],
)
def test_only_trusted_proxies_name_the_client(peer: str, forwarded: str, client: str) -> None:
    assert client_of(peer, forwarded, PROXY) == client


def test_without_trusted_proxies_the_header_counts_for_nothing() -> None:
    assert client_of("127.0.0.1", "1.2.3.4", ()) == "127.0.0.1"


@pytest.mark.parametrize("text", ["nonsense", "1.2.3", "10.0.0.0/99", "example.org"])
def test_a_proxy_that_is_no_address_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match="trusted_proxies"):
        read_networks([text])
