"""The rules for nicks and room names, and for which of them count as the same."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from attrs import frozen
from precis_i18n import get_profile

from trio_chat.errors import Code, Refused
from trio_chat.protocol.text import printable

if TYPE_CHECKING:
    from collections.abc import Collection

ANONYMOUS = "anonymous"

# A log keeps the rules of the whole server under this name. No room has it: no name of a room holds
# a space, in any version.
SERVER: Final = "the server"

# Nobody can take these nicks, or a nick that looks like one of them.
RESERVED: Final = (
    "anonymous",  # the nick of a new client
    "server", "system",  # they would speak for the program
    "admin", "administrator", "moderator", "operator", "root",  # for the operator
    "everyone", "nobody", "you",  # the server's own words for people
    "nickserv", "chanserv",  # the services of IRC, which people send their passwords
)  # fmt: skip

# Nobody can take a nick with this beginning. IRC calls people without a nick so, with the first
# characters of their ids behind it.
RESERVED_BEGINNING: Final = "anonymous-"
_ID_CHARS: Final = 8
_UNNAMED_CHARS: Final = len(RESERVED_BEGINNING) + _ID_CHARS

# Vietnamese and the Indic scripts stack three marks at most, and a nick is one line high.
MAX_MARKS: Final = 4

# One character never decomposes into more than four, so no text gets shorter than a fourth.
_MOST_COMPOSED: Final = 4

# PRECIS refuses control, default ignorable and bidi control characters by itself. It allows these:
# the joiners (in some contexts), and other characters that draw nothing.
_BLANK: Final = "\u200c\u200d\u2800\ufffc\U00013441\U00013442\U00016fe4\U0001d159"

# With one of these, "> john\ua789 joined the room" would look like a message from john. Visarga
# looks like a colon too, but is a letter of the Indic scripts.
_COLONS: Final = "\u02d0\u02f8\u0589\u05c3\u0703\u0704\u16ec\u1803\u1809\u205a\u2236\ua4fd\ua789"

_NEVER: Final = r"\s\x00-\x1f\x7f-\x9f" + _BLANK
_NOT_IN_NICKS: Final = re.compile(f"[{_NEVER}#/@:,*!{_COLONS}]")
_NOT_IN_ROOMS: Final = re.compile(f"[{_NEVER},]")

# In IRC these mark a room, a rank or a mask of servers. "?" and "*" are wildcards there. A client
# that an earlier version handed over may still have such a nick.
_NOT_FIRST_IN_NEW_NICKS: Final = "$&+%~"
_NOT_IN_NEW_NICKS: Final = "?"
# With or without these around it, a reserved word speaks for the program: [server] is server. To
# Unicode, the signs that are listed are letters, but people see quotation marks and accents.
_SIGNS: Final = r"[\W_\u02b9-\u02df\u02e5-\u02ff\u0374\ua700-\ua721\ua788-\ua78a]"
_AROUND_WORDS: Final = re.compile(f"^{_SIGNS}+|{_SIGNS}+$")

_DISPLAY: Final = get_profile("NicknameCasePreserved")
_CASEFOLDED: Final = get_profile("NicknameCaseMapped:CaseFold")

# The ASCII rows of `_prototypes`. With them a chat in ASCII never loads that table.
_ASCII_PROTOTYPES: Final = str.maketrans(
    {"0": "O", "1": "l", "I": "l", "|": "l", "m": "rn", "`": "'", '"': "''", "%": "\xba/\u2080"}
)


@frozen
class Name:
    """A nick or a room name that keeps the rules.

    People see `display`. The chat looks a name up by `casefolded`. Two names clash if their `keys`
    have one in common, and then only one of them can be taken. The first key is `casefolded`.
    """

    display: str
    casefolded: str
    keys: tuple[str, ...]


# The name of a client without a nick.
NOBODY: Final = Name(ANONYMOUS, "", ())


@frozen
class _Kind:
    """A kind of names: the characters they may not hold, and the code and noun of refusals.

    `setting` is the setting for their length.
    """

    noun: str
    code: Code
    setting: str
    unwanted: re.Pattern[str]

    def refusal(self, rule: str, *, limit: str | None = None) -> Refused:
        """Make the exception for a name that breaks this rule."""
        return Refused(f"a {self.noun} {rule}", code=self.code, limit=limit)


_NICK: Final = _Kind("nick", Code.BAD_NICK, "nick_chars", _NOT_IN_NICKS)
_ROOM: Final = _Kind("room name", Code.BAD_ROOM_NAME, "room_chars", _NOT_IN_ROOMS)


def parse_nick(text: str, limit: int, *, reserved: bool = False) -> Name:
    """Return the nick that `text` stands for, by the Nickname profile of PRECIS (RFC 8264, 8266).

    A nick has one to `limit` characters, counted in `display`. These are the other rules:

    - It holds no white space and no control, invisible or bidi control characters. The joiners of
      Persian and of emoji are among these.
    - It holds none of `# / @ : , * ! ?`, and no character that looks like `:`.
    - It has at most `MAX_MARKS` combining marks in a row, and none at its beginning.
    - It does not begin with one of `> $ & + % ~`.
    - It does not look like one of `RESERVED`, with or without punctuation and symbols around it.
    - It does not begin like `RESERVED_BEGINNING`, with or without those.

    With `reserved` a nick may hold `?`, begin with one of `$ & + % ~`, and be reserved, which takes
    `_UNNAMED_CHARS` in any case. That is for looking a client up: it may have had its nick since an
    earlier version, or have none.

    A nick clashes with nicks that differ only in case, and with nicks that look the same (UTS #39).
    Parsing `display` again gives the same nick. Raises `Refused` with the first broken rule.
    """
    display, casefolded = _enforce(text, max(limit, _UNNAMED_CHARS) if reserved else limit, _NICK)
    if display.startswith(">"):
        raise _NICK.refusal("may not begin with '>'")
    keys = _nick_keys(display, casefolded)
    if not reserved:
        _refuse_new_nick(display, keys)
    return Name(display, casefolded, keys)


def unnamed(person: str) -> str:
    """Return what IRC calls a person without a nick: there everyone needs one."""
    return f"{RESERVED_BEGINNING}{person[:_ID_CHARS]}"


def parse_room(text: str, limit: int) -> Name:
    """Return the room name that `text` stands for, by the Nickname profile of PRECIS.

    A room name has one to `limit` characters, counted in `display`. It holds no white space, no
    control, invisible or bidi control characters, and no comma. It has at most `MAX_MARKS`
    combining marks in a row, and none at its beginning.

    `general` and `#general` are two rooms, and `#General` is the second of them. Raises `Refused`
    with the first broken rule.
    """
    display, casefolded = _enforce(text, limit, _ROOM)
    return Name(display, casefolded, (casefolded,))


def casefold_room(text: str) -> str:
    """Return the casefolded form of a room name that keeps the rules.

    This takes a hundredth of the time of `parse_room`. Of other text it makes the name of no room.
    """
    if text.isascii():
        return text.lower()
    normal = unicodedata.normalize("NFKC", text)
    return unicodedata.normalize("NFKC", normal.casefold())


def only_room(names: Collection[str]) -> str:
    """Give the room that a command without one means: the only one that its client is in.

    Raises `Refused` if there are none or several.
    """
    if not names:
        raise Refused("you are in no room; use /join ROOM first", code=Code.NOT_IN_ROOM)
    if len(names) > 1:
        raise Refused("say which room: you are in several", code=Code.SAY_WHICH_ROOM)
    [name] = names
    return name


def _enforce(text: str, limit: int, kind: _Kind) -> tuple[str, str]:
    """Return `text` as people see it, and casefolded."""
    if not text:
        raise kind.refusal("may not be empty")
    _refuse_characters(text, kind)
    # The length counts after PRECIS, which is slow, and makes 18 characters of U+FDFA.
    if len(text) > limit * _MOST_COMPOSED or len(unicodedata.normalize("NFKC", text)) > limit:
        raise kind.refusal(f"may have at most {limit} characters", limit=kind.setting)
    # PRECIS does not change the ASCII characters that are left.
    if text.isascii():
        return text, text.lower()
    display, casefolded = _apply_precis(text, kind)
    # Again: PRECIS makes "a/c" of U+2100, and a plain comma of a wide one.
    _refuse_characters(display, kind)
    _refuse_marks(display, kind)
    return display, casefolded


def _apply_precis(text: str, kind: _Kind) -> tuple[str, str]:
    try:
        return _DISPLAY.enforce(text), _CASEFOLDED.enforce(text)
    except UnicodeEncodeError as error:
        char = error.object[error.start]
        raise kind.refusal(f"may not contain {_describe(char)}") from None


def _refuse_characters(text: str, kind: _Kind) -> None:
    found = kind.unwanted.search(text)
    if found:
        raise kind.refusal(f"may not contain {_describe(found[0])}")


def _refuse_marks(text: str, kind: _Kind) -> None:
    kinds = "".join(unicodedata.category(char)[0] for char in text)
    if kinds.startswith("M"):
        raise kind.refusal("may not begin with an accent or mark: a letter comes first")
    if "M" * (MAX_MARKS + 1) in kinds:
        raise kind.refusal(f"may not contain more than {MAX_MARKS} accents or marks on one letter")


def _refuse_new_nick(display: str, keys: tuple[str, ...]) -> None:
    """Refuse a nick that only a client from an earlier version may have."""
    if display[0] in _NOT_FIRST_IN_NEW_NICKS:
        raise _NICK.refusal(f"may not begin with '{display[0]}'")
    if _NOT_IN_NEW_NICKS in display:
        raise _NICK.refusal(f"may not contain '{_NOT_IN_NEW_NICKS}'")
    word = _AROUND_WORDS.sub("", display)
    if word != display:
        keys += _nick_keys(word, word.casefold())
    if not _RESERVED_KEYS.isdisjoint(keys) or any(
        key.startswith(_RESERVED_BEGINNINGS) for key in keys
    ):
        raise Refused(
            f"the nick '{printable(display)}' is reserved: please choose another",
            code=Code.NICK_RESERVED,
        )


def _describe(char: str) -> str:
    if char.isspace():
        return "white space"
    if unicodedata.category(char) == "Cc":
        return "control characters (arrow keys send them)"
    if char in _COLONS:
        return "characters that look like ':'"
    if unicodedata.category(char) == "Cf" or char in _BLANK:
        return "invisible characters"
    return f"'{char}'" if char.isascii() else f"the character U+{ord(char):04X}"


def _nick_keys(display: str, casefolded: str) -> tuple[str, ...]:
    # 1. The casefolded form, which people type: john is JOHN.
    # 2. The look of the casefolded form: john is j\u043ehn, with a Cyrillic o, and b0b is bob.
    # 3. The look of the display form: JOHN is \u0408\u041e\u041dN, in Cyrillic capitals. In small
    #    letters they look different. Ivan, with a capital I, is lvan, with a small L.
    return tuple(dict.fromkeys((casefolded, likeness(casefolded), likeness(display))))


def likeness(text: str) -> str:
    """Return the key that all names with the look of `text`, in any case, have in common."""
    # The look comes first: a capital I looks like an l, and casefolding makes an i of it. Then it
    # comes again: casefolding makes an m of an M, and an m looks like rn.
    return _skeleton(_skeleton(text).casefold())


def _skeleton(text: str) -> str:
    """Return the skeleton of `text` by UTS #39, section 4: equal for texts that look the same."""
    if text.isascii():
        return text.translate(_ASCII_PROTOTYPES)
    text = unicodedata.normalize("NFD", text).translate(_prototypes())
    return unicodedata.normalize("NFD", text)


@cache
def _prototypes() -> dict[int, str]:
    """Return the prototype of each character, read once from the data of confusable-homoglyphs.

    The data has both directions of each row of Unicode's confusables.txt, in the order of that
    file. So the entry of a character comes before the entry of its prototype. In Unicode's file a
    prototype has no row of its own.
    """
    source = files("confusable_homoglyphs") / "confusables.json"
    rows: dict[str, list[dict[str, str]]] = json.loads(source.read_text(encoding="utf-8"))
    prototypes: dict[int, str] = {}
    seen: set[str] = set()
    for glyph, alike in rows.items():
        if glyph not in seen:
            prototype = alike[0]["c"]
            seen.add(prototype)
            # In confusables.txt these marks only keep right-to-left letters in place.
            prototypes[ord(glyph.strip("\u200e"))] = prototype.strip("\u200e")
    return prototypes


_RESERVED_KEYS: Final = frozenset[str]().union(*(_nick_keys(word, word) for word in RESERVED))
_RESERVED_BEGINNINGS: Final = tuple(_nick_keys(RESERVED_BEGINNING, RESERVED_BEGINNING))
