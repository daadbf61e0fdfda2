"""The commands as processes: what they print, where, and with which exit code."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from indelible.trail.layout import Layout
from indelible.trail.proofs.checkpoint import Signer
from tests.integration.cli.conftest import COMMAND, Run
from tests.trails import VKEY, Maker, at, operation


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    """Make a trail of three files."""
    maker = Maker(tmp_path / "trails" / "audit.jsonl").add_many(60)
    maker.rotate(compress=True)
    maker.add_many(60).rotate()
    return maker.add_many(20).seal()


def one_line(result: subprocess.CompletedProcess[bytes], code: int) -> str:
    """Check that a command failed with one line on stderr and nothing on stdout, and return it."""
    text = result.stderr.decode()
    assert result.returncode == code, text
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "Traceback" not in text
    assert result.stdout == b""
    return text


# --- help, usage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["log"],
        ["tail"],
        ["verify"],
        ["prove"],
        ["export"],
        ["status"],
        ["retain"],
        ["hold"],
        ["hold", "add"],
        ["hold", "list"],
        ["hold", "release"],
        ["keygen"],
        ["config"],
        ["config", "check"],
    ],
)
def test_every_help_shows_examples(run: Run, command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.returncode == 0
    assert b"Examples:\n" in result.stdout
    assert f"indelible {' '.join(command)}".strip().encode() in result.stdout.split(b"Examples:")[1]


def test_version(run: Run) -> None:
    from indelible import __version__

    assert run("--version").stdout == f"indelible {__version__}\n".encode()


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["lgo"], "indelible: no command 'lgo'; did you mean 'log'?\n"),
        (["log", "--tol", "x"], "indelible: log: no such option: --tol; did you mean --tool?\n"),
        (["log", "-n", "many"], None),
        (["log", "-n", "-1"], None),
        (["log", "--status", "succes"], "indelible: --status: no such value 'succes'; did you mean 'success'?\n"),
        (
            ["log", "--tool", ""],
            "indelible: --tool: an empty value, which nothing is called; leave it out, or say what to look for\n",
        ),
        (["tail", "--user", "ada", "--user", ""], None),
        (["log", "--events", "alerts"], "indelible: --events: no event type 'alerts'; did you mean 'alert'?\n"),
        (["log", "surplus"], "indelible: log: got unexpected extra argument (surplus)\n"),
        (["verify", "--vkey", "nonsense"], None),
        (["verify", "--vkey", VKEY, "--vkey", VKEY, "--checkpoint", "kept"], None),
        (["log", "--since", "yesterday"], None),
        (["log", "--until", "5 apples\n"], None),
        (["log", "--export-xml", "x"], None),
        (["config", "chekc"], None),
        (["--nonsense"], "indelible: no such option: --nonsense\n"),
        (["keygen"], "indelible: keygen: say one of --out FILE, for a new key, --show, --rotate and --lost\n"),
        (["keygen", "--out", "a", "--show"], None),
        (["log", "--\x1b[31m\n"], None),
        (["log", "--trail", ""], None),
        (["verify", "--trail", "~nobody-x/a"], "indelible: ~nobody-x/a: there is no home directory for ~nobody-x\n"),
        (["export", "--tiles", "~no-such-user/x"], None),
        (["config", "check", "-c", "missing.yaml"], None),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_answered_in_one_line(run: Run, args: list[str], expected: str | None) -> None:
    text = one_line(run(*args), 2)
    assert expected is None or text == expected
    assert text.startswith("indelible: ")
    assert "\x1b" not in text


@pytest.mark.parametrize("command", ["log", "tail"])
@pytest.mark.parametrize(
    ("since", "until"), [("1h", "2h"), ("2026-11-21", "2026-11-20"), ("2026-11-21", "2026-11-21T00:00:00Z")]
)
def test_an_interval_without_a_moment_in_it_is_a_mistake(
    run: Run, maker: Maker, command: str, since: str, until: str
) -> None:
    text = one_line(run(command, "--trail", maker.layout.active, "--since", since, "--until", until), 2)
    assert text.startswith(f"indelible: --since {since} (2026-")
    assert f" is not before --until {until} (2026-" in text


@pytest.mark.parametrize("buffering", ["", "1"])
@pytest.mark.parametrize(
    "command", [["log"], ["log", "--json"], ["tail"], ["verify"], ["status", "--json"], ["--help"]]
)
def test_a_full_disk_under_the_output_is_said_in_one_line(
    home: dict[str, str], maker: Maker, command: list[str], buffering: str
) -> None:
    where = [] if command == ["--help"] else ["--trail", str(maker.layout.active)]
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [*COMMAND, *command, *where],
            env={**home, "PYTHONUNBUFFERED": buffering},
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert result.returncode == 3
    assert result.stderr == b"indelible: standard output: No space left on device\n"


@pytest.mark.parametrize(
    "command",
    [
        ["log"],
        ["log", "--json"],
        ["log", "-f"],
        ["verify"],
        ["verify", "--json"],
        ["status"],
        ["keygen", "--show"],
    ],
)
def test_no_trail_is_said_in_one_line(run: Run, tmp_path: Path, command: list[str]) -> None:
    assert "there is no trail here" in one_line(run(*command, "--trail", tmp_path / "none.jsonl"), 3)
    (tmp_path / "empty").mkdir()
    assert "there is no trail" in one_line(run(*command, "--trail", tmp_path / "empty"), 3)
    assert not (tmp_path / "none.jsonl").exists()


# --- log --------------------------------------------------------------------------------------------------------


def test_json_is_the_stored_lines_byte_for_byte(run: Run, maker: Maker) -> None:
    result = run("log", "--trail", maker.layout.active, "--events", "all", "--json", "-n", "20")
    assert result.stdout == maker.layout.active.read_bytes().split(b"\n", 1)[1]
    assert (result.returncode, result.stderr) == (0, b"")


def test_without_a_limit_the_newest_fifty_oldest_first(run: Run, maker: Maker) -> None:
    seqs = [
        json.loads(line)["seq"]
        for line in run("log", "--trail", maker.layout.active, "--json").stdout.splitlines()
    ]
    assert len(seqs) == 50
    assert seqs == sorted(seqs)
    assert seqs[-1] == maker.seq - 1
    everything = run("log", "--trail", maker.layout.active, "--json", "-n", "0").stdout.splitlines()
    assert len(everything) == 140


def test_no_match_is_no_failure(run: Run, maker: Maker) -> None:
    result = run("log", "--trail", maker.layout.active, "--tool", "'; DROP TABLE logs; --")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_plain_when_piped(run: Run, maker: Maker) -> None:
    lines = run("log", "--trail", maker.layout.active, "-n", "3").stdout.decode().splitlines()
    assert lines[0].split() == ["TIME", "(UTC)", "USER", "BACKEND", "NAME", "ARGUMENTS", "OUTCOME", "LATENCY"]
    assert len(lines) == 4
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize("columns", ["120", "0", "00"])
def test_colours_on_a_terminal(columns: str, maker: Maker, home: dict[str, str]) -> None:
    """A terminal that does not know its width says 0: it is shown what there is all the same."""
    assert b"\x1b[32mcompleted" in on_a_terminal(home, "log", maker, "-n", "2", COLUMNS=columns)


@pytest.mark.parametrize(
    "more",
    [
        ["--json"],
        ["--format", "indelible"],
        ["--format", "mcpgw"],
        ["--format", "cef"],
        ["--timeline", "--json"],
    ],
)
def test_no_terminal_obeys_a_line_or_a_record(
    run: Run, more: list[str], maker: Maker, home: dict[str, str]
) -> None:
    """A pipe has it byte for byte; a terminal the same values, with escapes for what cannot be seen."""
    wild = "\x9b31mred\x9d0;title\x9c\u202egnp\u2028\u200b\x7fé漢"
    line = maker.add(operation(1, source__user_id=wild, request__args={wild: wild}))
    maker.seal()
    shown = on_a_terminal(home, "log", maker, "-n", "1", *more).decode()
    piped = run("log", "--trail", maker.layout.active, "-n", "1", *more).stdout
    assert shown.removesuffix("\r\n").isprintable()
    assert "é漢" in shown
    if "--json" in more or "indelible" in more:
        assert piped == line + b"\n"
    if "cef" not in more:
        assert json.loads(shown) == json.loads(piped)


def test_nor_a_line_that_is_followed(maker: Maker, home: dict[str, str]) -> None:
    line = maker.add(operation(1, source__user_id="\x9b31m"))
    shown = on_a_terminal(home, "tail", maker, "-n", "1", "--json", ends=False).decode()
    assert json.loads(shown) == json.loads(line)
    assert "\\u009b31m" in shown


def on_a_terminal(
    home: dict[str, str], command: str, maker: Maker, *args: str, ends: bool = True, **env: str
) -> bytes:
    """Return what a command shows on a terminal; of one that does not end by itself the first line."""
    ours, theirs = pty.openpty()
    words = [*COMMAND, command, "--trail", str(maker.layout.active), *args]
    with subprocess.Popen(words, stdout=theirs, stderr=theirs, env={**home, "TERM": "xterm", **env}) as process:
        os.close(theirs)
        shown = b""
        while (ends or b"\n" not in shown) and (chunk := _read(ours)):
            shown += chunk
        if not ends:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    os.close(ours)
    return shown


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65_536)
    except OSError:  # the other side is closed
        return b""


def test_corrupt_lines_are_counted_on_stderr(run: Run, maker: Maker) -> None:
    lines = maker.layout.active.read_bytes().split(b"\n")
    lines[4], lines[7] = b"garbage", lines[7][:30]
    maker.layout.active.write_bytes(b"\n".join(lines))
    result = run("log", "--trail", maker.layout.active, "--json", "-n", "18")
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 18
    expected = f"2 lines could not be read, the first: {maker.layout.active}, line 5;"
    assert expected in result.stderr.decode()


def test_each_of_several_trails_is_judged_by_its_own_key(run: Run, maker: Maker) -> None:
    """One without a key among those given is not called altered, and not called good."""
    origin = "indelible/" + "f" * 32
    signer = Signer(origin, Ed25519PrivateKey.generate())
    Maker(maker.layout.active.with_name("other.jsonl"), origin=origin, signer=signer).add_many(3).seal()
    verify = ("verify", "--trail", str(maker.layout.active.parent), "--json")
    both = run(*verify, "--vkey", VKEY, "--vkey", signer.verifier.vkey())
    value = json.loads(both.stdout)
    assert (both.returncode, value["ok"], value["findings"]) == (0, True, [])
    assert not [said for said in value["not_checked"] if "key not pinned" in said]
    one = run(*verify, "--vkey", VKEY)
    (finding,) = json.loads(one.stdout)["findings"]
    assert one.returncode == 1
    assert (finding["problem"], finding["expected"]) == ("key mismatch", f"a key of {origin}")
    (Layout(maker.layout.active.with_name("other.jsonl")).origin).unlink()
    assert run(*verify, "--vkey", VKEY, "--vkey", signer.verifier.vkey()).returncode == 1


def test_a_key_whose_trail_is_not_there_is_a_finding(run: Run, maker: Maker) -> None:
    gone = Signer("indelible/" + "f" * 32, Ed25519PrivateKey.generate()).verifier
    verify = ("verify", "--trail", str(maker.layout.active.parent), "--json", "--vkey", VKEY, "--vkey")
    (finding,) = json.loads(run(*verify, gone.vkey()).stdout)["findings"]
    assert (finding["problem"], finding["expected"]) == ("key mismatch", f"a trail of {gone.name}")


def test_a_directory_is_all_of_its_trails(run: Run, maker: Maker) -> None:
    other = Maker(maker.layout.active.with_name("audit-git-4711.jsonl")).add_many(5).seal()
    folder = maker.layout.active.parent
    lines = run("log", "--trail", folder, "--json", "-n", "0").stdout.splitlines()
    assert len(lines) == 145
    assert len(run("log", "--trail", maker.layout.active, "--json", "-n", "0").stdout.splitlines()) == 140
    times = [json.loads(line)["recorded_at"] for line in lines]
    assert times == sorted(times)
    result = run("verify", "--trail", folder, "--json")
    value = json.loads(result.stdout)
    assert (result.returncode, value["ok"], value["events"]) == (0, True, maker.seq + other.seq)
    assert {part["trail"] for part in value["trails"]} == {str(maker.layout.active), str(other.layout.active)}


def test_a_trail_without_its_directory_is_still_one_of_a_directorys(run: Run, maker: Maker) -> None:
    shutil.rmtree(maker.layout.directory)
    folder = maker.layout.active.parent
    (folder / "notes.jsonl").write_text('{"mine":1}\n')
    (folder / "empty.jsonl").touch()
    (folder / "link.jsonl").symlink_to(maker.layout.active)
    os.mkfifo(folder / "pipe.jsonl")
    assert len(run("log", "--trail", folder, "--json", "-n", "0").stdout.splitlines()) == 20
    result = run("verify", "--trail", folder, "--json")
    value = json.loads(result.stdout)
    assert (result.returncode, value["trail"]) == (1, str(maker.layout.active))
    assert "checkpoint missing" in {finding["problem"] for finding in value["findings"]}


def test_the_default_trail_is_read_with_those_beside_it(run: Run, home: dict[str, str]) -> None:
    path = Path(home["XDG_STATE_HOME"]) / "indelible" / "audit.jsonl"
    Maker(path).add_many(3).seal()
    Maker(path.with_name("audit-git-4711.jsonl")).add_many(2).seal()
    Maker(path.with_name("other.jsonl")).add_many(7).seal()
    assert len(run("log", "--json").stdout.splitlines()) == 5
    assert len(json.loads(run("verify", "--json").stdout)["trails"]) == 2


def test_a_config_names_the_trail(run: Run, maker: Maker, tmp_path: Path) -> None:
    config = tmp_path / "indelible.yaml"
    config.write_text(f"audit: {{path: {maker.layout.active}}}\n")
    assert len(run("log", "-c", config, "--json").stdout.splitlines()) == 50
    assert len(run("log", "--json", INDELIBLE_CONFIG=str(config)).stdout.splitlines()) == 50
    config.write_text("audit: {pth: x}\n")
    assert "did you mean 'path'?" in one_line(run("log", "-c", config), 2)
    assert run("log", "--trail", maker.layout.active, INDELIBLE_CONFIG=str(config)).returncode == 0


def test_a_reader_that_goes_away_is_no_failure(maker: Maker, home: dict[str, str]) -> None:
    maker.add_many(3_000)
    args = [*COMMAND, "log", "--trail", str(maker.layout.active), "--json", "-n", "0"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=home) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


# --- verify -----------------------------------------------------------------------------------------------------


def test_verify_says_ok(run: Run, maker: Maker) -> None:
    result = run("verify", "--trail", maker.layout.active, "--vkey", VKEY)
    assert (result.returncode, result.stderr) == (0, b"")
    assert f"ok: {maker.seq} events, 3 files, checkpoint over {maker.seq} events" in result.stdout.decode()


def test_verify_json_has_the_promised_shape(run: Run, maker: Maker) -> None:
    maker.layout.active.write_bytes(maker.layout.active.read_bytes().replace(b"/srv/130", b"/srv/XXX"))
    result = run("verify", "--trail", maker.layout.active, "--json")
    value = json.loads(result.stdout)
    assert result.returncode == 1
    assert list(value)[:6] == ["ok", "events", "files", "checkpoint", "findings", "not_checked"]
    assert (value["ok"], value["events"], value["files"]) == (False, maker.seq - 1, 3)
    assert set(value["checkpoint"]) == {"size", "root"}
    [finding] = value["findings"]
    assert list(finding)[:5] == ["problem", "file", "line", "seq", "expected"]
    assert (finding["problem"], finding["file"], finding["seq"]) == (
        "line altered",
        str(maker.layout.active),
        130,
    )
    line = maker.layout.active.read_bytes().split(b"\n")[finding["line"] - 1]
    assert b"/srv/XXX" in line


def test_verify_says_what_became_of_an_earlier_trail(run: Run, tmp_path: Path, home: dict[str, str]) -> None:
    path = tmp_path / "trail" / "audit.jsonl"
    record = (
        "import indelible, sys\nwith indelible.open_trail(sys.argv[1]) as trail:\n"
        " for n in range(5):\n  with trail.operation('tools/call', 'x', effects='read_only'): pass\n"
    )
    writer = [sys.executable, "-c", record, str(path)]
    subprocess.run(writer, env=home, check=True, timeout=60)
    origin = path.with_name("audit.jsonl.d").joinpath("origin").read_text().strip()
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    subprocess.run(writer, env=home, check=True, timeout=60)
    earlier = path.with_name("audit.jsonl.d") / "retired" / origin.rpartition("/")[2] / path.name
    text = run("verify", "--trail", path).stdout.decode()
    said = f"  previous trail: {origin}: 4 of 8 events were left, as they were sealed: {earlier}\n"
    assert said in text
    earlier.write_bytes(earlier.read_bytes().replace(b'"x"', b'"y"'))
    result = run("verify", "--trail", path, "--json")
    value = json.loads(result.stdout)
    assert (result.returncode, value["ok"], value["previous"][0]["ok"]) == (1, False, False)
    assert {finding["file"] for finding in value["findings"]} == {str(earlier)}


def test_an_unreadable_trail_is_said_in_one_line(run: Run, maker: Maker) -> None:
    if os.geteuid() == 0:
        maker.layout.active.unlink()
        maker.layout.active.mkdir()
    else:
        maker.layout.active.chmod(0)
    for command in ("log", "verify", "status"):
        one_line(run(command, "--trail", maker.layout.active.parent / "audit.jsonl"), 3)


# --- status, keygen, config --------------------------------------------------------------------------------------


def test_status(run: Run, maker: Maker) -> None:
    maker.add(operation(maker.seq, event_type="mcp_operation_started"))
    maker.add(maker.service("alert", {"why": "disk \x1b[31m"}))
    value = json.loads(run("status", "--trail", maker.layout.active, "--json").stdout)
    assert (value["events"], value["files"], value["checkpoint"], value["unsealed"]) == (
        maker.seq,
        3,
        maker.seq - 2,
        2,
    )
    assert (value["held_by"], value["open_calls"], value["last"]["alert"]["seq"]) == (None, 1, maker.seq - 1)
    assert value["newest"] == at(maker.clock)
    text = run("status", "--trail", maker.layout.active).stdout.decode()
    assert "written by   nobody" in text
    assert "to be recorded as interrupted at the next start" in text
    assert "\x1b" not in text


def test_status_shows_settings_of_the_trail_that_they_are_for(
    run: Run, maker: Maker, tmp_path: Path, home: dict[str, str]
) -> None:
    config = tmp_path / "here" / "indelible.yaml"
    config.write_text(
        "audit: {path: mine.jsonl, max_size_mb: 7, backup_count: 3, durability: disk, retention: 9d}\n"
    )
    maker.add(maker.service("audit_started", {"version": "0", "durability": "memory", "intent": "all"}))
    text = run("status", "--trail", maker.layout.active).stdout.decode()
    assert "durability   memory, intents: all\n" in text
    assert "rotation     not known: the configuration here is about another trail" in text
    assert "7.0 MB" not in text
    value = json.loads(run("status", "--trail", maker.layout.active, "--json").stdout)
    assert (value["settings"], value["kept_beyond_backup_count"]) == (None, None)
    assert value["started"] == {"version": "0", "durability": "memory", "intent": "all"}
    for said in (["-c", config], ["--profile", "x"]):  # who names it says that it counts
        assert "7.0 MB, 3 files" in run("status", "--trail", maker.layout.active, *said).stdout.decode()
    own = Maker(config.with_name("mine.jsonl")).add_many(3).seal()
    for args in ([], ["--trail", own.layout.active], ["--trail", "mine.jsonl"]):
        text = run("status", *args).stdout.decode()
        assert "at 7.0 MB, 3 files, retention 9d\n" in text
        assert "durability   disk, intents: writes\n" in text  # nothing in it says how it was recorded
    config.write_text("audit: {pth: x}\n")
    assert run("status", "--trail", maker.layout.active).returncode == 0
    one_line(run("status"), 2)


def test_status_says_that_nothing_is_recorded(run: Run, maker: Maker, tmp_path: Path) -> None:
    config = tmp_path / "off.yaml"
    config.write_text(f"audit: {{path: {maker.layout.active}, enabled: false}}\n")
    result = run("status", "-c", config)
    assert result.returncode == 0
    assert b"nothing is recorded" in result.stdout


def test_keygen_writes_a_private_key_once(run: Run, tmp_path: Path) -> None:
    from indelible.trail.start.keys import load_signer

    path = tmp_path / "signing.pem"
    result = run("keygen", "--out", path)
    assert result.returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    pem = path.read_bytes()
    assert load_signer(pem, "name").verifier.public.hex().encode() in result.stdout
    assert b"key_file: " in result.stdout
    assert pem.split(b"\n")[1] not in result.stdout
    assert "is there already" in one_line(run("keygen", "--out", path), 2)
    assert path.read_bytes() == pem
    one_line(run("keygen", "--out", tmp_path / "no" / "such" / "place.pem"), 3)


def test_keygen_show_prints_the_key_to_pin(run: Run, maker: Maker, tmp_path: Path) -> None:
    shown = run("keygen", "--show", "--trail", maker.layout.active).stdout
    assert shown.decode() == VKEY + "\n"
    (tmp_path / "pinned").write_bytes(shown)
    result = run("verify", "--trail", maker.layout.active, "--vkey", tmp_path / "pinned", "--json")
    assert result.returncode == 0
    assert not any(text.startswith("key not pinned") for text in json.loads(result.stdout)["not_checked"])


def test_config_check(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "indelible.yaml"
    config.write_text(
        "audit: {durability: disk, retention: 30d}\nmcpServers: {files: {command: npx, env: {TOKEN: s3cret}}}\n"
    )
    result = run("config", "check", "-c", config)
    assert result.returncode == 0
    assert b"durability: disk" in result.stdout
    assert b"s3cret" not in result.stdout
    value = json.loads(run("config", "check", "-c", config, "--json").stdout)
    assert (value["file"], value["audit"]["retention"], value["mcpServers"]) == (
        str(config),
        30 * 86_400.0,
        ["files"],
    )
    config.write_text(
        "audit: {sinks: [{type: file, name: siem, path: out.cef, format: cef, filter: {tool: [a]}}]}\n"
    )
    assert (
        b"    - type: file, name: siem, format: cef, filter: tool: a, "
        in run("config", "check", "-c", config).stdout
    )
    config.write_text("audit: {sinks: [{type: file, name: siem, path: out.cef, format: cfe}]}\n")
    assert "no format 'cfe'; did you mean 'cef'?" in one_line(run("config", "check", "-c", config), 2)
    config.write_text("audit: {durability: often}\n")
    assert "audit.durability: expected memory, process or disk" in one_line(
        run("config", "check", "-c", config), 2
    )


def test_a_file_that_is_no_public_key_is_not_shown(run: Run, maker: Maker, tmp_path: Path) -> None:
    key = tmp_path / "signing.pem"
    assert run("keygen", "--out", key).returncode == 0
    message = one_line(run("verify", "--trail", maker.layout.active, "--vkey", key), 2)
    assert "holds no public key" in message
    assert key.read_text().splitlines()[1] not in message
    secret = "c3VwZXIgc2VjcmV0IGtleSBtYXRlcmlhbCE"
    for given in (key.read_text(), secret, f"PRIVATE+KEY+{secret}", f"{secret}+{secret}+{VKEY.split('+')[2]}"):
        message = one_line(run("verify", "--trail", maker.layout.active, "--vkey", given), 2)
        assert message.startswith("indelible: --vkey: neither a public key")
        assert secret[:12] not in message
        assert key.read_text().splitlines()[1][:12] not in message
        (tmp_path / "given").write_text(given)
        message = one_line(run("verify", "--trail", maker.layout.active, "--vkey", tmp_path / "given"), 2)
        assert f"{tmp_path / 'given'}: holds no public key" in message
        assert secret[:12] not in message


def test_what_is_no_plain_file_is_not_made_a_trail(run: Run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "plain file" in one_line(run("wrap", "--trail", pipe, "--", "true"), 2)
    assert pipe.is_fifo()
    assert list(tmp_path.glob("pipe*")) == [pipe]


@pytest.mark.parametrize("command", [["verify"], ["log"], ["log", "--json"], ["status"], ["keygen", "--show"]])
def test_a_closed_stdout_is_no_traceback(maker: Maker, home: dict[str, str], command: list[str]) -> None:
    words = shlex.join([*COMMAND, *command, "--trail", str(maker.layout.active)])
    result = subprocess.run(
        ["sh", "-c", f"{words} >&-"], env=home, capture_output=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_removed_current_directory_is_named(home: dict[str, str], tmp_path: Path) -> None:
    """Whether it is wanted or not: a relative path would be one in it."""
    gone = tmp_path / "gone"
    gone.mkdir()
    words = shlex.join([*COMMAND, "wrap", "--", "true"])
    result = subprocess.run(
        ["sh", "-c", f"rmdir {gone}; {words}"], cwd=gone, env=home, capture_output=True, timeout=60, check=False
    )
    assert one_line(result, 2) == "indelible: the current directory has been removed; change to another one\n"


def test_a_group_alone_shows_its_commands(run: Run) -> None:
    result = run("config")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"check" in result.stdout
