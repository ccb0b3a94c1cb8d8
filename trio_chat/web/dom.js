// Makes nodes. Text from people becomes text nodes, and never markup.

export const byId = (id) => document.getElementById(id);

// Whether a key belongs to an input method. In Safari, only keyCode 229 marks the key that ends a
// composition.
export const isComposing = ({ isComposing: is, keyCode }) => is || keyCode === 229;

// Makes an element with properties and children. Children are nodes, or strings that become text.
export function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Move the focus to a node from a button that is gone, or goes with the list that it is `among`. It stays
// where the person has moved it since they used the button.
export function focusInstead(node, among = null) {
  const { activeElement, body } = document;
  if (activeElement === body || among?.contains(activeElement)) {
    node.focus();
  }
}

// The options of a <select>, each given as its value and its name.
export const options = (entries) => entries.map(([value, name]) => make("option", { value: `${value}` }, name));
