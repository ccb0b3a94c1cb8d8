// Who came and went, folded into one sentence: "jack and anna joined; bob left".

const MOST_PEOPLE = 500; // told apart within one sentence
const MOST_NAMED = 3;

export class Presence {
  constructor() {
    // By client id: what they were called before and now, and whether they came or went.
    this.people = new Map();
    this.others = 0;
  }

  add(event) {
    const known = this.people.get(event.author);
    if (known === undefined && this.people.size >= MOST_PEOPLE) {
      this.others += 1;
      return;
    }
    const person = known ?? { was: event.old ?? event.nick, first: event.type };
    this.people.set(event.author, { ...person, nick: event.nick, last: event.type });
  }

  // The sentence, as parts: strings, and names as `{ nick }`.
  parts() {
    const groups = { joined: [], left: [], "looked in": [], "came back": [] };
    const renamed = [];
    for (const person of this.people.values()) {
      const kind = outcome(person);
      if (kind !== null) {
        groups[kind].push(person.nick);
      } else if (person.was !== person.nick) {
        renamed.push([{ nick: person.was }, " is now ", { nick: person.nick }]);
      }
    }
    const clauses = Object.entries(groups)
      .filter(([, nicks]) => nicks.length > 0)
      .map(([what, nicks]) => [...listed(nicks), ` ${what}`]);
    clauses.push(...renamed.slice(0, MOST_NAMED));
    const more = this.others + Math.max(0, renamed.length - MOST_NAMED);
    if (more > 0) {
      clauses.push([`${more} more came, went or changed names`]);
    }
    return clauses.flatMap((clause, index) => (index === 0 ? clause : ["; ", ...clause]));
  }
}

// What a person's comings and goings amount to; null if they are where they were.
function outcome({ first, last }) {
  if (last === "left") {
    return first === "joined" ? "looked in" : "left";
  }
  if (first === "joined") {
    return "joined";
  }
  return first === "left" ? "came back" : null;
}

function listed(nicks) {
  if (nicks.length > MOST_NAMED + 1) {
    return [...commas(nicks.slice(0, MOST_NAMED)), ` and ${nicks.length - MOST_NAMED} others`];
  }
  const last = { nick: nicks.at(-1) };
  return nicks.length === 1 ? [last] : [...commas(nicks.slice(0, -1)), " and ", last];
}

const commas = (nicks) => nicks.flatMap((nick, index) => (index === 0 ? [{ nick }] : [", ", { nick }]));
