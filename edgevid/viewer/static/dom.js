// A few lines that make elements, and the short message at the bottom.

/** An element with properties, children and text. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Sets text only where it changed, so that nothing flickers and nothing is read out twice. */
export function setText(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

const box = document.getElementById("toast");
let timer = 0;

export function toast(words, seconds = 4) {
  box.textContent = words;
  box.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(() => (box.hidden = true), 1000 * seconds);
}
