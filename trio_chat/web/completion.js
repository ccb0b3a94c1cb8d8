// What may be meant by what is typed so far: commands, names, rooms.

const MOST = 30;

// What stands at `caret`, and what it may become: `{ from, to, options }`, with `{ insert, label,
// hint }` for each option; null if there is nothing to complete. `isAsked`: by the Tab key, and not
// by the way.
export function complete(text, caret, { commands, nicks, rooms }, isAsked) {
  const before = text.slice(0, caret);
  const word = before.match(/\S*$/u)[0];
  const from = caret - word.length;
  const result = (options) => (options.length === 0 ? null : { from, to: caret, options: options.slice(0, MOST) });
  if (from === 0 && word.startsWith("/")) {
    return result(commandOptions(commands, word.slice(1)));
  }
  const [, command] = before.match(/^\/(\S+) +\S*$/u) ?? [];
  if (command === "join") {
    return result(nameOptions(rooms, word, ""));
  }
  if (command === "help") {
    return result(nameOptions(commands.map(({ name }) => name), word, ""));
  }
  if (command === "tell") {
    return result(nameOptions(nicks, word, " "));
  }
  if (!isAsked || word === "") {
    return null;
  }
  if (word.startsWith("#")) {
    return result(nameOptions(rooms, word, " "));
  }
  return result(nameOptions(nicks, word.replace(/^@/u, ""), from === 0 ? ": " : " "));
}

function commandOptions(commands, start) {
  return commands
    .filter(({ name }) => name.startsWith(start.toLowerCase()))
    .map(({ name, usage, help }) => ({
      insert: usage.includes(" ") ? `/${name} ` : `/${name}`,
      label: usage,
      hint: help,
    }));
}

function nameOptions(names, start, end) {
  const folded = start.toLowerCase();
  return [...new Set(names)]
    .filter((name) => name.toLowerCase().startsWith(folded) || name.toLowerCase().startsWith(`#${folded}`))
    .sort((one, other) => one.localeCompare(other))
    .map((name) => ({ insert: name + end, label: name, hint: "" }));
}
