// Dark or light: the system's choice until the user picks one, which is then stored.
// <button data-theme-toggle> anywhere in a page switches. Import it first, so that nothing flashes.

const KEY = "edgevid-theme";
const system = window.matchMedia("(prefers-color-scheme: light)");

/** "dark" or "light", as the page is shown now. */
export function theme() {
  return document.documentElement.dataset.theme ?? (system.matches ? "light" : "dark");
}

/** Switches to the other one; `edgevid:theme` is sent to the document for canvas painters. */
export function toggleTheme() {
  const next = theme() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // A browser without storage still switches.
  }
  notify();
}

function notify() {
  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    button.setAttribute("aria-pressed", String(theme() === "light"));
  }
  document.dispatchEvent(new CustomEvent("edgevid:theme", { detail: theme() }));
}

let stored = null;
try {
  stored = localStorage.getItem(KEY);
} catch {
  stored = null;
}
if (stored === "dark" || stored === "light") document.documentElement.dataset.theme = stored;
system.addEventListener("change", notify);
document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-theme-toggle]")) toggleTheme();
});
document.addEventListener("DOMContentLoaded", notify);
