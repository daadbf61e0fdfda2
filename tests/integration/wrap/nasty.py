"""A raw stdio server with bad manners, chosen by name: ``nasty.py BEHAVIOUR [FILE]``.

It reads lines and answers with as little as it can; the client decides by the method and the tool's name when it
misbehaves. FILE is where it writes its pid, or the pids of what it forks, one a line.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Arguments = dict[str, Any]

BEHAVIOUR = sys.argv[1]
FILE = sys.argv[2] if len(sys.argv) > 2 else None
TOOLS = [
    {"name": "look", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
    {
        "name": "act",
        "inputSchema": {"type": "object", "properties": {"pw": {"type": "string", "writeOnly": True}}},
    },
]


def put(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def send(message: object) -> None:
    put(json.dumps(message).encode() + b"\n")


def answer(rpc_id: object, **body: object) -> None:
    send({"jsonrpc": "2.0", "id": rpc_id, **body})


def note(*pids: int) -> None:
    if FILE:
        with Path(FILE).open("a") as file:
            file.writelines(f"{pid}\n" for pid in pids)


def lines() -> Iterator[bytes]:
    rest: list[bytes] = []
    while chunk := os.read(0, 65536):
        *whole, last = chunk.split(b"\n")
        if whole:
            yield b"".join([*rest, whole[0]])
            yield from whole[1:]
            rest = []
        rest.append(last)
    if any(rest):
        yield b"".join(rest)


def stay() -> None:
    while True:
        time.sleep(60)


def fork_and(action: Callable[[], None]) -> int:
    pid = os.fork()
    if not pid:
        action()
        os._exit(0)
    return pid


def hang(_id: object, _arguments: Arguments) -> None:
    note(os.getpid())


def hang_for_good(_id: object, _arguments: Arguments) -> None:
    note(os.getpid())
    stay()


def close_stdout(_id: object, _arguments: Arguments) -> None:
    os.close(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def close_stdin(rpc_id: object, _arguments: Arguments) -> None:
    answer(rpc_id, result={})
    os.close(0)
    stay()


def babble(rpc_id: object, _arguments: Arguments) -> None:
    put(b'not json\n\n\xff\xfe\x00\n{"half": \n' + b"[" * 3000 + b"\n[7]\n")
    answer(rpc_id, result={"content": []})


def stutter(rpc_id: object, _arguments: Arguments) -> None:
    message = {"jsonrpc": "2.0", "id": rpc_id, "result": {"t": "é€😀"}}
    for byte in json.dumps(message, ensure_ascii=False).encode():
        put(bytes([byte]))
    put(b"\r\n")


def ask_back(rpc_id: object, _arguments: Arguments) -> None:
    send({"jsonrpc": "2.0", "id": rpc_id, "method": "sampling/createMessage", "params": {"messages": []}})
    ASKED.append(rpc_id)


def break_off(rpc_id: object, _arguments: Arguments) -> None:
    put(json.dumps({"jsonrpc": "2.0", "id": rpc_id, "result": {}}).encode())
    os._exit(0)


def dawdle(rpc_id: object, arguments: Arguments) -> None:
    time.sleep(arguments["seconds"])
    answer(rpc_id, result={})


def behave(rpc_id: object, _arguments: Arguments) -> None:
    answer(rpc_id, result={"content": [{"type": "text", "text": "ok"}], "isError": False})


def say_much(rpc_id: object, arguments: Arguments) -> None:
    answer(rpc_id, result={"content": [{"type": "text", "text": "é" * arguments["size"]}]})


def fail(rpc_id: object, _arguments: Arguments) -> None:
    answer(rpc_id, result={"isError": True, "content": [{"type": "text", "text": "it failed"}]})


def hang_when_told(rpc_id: object, arguments: Arguments) -> None:
    (hang if arguments.get("hang") else behave)(rpc_id, arguments)


ON_CALL: dict[str, Callable[[object, Arguments], None]] = {
    "dies": lambda *_: os._exit(3),
    "killed": lambda *_: os.kill(os.getpid(), signal.SIGKILL),
    "hangs": hang,
    "hangs_when_told": hang_when_told,
    "hangs_for_good": hang_for_good,
    "leaves_holder": lambda *_: os._exit(3),
    "closes_stdout": close_stdout,
    "closes_stdin": close_stdin,
    "garbage": babble,
    "big": say_much,
    "split": stutter,
    "asks": ask_back,
    "error": lambda rpc_id, _: answer(rpc_id, error={"code": -32602, "message": "bad arguments"}),
    "is_error": fail,
    "no_newline": break_off,
    "slow": dawdle,
}


ASKED: list[object] = []


def on_message(message: dict[str, Any]) -> None:
    method, rpc_id = message.get("method"), message.get("id")
    if method == "initialize":
        info = {"name": "nasty", "version": "6.6"}
        answer(rpc_id, result={"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": info})
    elif method == "tools/list":
        answer(rpc_id, result={"tools": TOOLS})
    elif method == "tools/call":
        params = message["params"]
        ON_CALL.get(BEHAVIOUR, behave)(rpc_id, params.get("arguments") or {})
    elif method is None and ASKED:
        answer(ASKED.pop(0), result={"content": []})
    elif rpc_id is not None:
        answer(rpc_id, result={})


def handled(number: int, _frame: object) -> None:
    with Path(str(FILE)).open("a") as file:
        file.write(f"signal {number}\n")
    sys.stderr.write("got it\n")


def stay_against_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stay()


def prepare() -> None:
    if BEHAVIOUR == "exit3":
        sys.exit(3)
    elif BEHAVIOUR == "grandchildren":
        note(os.getpid(), fork_and(stay), fork_and(stay_against_sigterm))
    elif BEHAVIOUR == "leaves_holder":
        note(fork_and(stay))
    elif BEHAVIOUR == "outlives":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note(os.getpid())
    elif BEHAVIOUR == "hangs_for_good":
        signal.signal(signal.SIGTERM, lambda number, _: note(number))
    elif BEHAVIOUR == "signals":
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, handled)
        note(os.getpid())


def on_line(line: bytes) -> None:
    if BEHAVIOUR == "mirror":
        put(line + b"\n")
        return
    try:
        message = json.loads(line.decode("utf-8", "replace"))
    except ValueError:
        return
    if isinstance(message, list):
        send([{"jsonrpc": "2.0", "id": m["id"], "result": {}} for m in message if "id" in m])
    else:
        on_message(message)


def main() -> None:
    prepare()
    sys.stderr.write(f"nasty {BEHAVIOUR}\n")
    sys.stderr.flush()
    for line in lines():
        if line.strip() or BEHAVIOUR == "mirror":
            on_line(line)
    if BEHAVIOUR == "outlives":
        stay()


main()
