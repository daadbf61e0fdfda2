"""An environment in which the packages of some sinks are not installed: that of servers on the official SDK 1.x."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.environments import old_python
from tests.integration.ship.shipped import LIMIT_S, configure, end, next_of, until
from tests.trails import Maker

SINKS: dict[str, tuple[dict[str, Any], str, str]] = {
    "kafka": ({"type": "kafka", "brokers": ["127.0.0.1:9"], "topic": "t"}, "confluent-kafka", "kafka"),
    "otlp": ({"type": "otlp", "endpoint": "http://127.0.0.1:9"}, "opentelemetry-proto", "otlp"),
    "s3": ({"type": "s3", "bucket": "audit"}, "boto3", "s3"),
    "otlp-grpc": ({"type": "otlp", "endpoint": "http://127.0.0.1:9", "protocol": "grpc"}, "grpcio", "otlp"),
}
"""Name → keys, the package, the extra that has it."""


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "a.jsonl").add_many(20).seal()


def test_their_sinks_wait_and_say_what_to_install_and_the_others_go_on(tmp_path: Path, maker: Maker) -> None:
    keys = [{**keys, "name": name, "start": "beginning"} for name, (keys, _, _) in SINKS.items()]
    config = configure(tmp_path, *keys, {"type": "file", "path": "out.log", "start": "beginning"})
    python = str(old_python())
    env = {**os.environ, "PYTHONPATH": ""}

    def sinks() -> dict[str, dict[str, Any]]:
        done = subprocess.run(
            [python, "-m", "indelible", "status", "--json", "-c", str(config)],
            capture_output=True, check=True, timeout=LIMIT_S, env=env,
        )  # fmt: skip
        return {one["sink"]: one for one in json.loads(done.stdout)["sinks"]}

    process = subprocess.Popen(
        [python, "-m", "indelible", "ship", "-c", str(config)], stderr=subprocess.PIPE, env=env
    )
    try:
        until(lambda: all(sinks().get(name, {}).get("error") for name in SINKS), "their errors")
        maker.add_many(7).seal()
        until(lambda: next_of(tmp_path, "out.log") == 28, "the other sink")
        found = sinks()
    finally:
        code, said = end(process)
    assert code == 0
    for name, (_, package, extra) in SINKS.items():
        line = f"needs the package {package}, which is not installed: pip install 'indelible[{extra}]'"
        assert line in found[name]["error"]
        assert (found[name]["state"], found[name]["next"]) == ("unavailable", 0)
        assert len([one for one in said.splitlines() if name in one and line in one]) == 1
    assert (found["out.log"]["next"], found["out.log"]["error"]) == (28, None)


@pytest.mark.parametrize(
    ("args", "package", "extra"),
    [
        (("log", "--from", "kafka://127.0.0.1:9/t"), "confluent-kafka", "kafka"),
        (("log", "--from", "s3://audit/prod"), "boto3", "s3"),
        (("verify", "s3://audit/prod"), "boto3", "s3"),
    ],
)
def test_who_reads_without_them_is_told_what_to_install(
    args: tuple[str, ...], package: str, extra: str
) -> None:
    done = subprocess.run(
        [str(old_python()), "-m", "indelible", *args],
        capture_output=True, text=True, check=False, timeout=LIMIT_S, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert (
        f"needs the package {package}, which is not installed: pip install 'indelible[{extra}]'" in done.stderr
    )
