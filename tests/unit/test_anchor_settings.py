"""`audit.anchors`: what is taken, and that a mistake is answered in one line that says where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indelible import config, configfile
from indelible.anchor_settings import MAX_ANCHORS, AnchorSettings, parse_address, parse_anchors
from indelible.errors import ConfigError
from tests.witnesses import COSIGNER

VKEY = COSIGNER.key.vkey()


def parsed(*anchors: dict[str, Any]) -> tuple[AnchorSettings, ...]:
    return config.parse(
        {"audit": {"anchors": list(anchors)}}, where="c", env={"HOST": "h.example"}
    ).audit.anchors


def test_defaults_and_names() -> None:
    file, syslog, local, http = parsed(
        {"type": "file", "path": "/mnt/kept checkpoints"},
        {"type": "syslog", "address": "tls://${HOST}"},
        {"type": "syslog", "address": "unix:/dev/log"},
        {"type": "http", "url": "https://witness.example:8443/a/", "vkey": VKEY, "every": "1m", "timeout": 2},
    )
    assert (file.name, file.mode, file.every, file.timeout) == ("kept-checkpoints", "append", 10.0, 5.0)
    assert (syslog.name, syslog.facility, syslog.address) == ("h.example", "local0", "tls://h.example")
    assert (local.name, http.name) == ("log", "witness.example")
    assert (http.every, http.timeout, http.target) == (60.0, 2.0, "https://witness.example:8443/a/")


WRONG: list[tuple[object, str]] = [
    ("file", "expected a list"),
    ([{"type": "file", "path": f"/{number}"} for number in range(MAX_ANCHORS + 1)], "at most 16"),
    (["x"], "anchor 1: expected a mapping"),
    ([{}], "anchor 1: type: expected file, syslog, http"),
    ([{"type": "kafka"}], "anchor 1: type"),
    ([{"type": ["file"]}], "anchor 1: type"),
    ([{"type": "file"}], "anchor 1: type file needs 'path'"),
    ([{"type": "http", "url": "http://x"}], "anchor 1: type http needs 'vkey'"),
    (
        [{"type": "file", "path": "/a"}, {"type": "file", "paht": "/a"}],
        "anchor 2: unknown key 'paht'; did you mean 'path'",
    ),
    ([{"type": "file", "path": "/a", "url": "http://x"}], "anchor 1: unknown key 'url'"),
    ([{"type": "file", "path": "/a", 5: 6}], "anchor 1: unknown key '5'"),
    ([{"type": "file", "path": ""}], "path: expected a text"),
    ([{"type": "file", "path": "/a", "mode": "both"}], "mode: expected append or replace"),
    ([{"type": "file", "path": "/a", "name": "../x"}], "name: expected up to 64"),
    ([{"type": "file", "path": "/a", "name": ".hidden"}], "name: expected up to 64"),
    ([{"type": "file", "path": "/a", "every": "soon"}], "every: expected a duration"),
    ([{"type": "file", "path": "/a", "timeout": 0}], "timeout: expected a duration above 0"),
    ([{"type": "file", "path": "/a", "timeout": "1h"}], "timeout: expected a duration above 0"),
    (
        [{"type": "file", "path": "/x/a"}, {"type": "file", "path": "/y/A"}],
        "anchor 2: another one is called 'A'",
    ),
    ([{"type": "syslog", "address": "log.example"}], "address: expected udp://"),
    ([{"type": "syslog", "address": "udp://log.example/path"}], "address: expected udp://"),
    ([{"type": "syslog", "address": "udp://x:99999"}], "address: expected udp://"),
    ([{"type": "syslog", "address": "unix:"}], "address: expected udp://"),
    ([{"type": "syslog", "address": "udp://x", "facility": "local9"}], "facility: expected"),
    ([{"type": "http", "url": "ftp://x", "vkey": VKEY}], "url: expected http://"),
    ([{"type": "http", "url": "http://user:secret@x", "vkey": VKEY}], "url: expected http://"),
    ([{"type": "http", "url": "http://x/?a=b", "vkey": VKEY}], "url: expected http://"),
    ([{"type": "http", "url": "http://[x", "vkey": VKEY}], "url: expected http://"),
]


@pytest.mark.parametrize(("anchors", "why"), WRONG)
def test_a_mistake_is_said_in_one_line(anchors: object, why: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config.parse({"audit": {"anchors": anchors}}, where="c", env={})
    assert f"c: audit.anchors: {why}" in str(raised.value) or why in str(raised.value)
    assert "\n" not in str(raised.value)


KEYS = st.sampled_from(["type", "path", "url", "name", "every"]) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["file", "syslog", "http", "", "/x"]),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(KEYS, each, max_size=4),
    max_leaves=8,
)


@given(VALUES)
def test_no_value_whatever_raises_anything_else(value: object) -> None:
    try:
        anchors = parse_anchors(value)
    except ValueError:
        return
    assert all(isinstance(anchor, AnchorSettings) for anchor in anchors)


@given(st.text(max_size=40))
def test_no_address_whatever_raises_anything_else(text: str) -> None:
    for address in (text, f"udp://{text}", f"tls://{text}:514"):
        try:
            network, host, port = parse_address(address)
        except ValueError:
            continue
        assert host
        assert network == "unix" or 0 < port < 65_536


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "audit: {anchors: [{type: file, path: kept}, {type: syslog, address: 'unix:log', ca_file: ca.pem}]}\n"
    )
    file, syslog = configfile.load(str(tmp_path / "c.yaml")).audit.anchors
    assert file.path == str(tmp_path / "kept")
    assert (syslog.address, syslog.ca_file) == (f"unix:{tmp_path}/log", str(tmp_path / "ca.pem"))
