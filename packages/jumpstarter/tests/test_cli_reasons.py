"""What is said when nothing answers."""

import pytest
from jumpstarter.common.reasons import plain_reason

LAST = "connections to all backends failing; last error: UNKNOWN: ipv4:127.0.0.1:1: "


@pytest.mark.parametrize(
    ("details", "said"),
    [
        (f"{LAST}Failed to connect to remote host: Connection refused", "connection refused"),
        ("failed to connect; last error: unix:/x: connect failed: No such file or directory", "no such socket"),
        (f"{LAST}Tls handshake failed: SSL_ERROR_SSL: CERTIFICATE_VERIFY_FAILED: self signed", "not trusted"),
        (f"{LAST}Custom verification check failed: Hostname Verification Check failed.", "another name"),
        (f"{LAST}Tls handshake failed: SSL_ERROR_SSL: WRONG_VERSION_NUMBER", "clear text"),
        (f"{LAST}Failed parsing HTTP/2 (Expected SETTINGS frame)", "no exporter"),
        (f"{LAST}Socket closed", "TLS"),
        ("errors resolving lab: address lookup failed for lab: Domain name not found", "not known"),
        ("Deadline Exceeded", "no answer in time"),
        (f"{LAST}something new", "something new"),
    ],
)
def test_the_reason_is_in_plain_words(details: str, said: str):
    reason = plain_reason(details)
    assert said in reason
    assert "backends" not in reason


def test_only_an_address_can_be_a_wrong_one():
    assert "neither HOST:PORT" in plain_reason(f"{LAST}Socket closed", "lab")
    assert "neither HOST:PORT" not in plain_reason(f"{LAST}Socket closed", "the end of the lease's tunnel")
