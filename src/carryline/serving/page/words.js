// The text with each word on a ground as deep as its part in the decision.
import { find, make, percent, signed } from "./dom.js";

const DEEPEST = 0.55; // as in carryline.explaining.page
const HINT = "Point at a word, or walk through them with the arrow keys, for its part.";

/** Shows an explanation (an answer of /v1/explain). */
export function showWords(found) {
  const largest = Math.max(0, ...found.spans.map((span) => Math.abs(span.part)));
  const pane = find("words");
  pane.replaceChildren(...pieces(found).map((piece) => shown(piece, found, largest)));
  const options = pane.querySelectorAll("[role=option]");
  if (options.length) {
    pane.setAttribute("role", "listbox");
    pane.setAttribute("aria-label", `Words, and their parts for ${found.label}`);
    pane.setAttribute("aria-orientation", "horizontal");
    options[0].tabIndex = 0;
  } else quiet("Words appear here, coloured by their part in the answer.");
  find("detail").textContent = options.length ? HINT : "";
  find("why-of").textContent = options.length
    ? `for ${found.label}, by ${found.model}: score ${signed(found.score)}, ${signed(found.score - found.rest)} of it by these words`
    : "";
}

/** Shows that there are no words to show, and why. */
export function quiet(why) {
  const pane = find("words");
  for (const name of ["role", "aria-label", "aria-orientation"]) pane.removeAttribute(name);
  pane.replaceChildren(make("span", { className: "faint" }, why));
  find("detail").textContent = find("why-of").textContent = "";
}

/** Spans, and strings for what lies between them. Places are counted in characters, as Python
 * does, not in UTF-16. */
function pieces(found) {
  const characters = Array.from(found.text);
  const all = [];
  let end = 0;
  for (const span of found.spans) {
    if (span.begin > end) all.push(characters.slice(end, span.begin).join(""));
    all.push(span);
    end = span.end;
  }
  if (end < characters.length) all.push(characters.slice(end).join(""));
  return all;
}

function shown(piece, found, largest) {
  const text = typeof piece === "string" ? piece : piece.text;
  const bare = text.trimStart();
  if (typeof piece === "string" || !bare) return document.createTextNode(text);
  const word = make("span", { role: "option", tabIndex: -1, className: piece.part > 0 ? "for" : "against" }, bare);
  word.style.setProperty("--depth", (largest ? (DEEPEST * Math.abs(piece.part)) / largest : 0).toFixed(3));
  word.told = told(piece, found);
  word.setAttribute("aria-label", word.told);
  word.setAttribute("aria-selected", "false");
  const blank = text.slice(0, text.length - bare.length);
  if (!blank) return word;
  const both = document.createDocumentFragment();
  both.append(blank, word);
  return both;
}

function told(span, found) {
  const side = span.part > 0 ? "for" : "against";
  const after = span.after
    ? `; up to here ${found.label} ${percent(span.after[found.classes.indexOf(found.label)])}`
    : "";
  return (
    `${span.text.trim()}: ${signed(span.part)}, ${side} ${found.label} ` +
    `(linear ${signed(span.linear)}, recurrent ${signed(span.recurrent)})${after}`
  );
}

/** The keys that walk through the words: one stop of Tab for all of them. */
export function walk() {
  const pane = find("words");
  const tell = (event) => {
    const word = event.target.closest("[role=option]");
    if (word) find("detail").textContent = word.told;
  };
  pane.addEventListener("pointerover", tell);
  pane.addEventListener("focusin", (event) => {
    tell(event);
    for (const word of pane.querySelectorAll("[role=option]")) {
      const here = word === event.target;
      word.tabIndex = here ? 0 : -1;
      word.setAttribute("aria-selected", String(here));
    }
  });
  pane.addEventListener("keydown", step);
}

function step(event) {
  const words = [...event.currentTarget.querySelectorAll("[role=option]")];
  const at = words.indexOf(event.target);
  const backwards = getComputedStyle(event.currentTarget).direction === "rtl";
  const moves = {
    ArrowRight: at + (backwards ? -1 : 1), ArrowLeft: at - (backwards ? -1 : 1),
    ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: words.length - 1,
  }; // prettier-ignore
  const next = words[moves[event.key]];
  if (!next || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  next.focus();
}
