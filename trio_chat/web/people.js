// Shows people: the name in a colour, and initials in a circle of that colour.

import { make } from "./dom.js";

const HUES = 12; // as many as style.css has
const MOST_KNOWN = 1_000; // people whose colours are remembered
const MOST_COMPARED = 200; // in a larger room, colours repeat anyway

const palettes = new WeakMap(); // by place: hue by nick
const usual = new Map(); // hue by nick, in the place that showed them last

// The nicks of a place's members, by casefolded nick.
export function namesIn(place) {
  if (place.names?.version !== place.membersChanged) {
    const members = [...place.members].filter(([, nick]) => nick !== "anonymous");
    place.names = {
      version: place.membersChanged,
      byName: new Map(members.map(([client, nick]) => [nick.toLowerCase(), { client, nick }])),
    };
  }
  return place.names.byName;
}

// A person's colour in a place. It is the same in all places, unless another member has it here.
function hueIn(place, nick) {
  const folded = nick.toLowerCase();
  const palette = palettes.get(place) ?? new Map();
  palettes.set(place, palette);
  const known = palette.get(folded);
  if (known !== undefined) {
    return known;
  }
  const hue = leastUsed(place, palette, usual.get(folded) ?? hashOf(folded) % HUES);
  keep(palette, folded, hue);
  keep(usual, folded, hue);
  return hue;
}

function keep(hues, folded, hue) {
  hues.set(folded, hue);
  if (hues.size > MOST_KNOWN) {
    hues.delete(hues.keys().next().value);
  }
}

// The first hue, from this one on, that the fewest people have. Present members count most.
function leastUsed(place, palette, first) {
  const here = namesIn(place);
  if (here.size > MOST_COMPARED) {
    return first;
  }
  const uses = new Array(HUES).fill(0);
  for (const [folded, hue] of palette) {
    uses[hue] += here.has(folded) ? MOST_KNOWN : 1;
  }
  const hues = uses.map((_, index) => (first + index * STEP) % HUES);
  return hues.reduce((best, hue) => (uses[hue] < uses[best] ? hue : best));
}

const STEP = 5; // no divisor of HUES: all are tried, and neighbours in the circle late

function hashOf(text) {
  let hash = 2166136261; // FNV-1a
  for (const char of text) {
    hash = Math.imul(hash ^ char.codePointAt(0), 16777619);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b); // its last characters alone would be too near
  return (hash ^ (hash >>> 13)) >>> 0;
}

// A nick whose text direction is isolated.
export function nickNode(place, nick) {
  return make("bdi", { className: `nick hue-${hueIn(place, nick)}` }, nick);
}

// The style sheet shows the initials, so that copying text leaves them out.
export function avatar(place, nick) {
  const node = make("span", { className: `avatar hue-${hueIn(place, nick)}`, ariaHidden: "true" });
  node.dataset.initials = initials(nick);
  return node;
}

const characters = new Intl.Segmenter();

// The first letter of a nick and, if it has two parts, of its second part.
export function initials(nick) {
  const parts = nick.split(/[^\p{L}\p{M}\p{N}]+/u).filter(Boolean);
  return (parts.length > 0 ? parts : [nick])
    .slice(0, 2)
    .map((part) => [...characters.segment(part)][0].segment)
    .join("")
    .toUpperCase();
}
