// Sums up joins and leaves in one sentence: "jack and anna joined; bob left".

const MOST_PEOPLE = 500; // told apart within one sentence
const MOST_NAMED = 3;

export class Presence {
  constructor() {
    // By id: the nicks before and now, and the first and last event.
    this.people = new Map();
    this.others = 0;
  }

  add(event) {
    // Who logs in or out gets another id.
    const known = this.people.get(event.was ?? event.author);
    this.people.delete(event.was);
    if (known === undefined && this.people.size >= MOST_PEOPLE) {
      this.others += 1;
      return;
    }
    const person = known ?? { was: event.old ?? event.nick, first: event.type };
    this.people.set(event.author, { ...person, nick: event.nick, last: event.type });
  }

  // The sentence in parts: strings, and nicks as `{ nick }`.
  parts() {
    const groups = { joined: [], left: [], "looked in": [], "came back": [] }; // each person as parts
    const renamed = [];
    for (const person of this.people.values()) {
      const kind = outcome(person);
      if (kind !== null) {
        groups[kind].push(called(person));
      } else if (person.was !== person.nick) {
        renamed.push([{ nick: person.was }, " is now ", { nick: person.nick }]);
      }
    }
    const clauses = Object.entries(groups)
      .filter(([, people]) => people.length > 0)
      .map(([what, people]) => [...listed(people), ` ${what}`]);
    clauses.push(...renamed.slice(0, MOST_NAMED));
    const more = this.others + Math.max(0, renamed.length - MOST_NAMED);
    if (more > 0) {
      clauses.push([`${more} more came, went or changed names`]);
    }
    return clauses.flatMap((clause, index) => (index === 0 ? clause : ["; ", ...clause]));
  }
}

// The result of a person's joins and leaves, or null if nothing has changed.
function outcome({ first, last }) {
  if (last === "left") {
    return first === "joined" ? "looked in" : "left";
  }
  if (first === "joined") {
    return "joined";
  }
  return first === "left" ? "came back" : null;
}

// A person who was here before is named by the nick from that time.
function called({ first, was, nick }) {
  return first === "joined" || was === nick ? [{ nick }] : [{ nick: was }, " (now ", { nick }, ")"];
}

function listed(people) {
  if (people.length > MOST_NAMED + 1) {
    return [...commas(people.slice(0, MOST_NAMED)), ` and ${people.length - MOST_NAMED} others`];
  }
  const last = people.at(-1);
  return people.length === 1 ? last : [...commas(people.slice(0, -1)), " and ", ...last];
}

const commas = (people) => people.flatMap((person, index) => (index === 0 ? person : [", ", ...person]));
