// Examples, and the texts typed before, which are kept in this browser alone.
import { find, make } from "./dom.js";

const KEY = "carryline.recent";
const MOST = 8;
const LONGEST = 20_000; // characters of a text that is kept

const EXAMPLES = [
  "A warm, funny film that earns every one of its tears.",
  "Two hours of my life that I will never get back.",
  "Not bad at all, though the ending drags.",
  "The battery died after a week, and nobody answered my letters.",
  "What time does the museum open on Sundays?",
];

/** Fills both lists; `use` gets the text of the one that is pressed. */
export function history(use) {
  find("examples").replaceChildren(...EXAMPLES.map((text) => entry(text, use)));
  find("forget").addEventListener("click", () => {
    try {
      localStorage.removeItem(KEY);
    } catch {
      // Blocked: there is nothing.
    }
    show(use);
    find("text").focus();
  });
  show(use);
}

/** Keeps a text as the newest one. It replaces the one that it goes on with. */
export function keep(text, use) {
  if (!text.trim() || text.length > LONGEST || EXAMPLES.includes(text)) return;
  const others = kept().filter((other, place) => other !== text && !(place === 0 && text.startsWith(other)));
  try {
    localStorage.setItem(KEY, JSON.stringify([text, ...others].slice(0, MOST)));
  } catch {
    return; // no room, or not allowed: nothing is kept
  }
  show(use);
}

function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY));
    return Array.isArray(found) ? found.filter((text) => typeof text === "string") : [];
  } catch {
    return [];
  }
}

function show(use) {
  const texts = kept();
  find("recent").replaceChildren(...texts.map((text) => entry(text, use)));
  find("forget").hidden = !texts.length;
  find("recent-none").hidden = texts.length > 0;
}

function entry(text, use) {
  const button = make("button", { type: "button", dir: "auto" }, text.slice(0, 200));
  button.addEventListener("click", () => use(text));
  return make("li", {}, button);
}
