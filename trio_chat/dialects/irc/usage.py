"""HELP: what each command of IRC does. The help of all other commands is that of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.dialects.irc.parameters import CommandRow, answer
from trio_chat.protocol.commands import Help

if TYPE_CHECKING:
    from trio_chat.dialects.irc.parameters import Context, Params, Parts

# The parameters of each command, and what it does.
USAGE: Final = {
    "ADMIN": ("[SERVER]", "says that nothing is known of who runs the server"),
    "AUTHENTICATE": ("PLAIN", "log in by SASL"),
    "AWAY": ("[:TEXT]", "say that you are away, or without a text that you are back"),
    "CAP": ("LS|LIST|REQ|END [:CAPABILITIES]", "negotiate capabilities"),
    "CHATHISTORY": ("LATEST|BEFORE|AFTER|AROUND|BETWEEN ROOM ...", "read what was said in a room"),
    "CONNECT": ("", "is not here: the owner of the server has commands of its own"),
    "DIE": ("", "is not here: the owner of the server has commands of its own"),
    "HELP": ("[COMMAND]", "show the commands, or explain one of them"),
    "HELPOP": ("[COMMAND]", "show the commands, or explain one of them"),
    "INFO": ("[SERVER]", "show what the server is"),
    "INVITE": ("NICK ROOM", "invite somebody to a room"),
    "ISON": ("NICK ...", "ask which of these people are here"),
    "JOIN": ("ROOM[,ROOM...] [KEY[,KEY...]]", "enter rooms"),
    "KICK": ("ROOM NICK [:REASON]", "remove somebody from a room"),
    "KILL": ("NICK :REASON", "end the connections of somebody, as an operator of the server"),
    "LINKS": ("[MASK]", "show the only server"),
    "LIST": ("[MASK|<N|>N,...]", "list the rooms, their members and topics"),
    "LUSERS": ("", "count the people and rooms"),
    "MARKREAD": ("ROOM|NICK [timestamp=TIME]", "say or ask up to when you have read"),
    "MODE": ("ROOM|NICK [MODES] [NICK|KEY|LIMIT...]", "show modes, or change them"),
    "MONITOR": ("+|-|C|L|S [NICK,...]", "be told when people come and go"),
    "MOTD": ("[SERVER]", "show the message of the day"),
    "NAMES": ("[ROOM,...]", "list the members of your rooms"),
    "NICK": ("NICK", "take a nick"),
    "NICKSERV": ("IDENTIFY|REGISTER|RECOVER|LOGOUT|INFO ...", "use an account"),
    "NOTICE": ("ROOM|NICK :TEXT", "send a message that nobody answers automatically"),
    "NS": ("IDENTIFY|REGISTER|RECOVER|LOGOUT|INFO ...", "use an account"),
    "OPER": ("NAME PASSWORD", "log in to an account that is an operator of the server"),
    "PART": ("ROOM[,ROOM...] [:REASON]", "leave rooms"),
    "PASS": ("NAME:PASSWORD", "log in before NICK and USER"),
    "PING": ("TOKEN", "ask for an answer"),
    "PONG": ("TOKEN", "answer the server"),
    "PRIVMSG": ("ROOM|NICK[,...] :TEXT", "send a message to rooms or people"),
    "QUIT": ("[:REASON]", "leave the chat"),
    "REDACT": ("ROOM ID [:REASON]", "take a message back, or remove it as a moderator"),
    "REHASH": ("", "is not here: the owner of the server has commands of its own"),
    "RESTART": ("", "is not here: the owner of the server has commands of its own"),
    "SERVLIST": ("", "lists nothing: there are no services"),
    "SETNAME": (":NAME", "change your real name"),
    "SQUERY": ("", "is not here: write to NickServ"),
    "SQUIT": ("", "is not here: the owner of the server has commands of its own"),
    "STATS": ("u [SERVER]", "show since when the server is up"),
    "SUMMON": ("", "is not here"),
    "TAGMSG": ("ROOM|NICK", "does nothing here"),
    "TIME": ("[SERVER]", "show the time of the server"),
    "TOPIC": ("ROOM [:TEXT]", "show the topic of a room, or set it"),
    "USER": ("NAME 0 * :REAL-NAME", "say who you are"),
    "USERHOST": ("NICK ...", "show the user names of people"),
    "USERS": ("", "is not here"),
    "VERSION": ("[SERVER]", "show the version of the server, and what it supports"),
    "WHO": ("ROOM|NICK|MASK [%FIELDS]", "list people"),
    "WHOIS": ("NICK[,NICK...]", "show what is known of people"),
    "WHOWAS": ("NICK [COUNT]", "show who had a nick in the last hour"),
}


def _help(params: Params, _: Context) -> Parts:
    if params and (usage := USAGE.get(params[0].upper())) is not None:
        words, meaning = usage
        shown = f"{params[0].upper()} {words}".rstrip()
        yield answer("704", params[0], f"{shown} - {meaning}"), params
        yield answer("706", params[0], "End of help"), params
    else:
        yield Help(params[0].lower() if params else None), params


ROWS: Final = dict.fromkeys(("HELP", "HELPOP"), CommandRow(0, _help))
