// Sets the chosen theme before the first paint. A module would run after it.

try {
  document.documentElement.dataset.theme = JSON.parse(localStorage.getItem("trio_chat.settings")).theme;
} catch {
  // None was chosen.
}
