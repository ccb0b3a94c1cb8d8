// Nodes made by hand: what people say becomes text, and never markup.

export const byId = (id) => document.getElementById(id);

// Whether a key belongs to an input method. Safari says so by 229 alone of the key that ends a
// composition.
export const isComposing = ({ isComposing: is, keyCode }) => is || keyCode === 229;

// An element with properties, and with children: nodes, or strings that become text.
export function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// A name in a direction of its own, in its person's colour.
export function nickNode(nick, className = "nick") {
  return make("bdi", { className: `${className} hue-${hueOf(nick)}` }, nick);
}

const HUES = 12; // as many as style.css has

function hueOf(nick) {
  let hash = 2166136261; // FNV-1a
  for (const char of nick.toLowerCase()) {
    hash = Math.imul(hash ^ char.codePointAt(0), 16777619);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b); // its last characters alone would be too near
  return ((hash ^ (hash >>> 13)) >>> 0) % HUES;
}

// An address ends at a space, at what no address has, and at the signs of scripts without spaces.
const LINK = /\bhttps?:\/\/[^\s<>"`{}|\\^\u200b\u200e\u200f\u061c\u2060\u2066-\u2069\ufeff\u3001\u3002\u3008-\u3011\u3014-\u301b\uff01\uff0c\uff0e\uff1a\uff1b\uff1f\uff61-\uff64“”„«»]+/giu;

// A text as nodes: what is a http(s) address is a link, all else stays text.
export function textNodes(text) {
  const nodes = [];
  let at = 0;
  for (const found of text.matchAll(LINK)) {
    const address = trimmed(found[0]);
    if (!isWebAddress(address)) {
      continue;
    }
    nodes.push(text.slice(at, found.index), linkNode(address));
    at = found.index + address.length;
  }
  nodes.push(text.slice(at));
  return nodes.filter((node) => node !== "");
}

function linkNode(address) {
  return make("a", { href: address, rel: "noopener noreferrer", target: "_blank" }, address);
}

const BRACKETS = new Map([")(", "][", "）（", "］［"].map((pair) => [...pair]));
const ENDS = /(?:[.,;:!?'*_~]|(?![\0-\x7f])\p{P}|[([]|\p{Cf})$/u;

// Without a bracket that was opened before the address and all behind it, and without what ends a
// sentence.
function trimmed(address) {
  let text = "";
  for (const char of address) {
    const opening = BRACKETS.get(char);
    if (opening !== undefined && count(text, char) >= count(text, opening)) {
      break;
    }
    text += char;
  }
  while (ENDS.test(text) && !BRACKETS.has(text.at(-1))) {
    text = text.slice(0, -1);
  }
  return text;
}

const count = (text, char) => text.split(char).length - 1;

function isWebAddress(address) {
  try {
    const { protocol, hostname } = new URL(address);
    return (protocol === "http:" || protocol === "https:") && hostname !== "";
  } catch {
    return false;
  }
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

// A server's time, in seconds, as a node.
export function timeNode(seconds) {
  const date = new Date(seconds * 1000);
  const known = !Number.isNaN(date.getTime());
  return make(
    "time",
    known ? { dateTime: date.toISOString(), title: FULL.format(date) } : {},
    known ? TIME.format(date) : "",
  );
}

export function dayOf(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "" : date.toDateString();
}

export function dayName(seconds) {
  const date = new Date(seconds * 1000);
  const now = new Date();
  const ago = Math.round((startOf(now) - startOf(date)) / 86_400_000);
  if (ago === 0 || ago === 1) {
    return ago === 0 ? "Today" : "Yesterday";
  }
  const year = date.getFullYear() === now.getFullYear() ? "" : ` ${date.getFullYear()}`;
  return DAY.format(date) + year;
}

const startOf = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());
