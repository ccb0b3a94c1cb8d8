// The room in the page's address, as in /#general. The server does not see that part.

// The room in the address, or an empty string.
export function roomInAddress() {
  try {
    const name = decodeURIComponent(location.hash.slice(1));
    return name === "" ? "" : `#${name}`;
  } catch {
    return ""; // signs that nobody has encoded
  }
}

// The address of a room in this page. Only rooms that begin with # have one.
export const addressOf = (room) => (room.startsWith("#") ? `#${encodeURIComponent(room.slice(1))}` : "");

// Put this room into the address, or none.
export function showInAddress(room) {
  const address = addressOf(room);
  if (location.hash !== address) {
    history.replaceState(null, "", address || location.pathname);
  }
}
