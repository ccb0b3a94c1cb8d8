// Turns a message's text into nodes: code, emphasis, quotes, links and names. Text never becomes HTML.
//
// One pass over the text finds tokens, and a stack pairs the marks of emphasis. So the time grows
// linearly with the text's length, whatever the text contains.

import { make } from "./dom.js";
import { beginsWithLetter, endsInLetter } from "./words.js";

const DEEPEST = 8; // emphasis within emphasis; marks further in stay text
const LONGEST_LINK = 2_000;
const LONGEST_NAME = 64;

// An address ends at a space, at characters that cannot be in an address, and at punctuation of scripts
// without spaces.
const ADDRESS = String.raw`[^\s<>"\x60{}|\\^\u200b\u200e\u200f\u061c\u2060\u2066-\u2069\ufeff\u3001\u3002\u3008-\u3011\u3014-\u301b\uff01\uff0c\uff0e\uff1a\uff1b\uff1f\uff61-\uff64“”„«»]`;
const TOKEN = new RegExp(
  `(?<ticks>\`+)|(?<marks>\\*+|_+|~+)|(?<link>\\b(?:https?://|www\\.)${ADDRESS}{1,${LONGEST_LINK}})` +
    `|(?<name>(?<![\\p{L}\\p{N}_])[@#]\\S{1,${LONGEST_NAME}})`,
  "giu",
);
const ELEMENTS = new Map(Object.entries({
  "*": ["em"],
  "_": ["em"],
  "**": ["strong"],
  "__": ["strong"],
  "***": ["strong", "em"],
  "~~": ["s"],
}));

// The nodes of a whole message. A message that begins with "> " is a quote.
export function message(text, names) {
  return text.startsWith("> ") && text.trim() !== ">"
    ? [make("blockquote", {}, ...inline(text.slice(2), names))]
    : inline(text, names);
}

// The text of a message without its marks.
export const plain = (text) => message(text).map((node) => node.textContent ?? node).join("");

// The nodes of text in a line. `names` maps a sign ("@", "#") to a function of the text from that sign.
// The function returns `{ length, node }` for a name, or null.
export function inline(text, names = {}) {
  const open = new Open();
  const codeEnd = codeEnds(text);
  let at = 0;
  const put = (from, to, node) => {
    open.add(text.slice(at, from), node);
    at = to;
    TOKEN.lastIndex = to;
  };
  TOKEN.lastIndex = 0;
  for (let found = TOKEN.exec(text); found !== null; found = TOKEN.exec(text)) {
    const { index: from } = found;
    const { ticks, marks, link, name } = found.groups;
    const to = from + found[0].length;
    if (ticks) {
      const end = codeEnd(from, ticks.length);
      if (end !== undefined) {
        put(from, end + ticks.length, codeNode(text.slice(to, end)));
      }
    } else if (marks) {
      const side = sidesOf(text, from, to);
      if (ELEMENTS.has(marks) && side.closes && open.has(marks)) {
        put(from, to, null);
        open.close(marks);
      } else if (ELEMENTS.has(marks) && side.opens && open.depth < DEEPEST) {
        put(from, to, null);
        open.begin(marks);
      }
    } else if (link) {
      const address = trimmed(link);
      const node = linkNode(address);
      if (node !== null) {
        put(from, from + address.length, node);
      }
    } else {
      const known = names[name[0]]?.(name);
      if (known) {
        put(from, from + known.length, known.node);
      } else {
        TOKEN.lastIndex = from + 1;
      }
    }
  }
  open.add(text.slice(at));
  return open.end();
}

// The open marks of emphasis, each with the nodes since it.
class Open {
  constructor() {
    this.frames = [{ marks: "", nodes: [] }];
  }

  get depth() {
    return this.frames.length - 1;
  }

  has(marks) {
    return this.frames.some((frame) => frame.marks === marks);
  }

  add(...nodes) {
    this.frames.at(-1).nodes.push(...nodes.filter((node) => node));
  }

  begin(marks) {
    this.frames.push({ marks, nodes: [] });
  }

  close(marks) {
    const nodes = this.#fold(this.frames.findLastIndex((frame) => frame.marks === marks));
    const [outer, inner] = ELEMENTS.get(marks);
    this.add(make(outer, {}, ...(inner ? [make(inner, {}, ...nodes)] : nodes)));
  }

  end() {
    return this.#fold(0);
  }

  // Merge the nodes of a frame and of all frames in it. Their marks were not closed, so they become
  // text.
  #fold(index) {
    const [frame, ...inner] = this.frames.splice(index);
    return [...frame.nodes, ...inner.flatMap(({ marks, nodes }) => [marks, ...nodes])];
  }
}

// Emphasis surrounds words. It does not begin within a word (`snake_case`) or at spaces (`2 * 3`).
function sidesOf(text, from, to) {
  const before = text.slice(Math.max(0, from - 2), from);
  const behind = text.slice(to, to + 2);
  return {
    opens: !endsInLetter(before) && !before.endsWith("\\") && /^[^\s.,;:!?)\]}]/u.test(behind),
    closes: !beginsWithLetter(behind) && /[^\s([{]$/u.test(before),
  };
}

// Returns a function that finds the end of code after a number of backticks, from left to right.
function codeEnds(text) {
  const runs = new Map(); // by length: where such runs begin, and how many of them are behind us
  for (const { 0: run, index } of text.matchAll(/`+/g)) {
    const known = runs.get(run.length) ?? { places: [], next: 0 };
    known.places.push(index);
    runs.set(run.length, known);
  }
  return (from, length) => {
    const known = runs.get(length);
    while (known.places[known.next] <= from) {
      known.next += 1;
    }
    return known.places[known.next];
  };
}

function codeNode(text) {
  const isPadded = text.startsWith(" ") && text.endsWith(" ") && text.trim() !== "";
  return make("code", { dir: "auto" }, isPadded ? text.slice(1, -1) : text);
}

function linkNode(address) {
  const isShort = /^www\./iu.test(address);
  const href = isShort ? `https://${address}` : address;
  const isWhole = !isShort || /^www\.[^./]+\.[^./]/iu.test(address);
  return isWhole && isWebAddress(href) ? make("a", { href, rel: "noopener noreferrer", target: "_blank" }, address) : null;
}

const BRACKETS = new Map([")(", "][", "）（", "］［"].map((pair) => [...pair]));
const OPENING = new Set(BRACKETS.values());
const ENDS = /^(?:[.,;:!?'*_~]|(?![\0-\x7f])\p{P}|[([]|\p{Cf})$/u;

// An address without the punctuation that ends a sentence, and without a bracket that closes one before
// the address.
function trimmed(address) {
  const chars = [];
  const opened = new Map();
  for (const char of address) {
    const opening = BRACKETS.get(char);
    const left = opened.get(opening) ?? 0;
    if (opening !== undefined && left === 0) {
      break;
    }
    if (opening !== undefined) {
      opened.set(opening, left - 1);
    } else if (OPENING.has(char)) {
      opened.set(char, (opened.get(char) ?? 0) + 1);
    }
    chars.push(char);
  }
  while (chars.length > 0 && ENDS.test(chars.at(-1)) && !BRACKETS.has(chars.at(-1))) {
    chars.pop();
  }
  return chars.join("");
}

function isWebAddress(address) {
  try {
    const { protocol, hostname } = new URL(address);
    return (protocol === "http:" || protocol === "https:") && hostname !== "";
  } catch {
    return false;
  }
}
