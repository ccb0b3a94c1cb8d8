"""What a nick or a room's name may look like, and which of them count as the same."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache
from importlib.resources import files
from typing import Final

from attrs import frozen
from precis_i18n import get_profile

from trio_chat.errors import Code, Refused
from trio_chat.protocol.text import printable

ANONYMOUS = "anonymous"

# Nicks nobody can take, nor anything that looks like one of them.
RESERVED: Final = (
    "anonymous",  # what everyone without a nick is called
    "server", "system",  # would speak for the program
    "admin", "administrator", "moderator", "operator", "root",  # would speak for who runs it
    "everyone", "nobody", "you",  # words the server's own sentences use of people
)  # fmt: skip

# Nor can anybody take one that begins so. IRC will call people without a nick by this and their id.
RESERVED_BEGINNING: Final = "anonymous-"

# Vietnamese and the Indic scripts stack three at most; a nick is one line high.
MAX_MARKS: Final = 4

# One character never decomposes into more than four, so nothing gets shorter than a fourth.
_MOST_COMPOSED: Final = 4

# PRECIS refuses control, default ignorable and bidi control characters by itself. It lets these by:
# the joiners (in some contexts), and characters of other kinds that draw nothing.
_BLANK: Final = "\u200c\u200d\u2800\ufffc\U00013441\U00013442\U00016fe4\U0001d159"

# Within "> john\ua789 joined the room" one of these would make it something that john said.
# Visarga looks alike too, but is a letter of the Indic scripts.
_COLONS: Final = "\u02d0\u02f8\u0589\u05c3\u0703\u0704\u16ec\u1803\u1809\u205a\u2236\ua4fd\ua789"

_NEVER: Final = r"\s\x00-\x1f\x7f-\x9f" + _BLANK
_NOT_IN_NICKS: Final = re.compile(f"[{_NEVER}#/@:,*!{_COLONS}]")
_NOT_IN_ROOMS: Final = re.compile(f"[{_NEVER},]")

# In IRC these would make a room, someone with a rank or a mask of servers of a nick. "?" is a
# wildcard there, as "*" is. Clients that came over an upgrade may have such a nick still.
_NOT_FIRST_IN_NEW_NICKS: Final = "$&+%~"
_NOT_IN_NEW_NICKS: Final = "?"

_DISPLAY: Final = get_profile("NicknameCasePreserved")
_CASEFOLDED: Final = get_profile("NicknameCaseMapped:CaseFold")

# The ASCII rows of the table below, so that a chat in ASCII never loads it.
_ASCII_PROTOTYPES: Final = str.maketrans(
    {"0": "O", "1": "l", "I": "l", "|": "l", "m": "rn", "`": "'", '"': "''", "%": "\xba/\u2080"}
)


@frozen
class Name:
    """A nick or a room's name that was found good.

    `display` is what people see, `casefolded` what it is looked up by, whatever the case.
    Two names clash, so that only one of them can be taken, when their `keys` have any in common.
    The first of these is `casefolded`.
    """

    display: str
    casefolded: str
    keys: tuple[str, ...]


@frozen
class _Kind:
    """A kind of names: what they may not hold, and what is said of one that breaks a rule.

    `setting` says how long they may be.
    """

    noun: str
    code: Code
    setting: str
    unwanted: re.Pattern[str]

    def refusal(self, rule: str, *, limit: str | None = None) -> Refused:
        """Make the exception for a name that breaks a rule."""
        return Refused(f"a {self.noun} {rule}", code=self.code, limit=limit)


_NICK: Final = _Kind("nick", Code.BAD_NICK, "nick_chars", _NOT_IN_NICKS)
_ROOM: Final = _Kind("room name", Code.BAD_ROOM_NAME, "room_chars", _NOT_IN_ROOMS)


def parse_nick(text: str, limit: int, *, reserved: bool = False) -> Name:
    """Return the nick that `text` stands for, by the Nickname profile of PRECIS (RFC 8264, 8266).

    A nick has one to `limit` characters, counted in `display`. It holds no white space, no control,
    invisible or bidi control characters (the joiners of Persian or of emoji among them), none of
    `# / @ : , * ! ?`, nothing that looks like `:`, and no more than `MAX_MARKS` combining marks in
    a row. It does not begin with such a mark, nor with one of `> $ & + % ~`. It looks like
    none of `RESERVED`, and does not begin with what looks like `RESERVED_BEGINNING`.

    `reserved` is for looking someone up, who may have a nick since an earlier version that nobody
    can take now. Then it may hold `?`, begin with one of `$ & + % ~`, and be reserved.

    It clashes with nicks equal but for case and with those that look the same (UTS #39).
    Parsing `display` again gives the same. Raises `Refused` with the first rule that is broken.
    """
    display, casefolded = _enforce(text, limit, _NICK)
    if display.startswith(">"):
        raise _NICK.refusal("may not begin with '>'")
    keys = _nick_keys(display, casefolded)
    if not reserved:
        _refuse_new_nick(display, keys)
    return Name(display, casefolded, keys)


def parse_room(text: str, limit: int) -> Name:
    """Return the room's name that `text` stands for, by the Nickname profile of PRECIS.

    It has one to `limit` characters, counted in `display`; holds no white space, no control,
    invisible or bidi control characters, no comma, no more than `MAX_MARKS` combining marks in a
    row; and does not begin with such a mark. `general` and `#general` are two rooms; `#General`
    is the second of them. Raises `Refused` with the first rule that is broken.
    """
    display, casefolded = _enforce(text, limit, _ROOM)
    return Name(display, casefolded, (casefolded,))


def casefold_room(text: str) -> str:
    """Return the casefolded form of a room's name that is known to be good.

    It takes a hundredth of the time of `parse_room`, and makes of other text the name of no room.
    """
    if text.isascii():
        return text.lower()
    normal = unicodedata.normalize("NFKC", text)
    return unicodedata.normalize("NFKC", normal.casefold())


def _enforce(text: str, limit: int, kind: _Kind) -> tuple[str, str]:
    """Return `text` as it is shown, and casefolded."""
    if not text:
        raise kind.refusal("may not be empty")
    _refuse_characters(text, kind)
    # As long as PRECIS makes it, which takes its time for each character, and makes 18 of U+FDFA.
    if len(text) > limit * _MOST_COMPOSED or len(unicodedata.normalize("NFKC", text)) > limit:
        raise kind.refusal(f"may have at most {limit} characters", limit=kind.setting)
    # PRECIS changes nothing in what is left of ASCII.
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
    """Refuse what nobody can take, though someone may have it since an earlier version."""
    if display[0] in _NOT_FIRST_IN_NEW_NICKS:
        raise _NICK.refusal(f"may not begin with '{display[0]}'")
    if _NOT_IN_NEW_NICKS in display:
        raise _NICK.refusal(f"may not contain '{_NOT_IN_NEW_NICKS}'")
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
        return "control characters, such as arrow keys send"
    if char in _COLONS:
        return "characters that look like ':'"
    if unicodedata.category(char) == "Cf" or char in _BLANK:
        return "invisible characters"
    return f"'{char}'" if char.isascii() else f"the character U+{ord(char):04X}"


def _nick_keys(display: str, casefolded: str) -> tuple[str, ...]:
    # The casefolded form: john is JOHN. (Its look says so too; it is here as what people type.)
    # How the casefolded form looks: john is j\u043ehn, with a Cyrillic o, and b0b is bob.
    # How the display form looks: JOHN is \u0408\u041e\u041dN, whose Cyrillic letters look like
    # Latin ones only as capitals; and Ivan, with a capital I, is lvan, with a small L; ivan is not.
    return tuple(dict.fromkeys((casefolded, _likeness(casefolded), _likeness(display))))


def _likeness(text: str) -> str:
    """Return what all names that look like `text`, whatever the case, have in common."""
    # Looks first: a capital I looks like an l, and would be an i once casefolded. Then again:
    # folding makes letters with a look of their own, an m (which looks like rn) of an M.
    return _skeleton(_skeleton(text).casefold())


def _skeleton(text: str) -> str:
    """Return the skeleton of `text` by UTS #39, section 4: equal for texts that look the same."""
    if text.isascii():
        return text.translate(_ASCII_PROTOTYPES)
    text = unicodedata.normalize("NFD", text).translate(_prototypes())
    return unicodedata.normalize("NFD", text)


@cache
def _prototypes() -> dict[int, str]:
    """Return what each character looks like, read once from confusable-homoglyphs' own data.

    That file has both directions of each row of Unicode's confusables.txt, in that file's order:
    a character's entry comes before that of its prototype, and no prototype has one itself.
    """
    source = files("confusable_homoglyphs") / "confusables.json"
    rows: dict[str, list[dict[str, str]]] = json.loads(source.read_text(encoding="utf-8"))
    prototypes: dict[int, str] = {}
    seen: set[str] = set()
    for glyph, alike in rows.items():
        if glyph not in seen:
            prototype = alike[0]["c"]
            seen.add(prototype)
            # Marks that only keep right-to-left letters in place within confusables.txt.
            prototypes[ord(glyph.strip("\u200e"))] = prototype.strip("\u200e")
    return prototypes


_RESERVED_KEYS: Final = frozenset[str]().union(*(_nick_keys(word, word) for word in RESERVED))
_RESERVED_BEGINNINGS: Final = tuple(_nick_keys(RESERVED_BEGINNING, RESERVED_BEGINNING))
