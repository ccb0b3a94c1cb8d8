"""Looks for harmful input with atheris. Each finding becomes a test, and is fixed.

    python fuzz/fuzz.py TARGET CORPUS [FLAG OF LIBFUZZER ...]
    python fuzz/fuzz.py TARGET crash-FILE

TARGET is a target of `tests/feeding.py`, `chat` or `tls`. `chat` is a whole chat with other
clients. `tls` is a chat with TLS, with input before, during and after the handshake. The fuzzer
writes harmful input to a file. The second line above runs that input again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["trio_chat", "wsproto", "h11"]):
    import attacks
    import attacks_tls
    import feeding
import frames

CHAT_STARTS = (
    b"",
    b"/nick eve\n/join #a\n",
    feeding.REGISTER + b"\nJOIN #a\r\n",
    frames.REQUEST + b"".join(frames.frame(0x81, command) for command in feeding.COMMANDS[:2]),
)


def attack(data: bytes) -> None:
    """Send this to a chat; the first two bytes say after what, and in pieces of which size."""
    way, rest = data[:2].ljust(2, b"\1"), data[2:]
    start, size = CHAT_STARTS[way[0] % len(CHAT_STARTS)], max(1, way[1])
    pieces = [rest[at : at + size] for at in range(0, len(rest), size)]
    attacks.run(attacks.attack, pieces, attacks.SETTINGS, start)


def write_seeds(target: str, corpus: Path) -> None:
    """Give the fuzzer something to begin with."""
    corpus.mkdir(parents=True, exist_ok=True)
    if target == "chat":
        lines, programs = feeding.TARGETS["lines"], feeding.TARGETS["websocket"]
        seeds = [b"\1\xff/" + seed for seed in lines.seeds]
        seeds += [b"\2\xff" + seed for seed in feeding.TARGETS["irc"].seeds]
        seeds += [b"\3\xff" + seed for seed in programs.seeds]
        seeds += [b"\1\xff\xff" + seed for seed in feeding.TARGETS["telnet"].seeds]
    elif target == "tls":
        seeds = attacks_tls.seeds()
    else:
        seeds = [b"\x07\3\0" + seed for seed in feeding.TARGETS[target].seeds]
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)


def main() -> None:
    target, corpus, *flags = sys.argv[1:]
    if not Path(corpus).is_file():
        write_seeds(target, Path(corpus))
    chats = {"chat": attack, "tls": attacks_tls.attack_tls}
    atheris.Setup(
        [sys.argv[0], corpus, *flags],
        chats.get(target) or (lambda data: feeding.feed_any(target, data)),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
