// What the scripts of pages share: a new element of HTML or SVG, at the end of `parent`.
const SVG = "http://www.w3.org/2000/svg";
function add(parent, tag, text = "", values = {}) {
  const made = parent.namespaceURI === SVG || tag === "svg" ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(values)) made.setAttribute(key, value);
  made.textContent = text;
  parent.append(made);
  return made;
}
