// The text with each word on a ground as deep as its part in the decision.
import { find, make, percent, signed } from "./dom.js";

const DEEPEST = 0.55; // as in carryline.explaining.page
const HINT = "Point at a word, or walk through them with the arrow keys, for its part.";

/** Shows an explanation (an answer of /v1/explain), whose spans are all of the text; false where no
 * word is in it. */
export function showWords(found) {
  const largest = Math.max(0, ...found.spans.map((span) => Math.abs(span.part)));
  const pane = find("words");
  pane.replaceChildren(...found.spans.flatMap((span) => shown(span, found, largest)));
  const first = pane.querySelector("[role=option]");
  if (!first) {
    quiet("Words appear here, coloured by their part in the answer.");
    return false;
  }
  first.tabIndex = 0;
  pane.setAttribute("role", "listbox");
  pane.setAttribute("aria-label", `Words, and their parts for ${found.label}`);
  pane.setAttribute("aria-orientation", "horizontal");
  const words = signed(found.score - found.rest);
  find("why-of").textContent =
    `for ${found.label}, by ${found.model}: score ${signed(found.score)}, ${words} of it by these words`;
  find("detail").textContent = HINT;
  return true;
}

/** Shows that there are no words to show, and why. */
export function quiet(why) {
  const pane = find("words");
  for (const name of ["role", "aria-label", "aria-orientation"]) pane.removeAttribute(name);
  pane.replaceChildren(make("span", { className: "faint" }, why));
  find("detail").textContent = find("why-of").textContent = "";
}

/** A word of the page: its blank, and what is coloured. */
function shown(span, found, largest) {
  const bare = span.text.trimStart();
  if (!bare) return [span.text];
  const side = span.part > 0 ? "for" : "against";
  const depth = largest ? (DEEPEST * Math.abs(span.part)) / largest : 0;
  const word = make("span", { role: "option", tabIndex: -1, className: side }, bare);
  word.style.setProperty("--depth", depth.toFixed(3));
  word.told = told(span, found);
  word.setAttribute("aria-label", word.told);
  word.setAttribute("aria-selected", "false");
  return [span.text.slice(0, span.text.length - bare.length), word];
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
