"""What the environment may ask for, and what is refused."""

from pathlib import Path

import pytest

from indelible import configfile
from indelible.compliance import FORMATS, compliance_sink
from indelible.errors import ConfigError
from indelible.registry import FORMATS as INSTALLED
from indelible.sink_settings.files import FileSettings


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_in_any_case(name: str) -> None:
    assert name in INSTALLED
    for text in (name, name.upper(), name.title(), f" {name} "):
        sink = compliance_sink({"MCP_COMPLIANCE_FORMAT": text})
        assert sink is not None
        assert (sink.type, sink.format) == ("stderr", name)
        assert sink.filter.events == frozenset({"mcp_operation", "auth_rejected", "mcp_server_state_changed"})


@pytest.mark.parametrize("env", [{}, {"MCP_COMPLIANCE_FORMAT": ""}, {"MCP_COMPLIANCE_OUTPUT": ""}])
def test_nothing_is_asked_for(env: dict[str, str]) -> None:
    assert compliance_sink(env) is None


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (
            {"MCP_COMPLIANCE_FORMAT": "ceff"},
            "MCP_COMPLIANCE_FORMAT: no such format 'ceff'; did you mean 'cef'?",
        ),
        ({"MCP_COMPLIANCE_FORMAT": "mxcp"}, "MCP_COMPLIANCE_FORMAT: no such format 'mxcp'"),
        ({"MCP_COMPLIANCE_OUTPUT": "/x"}, "MCP_COMPLIANCE_OUTPUT is set and MCP_COMPLIANCE_FORMAT is not"),
        (
            {"MCP_COMPLIANCE_FORMAT": "CEF", "MCP_COMPLIANCE_OUTPUT": "/dev/stderr"},
            "MCP_COMPLIANCE_OUTPUT: expected a file, found '/dev/stderr'; unset, it is standard error",
        ),
        (
            {"MCP_COMPLIANCE_FORMAT": "CEF", "MCP_COMPLIANCE_OUTPUT": "-"},
            "MCP_COMPLIANCE_OUTPUT: expected a file",
        ),
        (
            {"MCP_COMPLIANCE_FORMAT": "CEF", "MCP_COMPLIANCE_OUTPUT": "/x\0"},
            "MCP_COMPLIANCE_OUTPUT: expected a path",
        ),
    ],
)
def test_what_cannot_be_is_one_line(env: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compliance_sink(env)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_a_file_is_one_more_sink_known_by_its_path_and_format(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names = set()
    for format_, output in (("cef", "out.log"), ("leef", "out.log"), ("cef", "other.log")):
        monkeypatch.setenv("MCP_COMPLIANCE_FORMAT", format_)
        monkeypatch.setenv("MCP_COMPLIANCE_OUTPUT", output)
        sink = configfile.compliance()
        assert sink is not None
        assert (sink.type, sink.target, sink.start, FileSettings.of(sink.own).backup_count) == (
            "file",
            str(tmp_path / output),
            "now",
            0,
        )
        assert sink == configfile.compliance()
        names.add(sink.name)
        settings = configfile.with_export(configfile.load(trail="t.jsonl"), sink)
        assert settings.audit.sinks == (sink,)
        with pytest.raises(ConfigError, match=r"MCP_COMPLIANCE_OUTPUT: .* is the trail's own"):
            configfile.with_export(configfile.load(trail=output), sink)
    assert len(names) == 3


def test_who_writes_through_a_service_does_not_read_its_trail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCP_COMPLIANCE_FORMAT", "cef")
    assert configfile.compliance() is not None
    with pytest.raises(ConfigError, match=r"the service at /run/x\.sock, whose trail"):
        configfile.compliance("/run/x.sock")
