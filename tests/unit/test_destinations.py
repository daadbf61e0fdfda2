"""Whatever stands in the configuration of a destination is taken, or refused in one clear line.

Destinations are what bytes are sent to: sinks, channels of alerts, anchors.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indelible import config
from indelible.alert_settings.channels import CHANNEL_KEYS, CHANNELS
from indelible.anchor_settings import COMMON_KEYS as ANCHOR_KEYS
from indelible.anchor_settings import TYPE_KEYS
from indelible.errors import ConfigError
from indelible.sink_settings import TYPES
from indelible.sink_settings.sinks import COMMON_KEYS
from tests.effort import examples

URL = "https://h.example/x"
VKEY = "witness+00000000+AA"
WELL: dict[tuple[str, str], dict[str, Any]] = {
    ("sink", "file"): {"path": "x.log"},
    ("sink", "stdout"): {},
    ("sink", "stderr"): {},
    ("sink", "syslog"): {"address": "log.example:514"},
    ("sink", "kafka"): {"brokers": ["k.example:9092"], "topic": "t"},
    ("sink", "http"): {"url": URL},
    ("sink", "otlp"): {"endpoint": "https://h.example:4318"},
    ("sink", "s3"): {"bucket": "audit-of-mcp"},
    ("sink", "clickhouse"): {"url": URL},
    ("channel", "webhook"): {"url": URL},
    ("channel", "slack"): {"url": URL},
    ("channel", "pagerduty"): {"routing_key_env": "X"},
    ("channel", "email"): {"server": "mail.example", "from": "a@b.example", "to": "c@d.example"},
    ("channel", "syslog"): {"address": "log.example:514"},
    ("anchor", "file"): {"path": "x"},
    ("anchor", "syslog"): {"address": "udp://log.example"},
    ("anchor", "http"): {"url": URL, "vkey": VKEY},
}
"""What is taken as it is (but for the anchor's key, which is nobody's)."""


def keys(place: tuple[str, str]) -> list[str]:
    kind, name = place
    if kind == "sink":
        return sorted({"type", *TYPES[name].keys, *COMMON_KEYS})
    if kind == "channel":
        return sorted({"type", *CHANNELS[name].keys, *CHANNEL_KEYS})
    return sorted({"type", *TYPE_KEYS[name], *ANCHOR_KEYS})


HOSTILE: st.SearchStrategy[object] = st.sampled_from(
    ["x y", " x", "x\ny", "x\r\nBcc: y", "\x1b[31m", "\u202egnp", "", "\0", "\ud800", "a" * 5000, "é.example", "//",
     "~nobody/x", "http://a b/", "https://[::1", "https://u:p@h/x", "https://h:99999/", "x:99999", "x:0", ":25", "[::1",
     "$(x)", "a..b", "https://a..b/x", f"https://{'a' * 70}.example/x", "tcp://a..b", "tcp://", "unix:", "none", "-1",
     "1e400", "9" * 400, None, True, -1, 0, 3.5, float("nan"), float("inf"), 10**30, [], [[]], [None], ["x y"], {},
     {"a\n": "b"}, {1: None}]
)  # fmt: skip


def parse(place: tuple[str, str], entry: dict[Any, Any]) -> config.Settings:
    """Parse a configuration with one destination."""
    whole = {"type": place[1], **entry}
    given = {
        "sink": {"audit": {"sinks": [whole]}},
        "anchor": {"audit": {"anchors": [whole]}},
        "channel": {"alerts": {"channels": [whole]}},
    }[place[0]]
    return config.parse(given, where="f.yaml", env={})


def test_every_type_is_looked_at_and_what_is_well_is_taken() -> None:
    assert {name for kind, name in WELL if kind == "sink"} == set(TYPES)
    assert {name for kind, name in WELL if kind == "channel"} == set(CHANNELS)
    assert {name for kind, name in WELL if kind == "anchor"} == set(TYPE_KEYS)
    for place, entry in WELL.items():
        parse(place, entry)


@settings(max_examples=examples(400), deadline=None)
@given(st.data(), st.sampled_from(sorted(WELL)))
def test_what_is_wrong_is_said_in_one_line(data: st.DataObject, place: tuple[str, str]) -> None:
    key = data.draw(st.sampled_from(keys(place)) | st.text(max_size=40))
    value = data.draw(HOSTILE | st.text(max_size=60))
    try:
        parse(place, {**WELL[place], key: value})
    except ConfigError as exc:
        said = str(exc)
        assert said.startswith("f.yaml: ")
        assert said.isprintable()
        assert len(said) < 900, said  # the longest ones list every key that there is


HOSTS = ["x y", "a..b", ".a", "a" * 64, "a." * 130, "\u202egnp", "x\x1b", "x\n", "\ud800"]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("place", "key", "form"),
    [
        (("sink", "syslog"), "address", "{}:514"), (("sink", "kafka"), "brokers", "{}:9092"),
        (("sink", "http"), "url", "https://{}/x"), (("sink", "otlp"), "endpoint", "https://{}:4318"),
        (("sink", "s3"), "endpoint", "https://{}"), (("sink", "clickhouse"), "url", "https://{}:8443"),
        (("channel", "webhook"), "url", "https://{}/x"), (("channel", "slack"), "url", "https://{}/x"),
        (("channel", "pagerduty"), "url", "https://{}/x"), (("channel", "email"), "server", "{}:587"),
        (("channel", "syslog"), "address", "{}"), (("anchor", "syslog"), "address", "tcp://{}"),
        (("anchor", "http"), "url", "https://{}/x"),
    ],
)  # fmt: skip
def test_a_host_that_no_resolver_takes_is_refused(
    place: tuple[str, str], key: str, form: str, host: str
) -> None:
    """Python's resolver raises UnicodeError for some of them, which is no OSError, long after the start."""
    with pytest.raises(ConfigError, match=rf"{key}: expected ") as raised:
        parse(place, {**WELL[place], key: form.format(host)})
    assert str(raised.value).isprintable()


def test_a_mail_server_is_no_path_of_a_socket() -> None:
    with pytest.raises(
        ConfigError, match=r"server: expected the host of a mail server, such as mail\.example\.com"
    ):
        parse(("channel", "email"), {**WELL["channel", "email"], "server": "x y"})
