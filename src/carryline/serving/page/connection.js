// Whether the server answers; once it does not, it is asked again until it does.
import { find, say } from "./dom.js";

const FIRST = 500; // milliseconds
const MOST = 8000;
const AWAY = "The server does not answer. Your text is kept; trying again…";

const events = new EventTarget();
let away = false;
let timer;
let delay = FIRST;

/** Called when a request got no answer. */
export function lost() {
  if (away) return;
  away = true;
  delay = FIRST;
  say(find("banner-text"), AWAY);
  say(find("said"), AWAY);
  find("banner").hidden = false;
  again();
}

/** Calls back each time that the server is there again. */
export const whenBack = (call) => events.addEventListener("back", call);

/** Resolves when the server is there; rejects when the signal is aborted before. */
export function back(signal) {
  if (!away) return Promise.resolve();
  return new Promise((resolve, reject) => {
    events.addEventListener("back", resolve, { once: true });
    signal?.addEventListener("abort", () => reject(signal.reason));
  });
}

function again() {
  clearTimeout(timer);
  timer = setTimeout(look, delay);
  delay = Math.min(2 * delay, MOST);
}

async function look() {
  clearTimeout(timer);
  try {
    if (!(await fetch("/healthz", { cache: "no-store" })).ok) throw new Error("not yet");
  } catch {
    again();
    return;
  }
  if (!away) return; // two looks at once
  away = false;
  find("banner").hidden = true;
  say(find("said"), "The server is there again.");
  events.dispatchEvent(new Event("back"));
}

/** What brings the server back sooner: a click, or the network being there again. */
export function watch() {
  find("banner-again").addEventListener("click", look);
  addEventListener("online", () => away && look());
}
