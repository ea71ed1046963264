"""Secrets do not leave in texts, and texts without secrets stay as they are."""

from __future__ import annotations

import json
import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jumpstarter.common.text import redacted

TOKEN = st.text(string.ascii_letters + string.digits + "_-.", min_size=20, max_size=60).map(lambda t: f"Z{t}z")
PASSWORD = st.text(string.ascii_letters + string.digits + "!$%^*+;,&=~_-.:@", min_size=1, max_size=40).map(
    lambda t: f"Z{t}z"
)
ANYTHING = st.text(string.ascii_letters + string.digits + string.punctuation + " ", min_size=1, max_size=40).map(
    lambda t: f"Z{t}z"
)
WORD = st.text(string.ascii_lowercase, min_size=1, max_size=12)
KEY = st.sampled_from(
    ["password", "passwd", "PASSPHRASE", "secret", "token", "access_token", "api_key", "apiKey", "client-secret"]
)


@given(WORD, PASSWORD, WORD, st.sampled_from(["http", "https", "ssh", "rfc2217", "rtsp"]))
def test_credentials_in_urls(user: str, password: str, host: str, scheme: str) -> None:
    for credentials in (f"{user}:{password}", password):
        text = redacted(f"cannot open {scheme}://{credentials}@{host}/image.bin: refused")
        assert password not in text
        assert text == f"cannot open {scheme}://***@{host}/image.bin: refused"


@given(KEY, ANYTHING)
def test_values_in_quotes(key: str, value: str) -> None:
    for text in (f"{key}={value!r}, x", json.dumps({key: value, "x": 1}), repr({key: value}), f"{key}: {value!r}"):
        said = redacted(text)
        assert value not in said
        assert "***" in said


@given(KEY, TOKEN)
def test_values_without_quotes(key: str, value: str) -> None:
    for text in (f"{key}={value} x", f"https://h/p?{key}={value}&b=1", f"{key}: {value}", f"run --{key} {value}"):
        assert value not in redacted(text)


@given(TOKEN)
def test_headers(token: str) -> None:
    for text in (f"Authorization: Bearer {token}", f"authorization: Basic {token}", f"sent bearer {token}"):
        assert token not in redacted(text)


@given(KEY, ANYTHING)
def test_the_value_in_the_error_of_a_conversion(key: str, value: str) -> None:
    assert value not in redacted(f"{key}: expected int, got {value!r} (str)")


@given(st.text(string.ascii_letters + string.digits + "+/=\n", min_size=10))
def test_private_keys(body: str) -> None:
    whole = f"-----BEGIN EC PRIVATE KEY-----\n{body}\n-----END EC PRIVATE KEY-----\nafter"
    assert redacted(whole) == "-----BEGIN EC PRIVATE KEY-----***\nafter"
    assert body not in redacted(whole.partition("-----END")[0])


@given(st.text())
def test_any_text_stays_readable_and_a_second_time_changes_nothing(text: str) -> None:
    once = redacted(text)
    assert redacted(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "relay on /dev/ttyUSB0: permission denied; add the exporter's user to group dialout",
        "lab.yaml:3:5 export.power: unknown key 'tok'; did you mean 'token'?",
        "the passphrase is wrong; give the right one with --passphrase-file FILE or JMP_GRPC_PASSPHRASE",
        "--tls-…, --passphrase and --passphrase-file need --tls-grpc HOST:PORT",
        "the character '%' cannot start any token",
        "passphrase file /tmp/x can be changed by others; chmod 600 /tmp/x",
        "bearer certificates",
        "http://lab:8080/images/a@2x.png",
        "user@host",
        "token: expected str",
    ],
)
def test_words_about_secrets_are_no_secrets(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    "piece", ["a", "://", "token", "password: expected ", "token='", "eyJ", "-----BEGIN PRIVATE KEY"]
)
def test_no_text_takes_long(piece: str) -> None:
    began = time.process_time()
    redacted(piece * (64_000 // len(piece)))
    assert time.process_time() - began < 2
