// Dark or light: the system's choice until someone picks one, which is then remembered.
// <button data-theme-toggle> anywhere in a page switches. Import it first, so that nothing flashes.

const KEY = "edgevid-theme";
const system = window.matchMedia("(prefers-color-scheme: light)");

/** "dark" or "light", as the page is shown now. */
export function theme() {
  return document.documentElement.dataset.theme ?? (system.matches ? "light" : "dark");
}

/** Switches to the other one; `edgevid:theme` is sent to the document for what draws on a canvas. */
export function toggleTheme() {
  const next = theme() === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // A browser that keeps nothing still switches.
  }
  told();
}

function told() {
  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    button.setAttribute("aria-pressed", String(theme() === "light"));
  }
  document.dispatchEvent(new CustomEvent("edgevid:theme", { detail: theme() }));
}

let kept = null;
try {
  kept = localStorage.getItem(KEY);
} catch {
  kept = null;
}
if (kept === "dark" || kept === "light") document.documentElement.dataset.theme = kept;
system.addEventListener("change", told);
document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-theme-toggle]")) toggleTheme();
});
document.addEventListener("DOMContentLoaded", told);
