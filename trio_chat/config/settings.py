"""The settings: each one's name, default, range, and the reason for its default.

`sources` reads settings from flags, environment and file. `validators` checks single values, and
`contradictions` all together. The metadata of each field is also the source of `--help` and
docs/settings.md:

- `section`, and `help` in one line;
- `why`, the reason for the default, beside the defaults of other servers;
- `changes`, when a new value counts that a running chat is given, as in the module `changes`.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

from attrs import field, frozen

from trio_chat.config.changes import AT_A_RESTART, AT_ONCE, FOR_NEW_CLIENTS, Changes
from trio_chat.config.contradictions import contradictions
from trio_chat.config.endpoints import UNIX_ADDRESS, Endpoint, instance_of, places
from trio_chat.config.greeting import a_greeting
from trio_chat.config.node import a_node
from trio_chat.config.store_url import SQLITE, a_store, is_store_url, without_password
from trio_chat.config.validators import (
    a_bool,
    a_claim,
    a_host,
    a_path,
    is_address,
    is_http_host,
    is_number,
    is_origin,
    is_site,
    list_of,
    must_be,
    networks,
    nicks,
    one_of,
    rate,
    room_names,
    seconds,
    whole,
    whole_seconds,
)
from trio_chat.errors import SettingsError
from trio_chat.protocol.names import parse_nick

Durability = Literal["process", "power"]
PlaintextPasswords = Literal["refuse", "warn"]
RoomCreator = Literal["nobody", "operator"]
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

MOST_WORKERS: Final = 64

# The name of the server for clients of IRC, if the settings have no host name. It has a dot, which
# tells it from a nick there.
SERVER_NAME: Final = "chat.local"


def about(section: str, text: str, why: str, changes: Changes) -> dict[str, str]:
    """Make the metadata of a field."""
    return {"section": section, "help": text, "why": why, "changes": changes}


@frozen(kw_only=True)
class Settings:
    """All settings of one chat. Sizes are in bytes or characters as named, times in seconds.

    Raises `SettingsError`, whose message names the setting, for a value of the wrong kind or out of
    its range. It is also raised for values that contradict each other.
    """

    host: str = field(
        default="127.0.0.1",
        validator=a_host,
        metadata=about(
            "Listening",
            "Address or host name to listen on; 0.0.0.0 or :: for all.",
            "Only this machine reaches the chat until the operator decides otherwise, as with "
            "Redis and PostgreSQL: the traffic is not encrypted.",
            AT_A_RESTART,
        ),
    )
    port: int = field(
        default=8888,
        validator=whole(0, 65_535),
        metadata=about(
            "Listening",
            "TCP port to listen on; 0 for any free port.",
            "The port of the gochat tutorial that this server grew from. It is above 1023, so it "
            "needs no privilege.",
            AT_A_RESTART,
        ),
    )
    listen: tuple[Endpoint, ...] = field(
        default=(),
        validator=places,
        metadata=about(
            "Listening",
            "Addresses and unix sockets, each with what it takes; replaces host and port.",
            "None: one port serves everyone, because the first bytes show the protocol. A "
            "firewall, or a proxy in front, may need separate ports.",
            AT_A_RESTART,
        ),
    )
    tls_cert: str = field(
        default="",
        validator=a_path,
        metadata=about(
            "Listening",
            "PEM file with the certificate for TLS and its intermediates; needs tls-key.",
            "None: a certificate is for a name, and a daemon has none by itself. With one, the "
            "same port takes TLS too, version 1.2 or newer (RFC 8996).",
            FOR_NEW_CLIENTS,
        ),
    )
    tls_key: str = field(
        default="",
        validator=a_path,
        metadata=about(
            "Listening",
            "PEM file with the certificate's private key, closed to other users.",
            "None. A file of its own, as in nginx (ssl_certificate_key) and PostgreSQL "
            "(ssl_key_file).",
            FOR_NEW_CLIENTS,
        ),
    )
    https_redirect: bool = field(
        default=True,
        validator=a_bool,
        metadata=about(
            "Listening",
            "Redirect http to https on a port with TLS, for clients on other machines.",
            "On, as in Caddy: otherwise a person who types http:// sends private messages "
            "unencrypted, and sees no warning. It redirects WebSocket clients too (ws to wss), but "
            "neither line clients nor /healthz and /metrics. Requests from this machine and from "
            "trusted proxies are exempt: a proxy that speaks TLS itself would redirect for ever.",
            FOR_NEW_CLIENTS,
        ),
    )
    sts_duration: int = field(
        default=0,
        validator=whole(0, 31_536_000),
        metadata=about(
            "Listening",
            "Seconds for which IRC clients are to come with TLS alone; 0 for no such wish.",
            "Off: a client that has read it comes without TLS no more (IRCv3, sts). So first try "
            "that clients reach the port with TLS, by the name in the certificate. Begin with "
            "3600, and go on to a month (2592000). 1 ends it, once clients have read that.",
            FOR_NEW_CLIENTS,
        ),
    )
    max_clients: int = field(
        default=10_000,
        validator=whole(1, 1_000_000),
        metadata=about(
            "Listening",
            "Clients connected at once.",
            "As Redis (maxclients 10000). An idle client takes about 6 KB, so that is 60 MB. The "
            "limit on open files must allow it; the daemon warns if it does not.",
            AT_ONCE,
        ),
    )
    max_clients_per_address: int = field(
        default=64,
        validator=whole(1, 1_000_000),
        metadata=about(
            "Listening",
            "Clients at once from one address; this machine and trusted-proxies are exempt.",
            "Ergo has 16 and ngircd 5, but an office behind one address needs more. Loopback, "
            "where a proxy or the operator connects from, is exempt in ergo too.",
            AT_ONCE,
        ),
    )
    ipv6_prefix: int = field(
        default=64,
        validator=whole(1, 128),
        metadata=about(
            "Listening",
            "Leading bits of an IPv6 address that max-clients-per-address takes as one.",
            "A customer gets a /64 or more (RFC 6177), and could pass any limit on single "
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
            "NATS (ping_interval) and ngircd (PingTimeout) ask after 120 too; Linux by itself asks "
            "after two hours. Most address translators forget idle connections: after two hours at "
            "the earliest by RFC 5382, often much sooner.",
            FOR_NEW_CLIENTS,
        ),
    )
    ping_interval: float = field(
        default=45.0,
        validator=whole_seconds(0, 3_600),
        metadata=about(
            "Listening",
            "Seconds between pings to clients that speak telnet, WebSocket or IRC; 0 for none.",
            "Proxies cut a silent connection: nginx (proxy_read_timeout) and AWS load balancers "
            "after 60, haproxy's examples after 50. Browsers answer pings by themselves. An IRC "
            "client is asked after 90 seconds of silence, and lost after 180.",
            AT_ONCE,
        ),
    )
    trusted_proxies: tuple[str, ...] = field(
        default=(),
        validator=networks(UNIX_ADDRESS),
        metadata=about(
            "Listening",
            "Proxies that may name their clients: addresses, networks or unix, by commas.",
            "None: a proxy chooses the address that limits and logs go by. nginx trusts nobody by "
            "default either (set_real_ip_from).",
            FOR_NEW_CLIENTS,
        ),
    )
    private_networks: tuple[str, ...] = field(
        default=(),
        validator=networks(UNIX_ADDRESS),
        metadata=about(
            "Listening",
            "Addresses, networks or unix, by commas, whose connections are private without TLS.",
            "None: only TLS, and connections within this machine. For a VPN, and for a proxy that "
            "speaks TLS with all its clients.",
            FOR_NEW_CLIENTS,
        ),
    )
    plaintext_passwords: PlaintextPasswords = field(
        default="refuse",
        validator=one_of(*get_args(PlaintextPasswords)),
        metadata=about(
            "Listening",
            "Treatment of passwords on connections that are not private: refuse or warn.",
            "Refused, as in Dovecot (disable_plaintext_auth): whoever can read the traffic could "
            "log in later. With warn, a line client is warned before it types one.",
            FOR_NEW_CLIENTS,
        ),
    )

    http_hosts: tuple[str, ...] = field(
        default=(),
        validator=list_of(
            "host names or addresses, without scheme or port, such as chat.example.org, "
            "192.0.2.7 or 2001:db8::1",
            is_http_host,
        ),
        metadata=about(
            "Listening",
            "Host names by which HTTP clients may reach the server, besides loopback; by commas.",
            "None: a page elsewhere could point its own name to this machine (DNS rebinding), and "
            "such a name is not in the list. Django's ALLOWED_HOSTS is the same, and empty too. "
            "The first name here is that of the server in IRC.",
            FOR_NEW_CLIENTS,
        ),
    )
    http_origins: tuple[str, ...] = field(
        default=(),
        validator=list_of(
            "origins as browsers send them, such as https://chat.example.org or "
            "http://192.0.2.7:8080",
            is_origin,
        ),
        metadata=about(
            "Listening",
            "Origins of other hosts' pages that may connect, separated by commas.",
            "None: only a page from this host and port may speak for its visitor.",
            FOR_NEW_CLIENTS,
        ),
    )
    embed_origins: tuple[str, ...] = field(
        default=(),
        validator=list_of("origins of sites, such as https://www.example.org", is_site),
        metadata=about(
            "Listening",
            "Origins of sites that may show the page in a frame, separated by commas.",
            "None: a page in a foreign frame can be made to take clicks that its visitor means "
            "for something else. These sites may also log their people in.",
            FOR_NEW_CLIENTS,
        ),
    )

    store: str = field(
        default="auto",
        validator=a_store,
        repr=without_password,
        metadata=about(
            "Rooms and messages",
            "Place for rooms and messages: memory, sqlite:PATH, auto, or a URL of Redis.",
            "With auto, a daemon has the file ~/.local/state/trio-chat/PORT.db; with port 0 it "
            "keeps rooms in memory. So no message that anyone has seen is lost, and two daemons "
            "do not share a file. A program that embeds a chat leaves no file: for it, auto is "
            "memory.",
            AT_A_RESTART,
        ),
    )
    store_password_file: str = field(
        default="",
        validator=a_path,
        metadata=about(
            "Rooms and messages",
            "File with the password of a store on Redis in its first line.",
            "None. A password in a file is in no command line or log, and other users cannot read "
            "it. Other stores have no password: they ignore the file, so that one configuration "
            "serves for a try with --store memory too.",
            AT_A_RESTART,
        ),
    )
    accounts: bool = field(
        default=True,
        validator=a_bool,
        metadata=about(
            "Rooms and messages",
            "Whether people may have accounts: nicks of their own, with passwords.",
            "They may, if the store is a file or on Redis. Accounts of a file are in a second one "
            "beside it (PORT.people.db). A store in memory keeps no accounts.",
            AT_A_RESTART,
        ),
    )
    jwt_key: str = field(
        default="",
        validator=a_path,
        metadata=about(
            "Rooms and messages",
            "File with the key by which a site signs tokens for its people; needs jwt-audience.",
            "None: the chat has accounts of its own. With a key, the site has them. The file has "
            "a public key in PEM, or a secret that is closed to other users; a reload reads it "
            "again.",
            AT_A_RESTART,
        ),
    )
    jwt_audience: str = field(
        default="",
        validator=a_claim,
        metadata=about(
            "Rooms and messages",
            "Name of this chat in the tokens of a site (aud); needs jwt-key.",
            "None, but a key needs one: a token for another service of the site must not count "
            "here (RFC 8725, 3.9).",
            AT_A_RESTART,
        ),
    )
    jwt_issuer: str = field(
        default="",
        validator=a_claim,
        metadata=about(
            "Rooms and messages",
            "Name of the site in its tokens (iss).",
            "Any: the key says who has signed. It matters if several sites share a key.",
            AT_A_RESTART,
        ),
    )
    operators: tuple[str, ...] = field(
        default=(),
        validator=nicks,
        metadata=about(
            "Rooms and messages",
            "Nicks of the accounts that may moderate every room, by commas.",
            "None: being an operator is in no store, so who copies or changes a store gains "
            "nothing. Each of them needs an account, which proves who it is.",
            AT_ONCE,
        ),
    )
    word_list: str = field(
        default="",
        validator=a_path,
        metadata=about(
            "Rooms and messages",
            "File with words and phrases, one a line, that messages may not hold.",
            "None: every chat has words of its own. Only whole words count, and letters that look "
            "alike are the same. The messages wait for a moderator if the room has one; else they "
            "are refused.",
            AT_ONCE,
        ),
    )
    durability: Durability = field(
        default="process",
        validator=one_of(*get_args(Durability)),
        metadata=about(
            "Rooms and messages",
            "Events that messages in a file survive: the end of the process, or a power cut too.",
            "After a kill, every message that anyone has seen is still there. To survive a power "
            "cut, each batch of commands waits for the disk. PostgreSQL's synchronous_commit is "
            "the same choice.",
            AT_A_RESTART,
        ),
    )
    keep_rooms: tuple[str, ...] = field(
        default=(),
        validator=room_names,
        metadata=about(
            "Rooms and messages",
            "Rooms that exist without members, separated by commas.",
            "None: the first member makes a room and the last one ends it, as in IRC (RFC 1459, "
            "1.3).",
            AT_ONCE,
        ),
    )
    room_creator: RoomCreator = field(
        default="nobody",
        validator=one_of(*get_args(RoomCreator)),
        metadata=about(
            "Rooms and messages",
            "The moderator of a room without an owner: nobody, or its creator, as operator.",
            "Nobody: a passer-by decides nothing for others, and an account may claim the room. On "
            "IRC networks the creator is an operator until the room is empty (RFC 1459, 1.3).",
            AT_ONCE,
        ),
    )
    max_rooms: int = field(
        default=10_000,
        validator=whole(1, 1_000_000),
        metadata=about(
            "Rooms and messages",
            "Rooms at once.",
            "One for each client at its default: nobody is refused in good faith, and nobody fills "
            "the memory with empty rooms.",
            AT_ONCE,
        ),
    )
    rooms_per_client: int = field(
        default=50,
        validator=whole(2, 10_000),
        metadata=about(
            "Rooms and messages",
            "Rooms that a WebSocket or IRC client may be in at once.",
            "More than a person follows, and a bound on the cost of a resume. Ergo allows 100 "
            "channels. A line client is in one room at a time.",
            FOR_NEW_CLIENTS,
        ),
    )
    bare_lines: bool = field(
        default=False,
        validator=a_bool,
        metadata=about(
            "Rooms and messages",
            "Take a line without a slash for a message.",
            "Off, as in the gochat tutorial: a mistyped command gets an answer, and the room does "
            "not see it.",
            FOR_NEW_CLIENTS,
        ),
    )
    greeting: str = field(
        default="",
        validator=a_greeting,
        metadata=about(
            "Rooms and messages",
            "Text that each new client is shown, or file:PATH of a file with one.",
            "None, as in the gochat tutorial. It is the message of the day of IRC (RFC 2812, "
            "3.4.1), within a screenful.",
            FOR_NEW_CLIENTS,
        ),
    )
    line_bytes: int = field(
        default=8192,
        validator=whole(16, 1_048_576),
        metadata=about(
            "Rooms and messages",
            "Bytes in a line from a client, without its end; at least 4 times message-chars.",
            "Holds a command with the longest message in any script: UTF-8 has up to 4 bytes a "
            "character (RFC 3629). IRC has 512 (RFC 1459), which cuts a Cyrillic or Chinese "
            "message short. NATS has 4096 for a control line.",
            FOR_NEW_CLIENTS,
        ),
    )
    message_chars: int = field(
        default=2000,
        validator=whole(1, 262_144),
        metadata=about(
            "Rooms and messages",
            "Characters in a message.",
            "As Discord. That is a screenful, as much as a person reads at once.",
            FOR_NEW_CLIENTS,
        ),
    )
    topic_chars: int = field(
        default=300,
        validator=whole(1, 10_000),
        metadata=about(
            "Rooms and messages",
            "Characters in a topic.",
            "A few lines of a terminal, shown to everyone who joins. Ergo has 390.",
            FOR_NEW_CLIENTS,
        ),
    )
    nick_chars: int = field(
        default=32,
        validator=whole(1, 256),
        metadata=about(
            "Rooms and messages",
            "Characters in a nick.",
            "As ergo. IRC began with 9 (RFC 1459), too few for most names.",
            FOR_NEW_CLIENTS,
        ),
    )
    room_chars: int = field(
        default=64,
        validator=whole(1, 256),
        metadata=about(
            "Rooms and messages",
            "Characters in the name of a room.",
            "As ergo. RFC 2812 has 50, RFC 1459 had 200.",
            FOR_NEW_CLIENTS,
        ),
    )
    recent_entries: int = field(
        default=256,
        validator=whole(1, 100_000),
        metadata=about(
            "Rooms and messages",
            "Messages of a room that stay in memory for lagging clients.",
            "A minute of a very busy room. Clients that are further behind get older messages from "
            "the store.",
            AT_ONCE,
        ),
    )
    recent_bytes: int = field(
        default=33_554_432,
        validator=whole(0, 1_099_511_627_776),
        metadata=about(
            "Rooms and messages",
            "Bytes of memory for the messages that all rooms keep in memory.",
            "Over 100,000 usual messages. Beyond it, the rooms that have been silent for longest "
            "keep none in memory; the store still has them.",
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
            "Days a room keeps a message; 0 for no limit but history-entries.",
            "Messages are kept unless the operator wants otherwise, as in Matrix's Synapse "
            "(retention is off). Ergo deletes after a week.",
            AT_ONCE,
        ),
    )
    max_store_bytes: int = field(
        default=0,
        validator=whole(0, 1_099_511_627_776),
        metadata=about(
            "Rooms and messages",
            "Bytes that all histories take; 0 for no limit in a file, 256 MiB in memory.",
            "None: the disk has its own limit (min-free-disk-bytes). Redis (maxmemory) has no "
            "limit by default either. A full file takes no more messages; in memory, the largest "
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
            "A full disk harms everything else that writes there, such as logs. RabbitMQ stops at "
            "50 MB (disk_free_limit).",
            AT_ONCE,
        ),
    )

    node: str = field(
        default="",
        validator=a_node,
        metadata=about(
            "Several machines",
            "Name of this node among those of one chat on Redis.",
            "The machine's host name and the daemon's port: no two nodes have both in common. A "
            "node that starts anew with its name takes its old place. Without Redis it has no "
            "meaning.",
            AT_A_RESTART,
        ),
    )
    lease: float = field(
        default=10.0,
        validator=seconds(1, 300),
        metadata=about(
            "Several machines",
            "Seconds without a sign of life until other nodes take a node for dead.",
            "People who are gone seem present for so long. With less, a pause of the process or "
            "the network takes people who are there out of their rooms. Consul has sessions of 10 "
            "s at least; Kubernetes gives a leader 15 (leaseDuration). Without Redis it has no "
            "meaning.",
            AT_A_RESTART,
        ),
    )
    workers: int = field(
        default=1,
        validator=whole(1, MOST_WORKERS),
        metadata=about(
            "Several machines",
            "Processes that serve the same port, each with a Python of its own; needs Redis.",
            "One, as in uvicorn and gunicorn: a process uses one core, and most chats need less. "
            "Several share their rooms through the store.",
            AT_A_RESTART,
        ),
    )
    worker_port: int = field(
        default=0,
        validator=whole(0, 65_535 - MOST_WORKERS),
        metadata=about(
            "Several machines",
            "Port at which the first worker alone takes HTTP, and the others at those after it.",
            "None. Prometheus must reach each worker by itself: behind the common port it would "
            "read another one each time. They listen at host.",
            AT_A_RESTART,
        ),
    )

    rate_limit: float | None = field(
        default=10.0,
        validator=rate(0.01, 1_000_000),
        metadata=about(
            "Fast and slow clients",
            "Lines a second that a client may send in the long run: 10/s, 600/m or off.",
            "No person types faster. A bot is only slowed down: its lines wait, and none is lost. "
            "IRC servers are stricter: RFC 1459 allows one line every 2 s, ergo 2 a second.",
            FOR_NEW_CLIENTS,
        ),
    )
    rate_burst: int = field(
        default=30,
        validator=whole(1, 1_000_000),
        metadata=about(
            "Fast and slow clients",
            "Lines that a client may send at once before rate-limit slows it down.",
            "A pasted screenful passes at once. RFC 1459 and ergo let 5 lines pass.",
            FOR_NEW_CLIENTS,
        ),
    )
    outbox_bytes: int = field(
        default=262_144,
        validator=whole(32, 1_073_741_824),
        metadata=about(
            "Fast and slow clients",
            "Bytes that may wait for a slow client; at least twice line-bytes.",
            "Seconds of a busy room. One more batch may come on top, up to 330 KB of long "
            "messages: 1,000 stuck clients hold at most 600 MB. Ergo has 96 KB (max-sendq), Redis "
            "8 MB for 60 s (pubsub), NATS 64 MB (max_pending). Those disconnect a slow client; "
            "here it catches up later.",
            AT_ONCE,
        ),
    )
    stall_timeout: float = field(
        default=60.0,
        validator=seconds(0.1, 86_400),
        metadata=about(
            "Fast and slow clients",
            "Seconds without a byte of progress before a client is dropped.",
            "As nginx (send_timeout 60 s). That is longer than a tunnel on a train, and shorter "
            "than TCP's own patience of a quarter of an hour. NATS gives up after 10 s "
            "(write_deadline).",
            AT_ONCE,
        ),
    )
    resume_grace: float = field(
        default=60.0,
        validator=seconds(0, 86_400),
        metadata=about(
            "Fast and slow clients",
            "Seconds in which a WebSocket client may resume a broken connection; 0 for none.",
            "Enough for a tunnel, a change of networks, or a restart of a proxy. Socket.IO has two "
            "minutes, ejabberd five (XEP-0198). With more, a client that is gone seems present for "
            "longer.",
            AT_ONCE,
        ),
    )
    linger_timeout: float = field(
        default=2.0,
        validator=seconds(0, 60),
        metadata=about(
            "Fast and slow clients",
            "Seconds to read and discard after the last line to a client, so that it arrives.",
            "TCP resets a connection that is closed with unread input, and the last line is lost "
            "(RFC 1122, 4.2.2.13). nginx waits 5 s for each further read (lingering_timeout). A "
            "round trip takes less than a second.",
            FOR_NEW_CLIENTS,
        ),
    )
    stop_grace: float = field(
        default=5.0,
        validator=seconds(0, 3600),
        metadata=about(
            "Fast and slow clients",
            "Seconds that a stop may take to deliver what waits for each client.",
            "Half of what Docker allows before it kills (10 s). systemd allows 90 s.",
            AT_ONCE,
        ),
    )

    log_format: LogFormat = field(
        default="text",
        validator=one_of(*get_args(LogFormat)),
        metadata=about(
            "Logs",
            "Form of the log on stderr: text for people, or json for machines.",
            "People read it first. systemd and Docker take lines as they are.",
            AT_ONCE,
        ),
    )
    log_level: LogLevel = field(
        default="info",
        validator=one_of(*get_args(LogLevel)),
        metadata=about(
            "Logs",
            "Least serious kind of event that is logged.",
            "At info the log has connections and disconnections, with the reasons. It never has "
            "messages.",
            AT_ONCE,
        ),
    )

    control: str = field(
        default="",
        validator=a_path,
        metadata=about(
            "Operating",
            "Path of the daemon's control socket; a program that embeds a chat has none.",
            "PORT.sock in trio-chat in the user's runtime directory (XDG_RUNTIME_DIR). Several "
            "daemons have a socket each there, and `trio-chat status` finds them all.",
            AT_A_RESTART,
        ),
    )

    metrics_token_file: str = field(
        default="",
        validator=a_path,
        metadata=about(
            "Operating",
            "File with the token for /metrics and /healthz from other machines.",
            "None: only this machine reads them. A token in a file is in no command line, "
            "environment or log.",
            AT_ONCE,
        ),
    )

    @property
    def document_bytes(self) -> int:
        """The most bytes in a command of a WebSocket client, which is a JSON document.

        It holds the longest message with every character escaped (12 bytes for 4 of UTF-8), and the
        JSON around it.
        """
        return 3 * self.line_bytes + 2048

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints to listen at: those of `listen`, or else of `host` and `port`."""
        return self.listen or (Endpoint(self.host, self.port),)

    @property
    def shown_store(self) -> str:
        """The store without a password, for logs, the status and what is handed over."""
        return without_password(self.store)

    def operator_keys(self) -> frozenset[str]:
        """Return the casefolded nicks of `operators`."""
        return frozenset(parse_nick(nick, len(nick)).casefolded for nick in self.operators)

    @property
    def server_name(self) -> str:
        """The name of the server for clients of IRC: the first host name of `http_hosts`."""
        return next((host for host in self.http_hosts if not is_address(host)), SERVER_NAME)

    @property
    def keeps_accounts(self) -> bool:
        """Whether people may have accounts."""
        is_kept = self.store.startswith(SQLITE) or is_store_url(self.store)
        return self.accounts and not self.jwt_key and is_kept

    @property
    def instance(self) -> str:
        """The name for the files that a daemon has by default: see `instance_of`."""
        return instance_of(self.endpoints)

    def __attrs_post_init__(self) -> None:
        if problems := list(contradictions(self)):
            raise SettingsError("\n".join(problems))
