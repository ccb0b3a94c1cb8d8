"""What can be set: each setting's name, default, range, and the reason for its default.

Where settings are read from (flags, environment, file) is `sources`' matter, and how one
value is looked at that of `validators`. This module is also the source of `--help` and of the
documentation's table of limits: the metadata of each field holds `section`, `help` (one line),
`why` (the reason for the default, beside precedents) and `changes` (when a new value counts, if it
is given while the chat runs).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, get_args

from attrs import evolve, field, fields, frozen

from trio_chat.config.endpoints import ALL, UNIX_ADDRESS, Endpoint, instance_of, places
from trio_chat.config.validators import (
    a_bool,
    a_host,
    a_path,
    is_number,
    is_path,
    must_be,
    networks,
    one_of,
    rate,
    room_names,
    seconds,
    whole,
    whole_seconds,
    words,
)
from trio_chat.errors import SettingsError

Durability = Literal["process", "power"]
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
Changes = Literal["at once", "for new clients", "at a restart"]

AT_ONCE: Final = "at once"
FOR_NEW_CLIENTS: Final = "for new clients"  # who has come before keeps the old value
AT_A_RESTART: Final = "at a restart"

BYTES_A_CHARACTER: Final = 4  # UTF-8 at its longest, RFC 3629
SECONDS_IN: Final = {"s": 1, "m": 60}
SQLITE: Final = "sqlite:"


def parse_rate(text: str) -> float | None:
    """Lines a second from `10/s`, `600/m` or `off` (None: no limit).

    Raises SettingsError for anything else; the range is for `Settings` to check.
    """
    if text == "off":
        return None
    number, _, unit = text.partition("/")
    try:
        return float(number) / SECONDS_IN[unit]
    except (ValueError, KeyError):
        raise SettingsError(f"must look like 10/s, 600/m or off, not {text!r}") from None


def about(section: str, text: str, why: str, changes: Changes) -> dict[str, str]:
    """The metadata of a field."""
    return {"section": section, "help": text, "why": why, "changes": changes}


a_store = must_be(
    f"auto, memory or {SQLITE}PATH",
    lambda value: (
        value in ("auto", "memory")
        or (type(value) is str and value.startswith(SQLITE) and is_path(value.removeprefix(SQLITE)))
    ),
)


@frozen(kw_only=True)
class Settings:
    """All settings of one chat. Sizes are in bytes or characters as named, times in seconds.

    Raises SettingsError, whose message names the setting, for a value out of its range or of the
    wrong kind, and for values that cannot go together.
    """

    host: str = field(
        default="127.0.0.1",
        validator=a_host,
        metadata=about(
            "Listening",
            "Address or host name to listen on; 0.0.0.0 or :: for all.",
            "Reached from this machine alone until someone decides otherwise, as with Redis and "
            "PostgreSQL: what is said travels unencrypted.",
            AT_A_RESTART,
        ),
    )
    port: int = field(
        default=8888,
        validator=whole(0, 65_535),
        metadata=about(
            "Listening",
            "TCP port to listen on; 0 for any that is free.",
            "The port of the gochat tutorial this server grew from; above 1023, so that no "
            "privilege is needed.",
            AT_A_RESTART,
        ),
    )
    listen: tuple[Endpoint, ...] = field(
        default=(),
        validator=places,
        metadata=about(
            "Listening",
            "Addresses and unix sockets, each with what it takes, in the place of host and port.",
            "None: one port for everyone, as the first bytes tell who came. A firewall, or a proxy "
            "in front, may want the ways in apart.",
            AT_A_RESTART,
        ),
    )
    tls_cert: str = field(
        default="",
        validator=a_path,
        metadata=about(
            "Listening",
            "File with the certificate for TLS and those it rests on, in PEM; needs tls-key.",
            "None: TLS is spoken only in somebody's name. With one it is spoken on the same port, "
            "beside those who come without; 1.2 and newer, as RFC 8996 has it.",
            FOR_NEW_CLIENTS,
        ),
    )
    tls_key: str = field(
        default="",
        validator=a_path,
        metadata=about(
            "Listening",
            "File with the certificate's private key, in PEM, closed to other users.",
            "None. nginx (ssl_certificate_key) and PostgreSQL (ssl_key_file) have it in a file of "
            "its own too.",
            FOR_NEW_CLIENTS,
        ),
    )
    max_clients: int = field(
        default=10_000,
        validator=whole(1, 1_000_000),
        metadata=about(
            "Listening",
            "Clients connected at once.",
            "As Redis (maxclients 10000); at some 6 KB each at rest, 60 MB. The limit on open "
            "files must allow it; the daemon says so when it does not.",
            AT_ONCE,
        ),
    )
    max_clients_per_address: int = field(
        default=64,
        validator=whole(1, 1_000_000),
        metadata=about(
            "Listening",
            "Clients connected at once from one address; not this machine's, nor trusted-proxies.",
            "Ergo has 16 and ngircd 5; an office behind one address needs more. Loopback, where a "
            "proxy and the owner come from, is exempt in ergo too.",
            AT_ONCE,
        ),
    )
    ipv6_prefix: int = field(
        default=64,
        validator=whole(1, 128),
        metadata=about(
            "Listening",
            "Leading bits of an IPv6 address that max-clients-per-address takes for one address.",
            "A customer gets a /64 or more (RFC 6177), and so could pass any limit on single "
            "addresses. Ergo counts by /64 too (cidr-len-ipv6).",
            AT_A_RESTART,
        ),
    )
    keepalive: float = field(
        default=120.0,
        validator=whole_seconds(1, 32_767),
        metadata=about(
            "Listening",
            "Seconds of silence before TCP asks whether the client is still there.",
            "NATS (ping_interval) and ngircd (PingTimeout) ask after 120 too; Linux by itself only "
            "after two hours. Below the idle timeout of most address translators (RFC 5382: two "
            "hours and four minutes at least, often much less).",
            FOR_NEW_CLIENTS,
        ),
    )
    ping_interval: float = field(
        default=45.0,
        validator=whole_seconds(0, 3_600),
        metadata=about(
            "Listening",
            "Seconds between pings to clients that speak telnet or WebSocket; 0 for none.",
            "Proxies cut a silent connection: nginx (proxy_read_timeout) and AWS's balancers after "
            "60, haproxy's examples after 50. Browsers answer by themselves.",
            AT_ONCE,
        ),
    )
    trusted_proxies: tuple[str, ...] = field(
        default=(),
        validator=networks(UNIX_ADDRESS),
        metadata=about(
            "Listening",
            "Addresses or networks, or unix, of proxies that may name their clients; by commas.",
            "None: who may send such a header chooses the address that limits and logs go by. "
            "nginx trusts nobody by itself either (set_real_ip_from).",
            FOR_NEW_CLIENTS,
        ),
    )

    http_hosts: tuple[str, ...] = field(
        default=(),
        validator=words("host names or addresses, without port"),
        metadata=about(
            "Listening",
            "Names by which programs and pages may reach the server, besides loopback; by commas.",
            "None: a name that someone else has pointed to this machine (DNS rebinding) is none "
            "of these. Django's ALLOWED_HOSTS is that list, and empty too.",
            FOR_NEW_CLIENTS,
        ),
    )
    http_origins: tuple[str, ...] = field(
        default=(),
        validator=words("origins, such as https://chat.example.org"),
        metadata=about(
            "Listening",
            "Origins of other hosts' pages that may come in, separated by commas.",
            "None: only a page that this host and port has served may speak for its visitor.",
            FOR_NEW_CLIENTS,
        ),
    )

    store: str = field(
        default="auto",
        validator=a_store,
        metadata=about(
            "Rooms and messages",
            "Where rooms keep what was said: memory, a file as sqlite:PATH, or auto.",
            "Left to itself the daemon keeps a file in the user's state directory "
            "(~/.local/state/trio-chat/PORT.db; in memory with port 0): nothing that anyone has "
            "seen is lost, and two daemons do not meet. A program that embeds a chat keeps rooms "
            "in memory: it leaves no files unasked.",
            AT_A_RESTART,
        ),
    )
    durability: Durability = field(
        default="process",
        validator=one_of(*get_args(Durability)),
        metadata=about(
            "Rooms and messages",
            "What messages in a file survive: the end of the process, or loss of power too.",
            "After a kill nothing anyone has seen is gone. To be sure of it after a power cut "
            "costs a wait for the disk each turn; PostgreSQL's synchronous_commit is that choice.",
            AT_A_RESTART,
        ),
    )
    keep_rooms: tuple[str, ...] = field(
        default=(),
        validator=room_names,
        metadata=about(
            "Rooms and messages",
            "Rooms that exist without members, separated by commas.",
            "None: a room is made by its first join and gone with its last member, as in IRC "
            "(RFC 1459, 1.3).",
            AT_ONCE,
        ),
    )
    max_rooms: int = field(
        default=10_000,
        validator=whole(1, 1_000_000),
        metadata=about(
            "Rooms and messages",
            "Rooms at once.",
            "A room for each client at its default: nobody is refused in good faith, and nobody "
            "fills the memory with empty names.",
            AT_ONCE,
        ),
    )
    rooms_per_client: int = field(
        default=50,
        validator=whole(2, 10_000),
        metadata=about(
            "Rooms and messages",
            "Rooms that a WebSocket client may be in at once.",
            "More than a person follows, and a bound on what coming back brings. Ergo allows 100 "
            "channels. A client with telnet can show one.",
            FOR_NEW_CLIENTS,
        ),
    )
    bare_lines: bool = field(
        default=False,
        validator=a_bool,
        metadata=about(
            "Rooms and messages",
            "Take a line without a slash for a message.",
            "Off, as in the gochat tutorial: a mistyped command is answered, not said aloud.",
            FOR_NEW_CLIENTS,
        ),
    )
    line_bytes: int = field(
        default=8192,
        validator=whole(16, 1_048_576),
        metadata=about(
            "Rooms and messages",
            "Bytes in a line a client sends, its end excluded; at least 4 times message-chars.",
            "Holds the longest message in any script (4 bytes a character, RFC 3629) with its "
            "command. IRC has 512 (RFC 1459), which cuts a Cyrillic or Chinese message short; "
            "NATS has 4096 for a control line.",
            FOR_NEW_CLIENTS,
        ),
    )
    message_chars: int = field(
        default=2000,
        validator=whole(1, 262_144),
        metadata=about(
            "Rooms and messages",
            "Characters in a message.",
            "As Discord: a screenful, which is as much as a person reads at once.",
            FOR_NEW_CLIENTS,
        ),
    )
    topic_chars: int = field(
        default=300,
        validator=whole(1, 10_000),
        metadata=about(
            "Rooms and messages",
            "Characters in a topic.",
            "A few lines of a terminal, seen by everyone who joins. Ergo has 390.",
            FOR_NEW_CLIENTS,
        ),
    )
    nick_chars: int = field(
        default=32,
        validator=whole(1, 256),
        metadata=about(
            "Rooms and messages",
            "Characters in a nick.",
            "As ergo; IRC began with 9 (RFC 1459), too few for most names.",
            FOR_NEW_CLIENTS,
        ),
    )
    room_chars: int = field(
        default=64,
        validator=whole(1, 256),
        metadata=about(
            "Rooms and messages",
            "Characters in the name of a room.",
            "As ergo; RFC 2812 has 50, RFC 1459 had 200.",
            FOR_NEW_CLIENTS,
        ),
    )
    recent_entries: int = field(
        default=256,
        validator=whole(1, 100_000),
        metadata=about(
            "Rooms and messages",
            "Messages a room has at hand for clients that lag behind.",
            "A minute of a very busy room; who is further behind is served from the store.",
            AT_ONCE,
        ),
    )
    recent_bytes: int = field(
        default=33_554_432,
        validator=whole(0, 1_099_511_627_776),
        metadata=about(
            "Rooms and messages",
            "Bytes of memory for the messages that all rooms together have at hand.",
            "Over 100,000 usual messages. Beyond it, the rooms that have been silent for longest "
            "give theirs back; the store has them still.",
            AT_ONCE,
        ),
    )
    history_entries: int = field(
        default=10_000,
        validator=whole(0, 10_000_000),
        metadata=about(
            "Rooms and messages",
            "Messages a room keeps; up to a twentieth more until they are deleted.",
            "Weeks of a lively room, at 100 to 300 bytes a message. Ergo keeps 2048.",
            AT_ONCE,
        ),
    )
    history_days: float = field(
        default=0.0,
        validator=must_be(
            "a number of days from 0 to 36500", lambda value: is_number(value, 0, 36_500)
        ),
        metadata=about(
            "Rooms and messages",
            "Days a room keeps a message; 0 for as long as history-entries lets it.",
            "What is not known to be unwanted is not thrown away, as with Matrix's Synapse "
            "(retention is off). Ergo expires after a week.",
            AT_ONCE,
        ),
    )
    max_store_bytes: int = field(
        default=0,
        validator=whole(0, 1_099_511_627_776),
        metadata=about(
            "Rooms and messages",
            "Bytes that all histories take; 0 for no limit in a file, 256 MiB in memory.",
            "None: the disk has its own end (min-free-disk-bytes). Redis (maxmemory) has no limit "
            "either until it is told one. A full file takes nothing more; in memory the largest "
            "rooms lose their oldest messages.",
            AT_ONCE,
        ),
    )
    min_free_disk_bytes: int = field(
        default=67_108_864,
        validator=whole(0, 1_099_511_627_776),
        metadata=about(
            "Rooms and messages",
            "Bytes of the file's disk to leave free; 0 to fill it.",
            "A full disk harms whatever else writes there, logs among it. RabbitMQ stops at 50 MB "
            "(disk_free_limit).",
            AT_ONCE,
        ),
    )

    rate_limit: float | None = field(
        default=10.0,
        validator=rate(0.01, 1_000_000),
        metadata=about(
            "Fast and slow clients",
            "Lines a second each client may send for long: 10/s, 600/m or off.",
            "No person types faster, and a bot is merely slowed: its lines wait, none is lost. "
            "IRC servers are stricter: RFC 1459 allows one line every 2 s, ergo 2 a second.",
            FOR_NEW_CLIENTS,
        ),
    )
    rate_burst: int = field(
        default=30,
        validator=whole(1, 1_000_000),
        metadata=about(
            "Fast and slow clients",
            "Lines each client may send at once before rate-limit slows it.",
            "A pasted screenful passes unslowed. RFC 1459 and ergo let 5 pass.",
            FOR_NEW_CLIENTS,
        ),
    )
    outbox_bytes: int = field(
        default=262_144,
        validator=whole(32, 1_073_741_824),
        metadata=about(
            "Fast and slow clients",
            "Bytes that may wait for a slow client; at least twice line-bytes.",
            "Seconds of a busy room. A turn more may come on top, which is 330 KB of long "
            "messages: 1,000 stuck clients hold 600 MB at worst. Ergo has 96 KB "
            "(max-sendq), Redis 8 MB for 60 s (pubsub), NATS 64 MB (max_pending); there the "
            "client is disconnected, here it is caught up later.",
            AT_ONCE,
        ),
    )
    stall_timeout: float = field(
        default=60.0,
        validator=seconds(0.1, 86_400),
        metadata=about(
            "Fast and slow clients",
            "Seconds without a byte of progress before a client is dropped.",
            "As nginx (send_timeout 60 s); longer than a tunnel on a train, shorter than TCP's own "
            "patience of about a quarter of an hour. NATS gives up after 10 s (write_deadline).",
            AT_ONCE,
        ),
    )
    resume_grace: float = field(
        default=60.0,
        validator=seconds(0, 86_400),
        metadata=about(
            "Fast and slow clients",
            "Seconds a WebSocket client whose connection broke may take to come back; 0 for none.",
            "A tunnel, a change of networks, a restart of a proxy. Socket.IO has two minutes, "
            "ejabberd five (XEP-0198); the longer, the longer who is gone seems to be there.",
            AT_ONCE,
        ),
    )
    linger_timeout: float = field(
        default=2.0,
        validator=seconds(0, 60),
        metadata=about(
            "Fast and slow clients",
            "Seconds to read and discard after the last line to a client, so that it arrives.",
            "Closing with unread input makes TCP reset, which eats the last line (RFC 1122, "
            "4.2.2.13). nginx waits 5 s for each further read (lingering_timeout); a round trip "
            "takes less than one.",
            FOR_NEW_CLIENTS,
        ),
    )
    stop_grace: float = field(
        default=5.0,
        validator=seconds(0, 3600),
        metadata=about(
            "Fast and slow clients",
            "Seconds that stopping may take to deliver what waits for each client.",
            "Half of what Docker allows before it kills (10 s); systemd allows 90 s.",
            AT_ONCE,
        ),
    )

    log_format: LogFormat = field(
        default="text",
        validator=one_of(*get_args(LogFormat)),
        metadata=about(
            "Logs",
            "Form of the log on stderr: one line each for people, or for machines.",
            "Read by people first; systemd and Docker take lines as they are.",
            AT_ONCE,
        ),
    )
    log_level: LogLevel = field(
        default="info",
        validator=one_of(*get_args(LogLevel)),
        metadata=about(
            "Logs",
            "Least serious kind of event that is logged.",
            "Who came, who left and why; what was said is never logged.",
            AT_ONCE,
        ),
    )

    control: str = field(
        default="",
        validator=a_path,
        metadata=about(
            "Operating",
            "Path of the daemon's control socket; a program that embeds a chat has none.",
            "PORT.sock in trio-chat in the user's runtime directory (XDG_RUNTIME_DIR), where a "
            "second daemon starts beside the first and `trio-chat status` finds both.",
            AT_A_RESTART,
        ),
    )

    metrics_token_file: str = field(
        default="",
        validator=a_path,
        metadata=about(
            "Operating",
            "File with the token for /metrics and /healthz from elsewhere than this machine.",
            "None: only who comes from this machine gets them. In a file the token is in no "
            "command line, environment or log.",
            AT_ONCE,
        ),
    )

    @property
    def document_bytes(self) -> int:
        """Bytes in a command that a program sends as a document.

        It holds the longest message with every character escaped (12 bytes for 4 of UTF-8), and
        what stands around it.
        """
        return 3 * self.line_bytes + 2048

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where to listen, whichever settings say so."""
        return self.listen or (Endpoint(self.host, self.port),)

    @property
    def instance(self) -> str:
        """What the files are named after that a daemon has by default: see `instance_of`."""
        return instance_of(self.endpoints)

    def __attrs_post_init__(self) -> None:
        if problems := list(self._problems()):
            raise SettingsError("\n".join(problems))

    def _problems(self) -> Iterator[str]:
        """Say what cannot go together."""
        if self.line_bytes < (need := BYTES_A_CHARACTER * self.message_chars):
            yield (
                f"line_bytes must be at least {need} for message_chars {self.message_chars}, "
                f"not {self.line_bytes}: a character takes up to {BYTES_A_CHARACTER} bytes"
            )
        if self.outbox_bytes < (need := 2 * self.line_bytes):
            yield (
                f"outbox_bytes must be at least {need} for line_bytes {self.line_bytes}, "
                f"not {self.outbox_bytes}: half of it must hold the longest line"
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            given, missing = ("tls_cert", "tls_key") if self.tls_cert else ("tls_key", "tls_cert")
            yield f"{given} needs {missing} too: a certificate and its key go together"
        if self.listen and (self.host, self.port) != ("127.0.0.1", 8888):
            yield "listen takes the place of host and port: put these into one of its entries"
        for endpoint in self.listen:
            if "tls" in endpoint.accept and endpoint.accept != ALL and not self.tls_cert:
                yield f"listen takes TLS at {endpoint.place}: that needs tls_cert and tls_key"
        if self.max_rooms < (need := len(self.keep_rooms)):
            yield f"max_rooms must be at least {need} for {need} keep_rooms, not {self.max_rooms}"


def changes(old: Settings, new: Settings) -> dict[str, Changes]:
    """The settings that differ, each with when a chat that runs by `old` changes it."""
    return {
        field.name: field.metadata["changes"]
        for field in fields(Settings)
        if getattr(old, field.name) != getattr(new, field.name)
    }


def changed(old: Settings, new: Settings) -> Settings:
    """What a chat that runs by `old` can take of `new` without a restart."""
    stay = [name for name, when in changes(old, new).items() if when == AT_A_RESTART]
    return evolve(new, **{name: getattr(old, name) for name in stay})
