// The request as a command to copy.
import { token } from "./api.js";
import { find } from "./dom.js";

const SAID = 4000; // milliseconds that "copied" is shown

/** The command that asks a model about a text. A token is not shown: a variable stands for it. */
export function command(text, model) {
  const quoted = JSON.stringify({ text, model }).replaceAll("'", "'\\''");
  const lines = [`curl ${location.origin}/v1/predict`, "-H 'Content-Type: application/json'"];
  if (token.get()) lines.push('-H "Authorization: Bearer $CARRYLINE_TOKEN"');
  return [...lines, `-d '${quoted}'`].join(" \\\n  ");
}

/** Makes the button copy what is shown, and say so. */
export function copying() {
  let timer;
  find("copy").addEventListener("click", async () => {
    const done = await copy(find("curl"));
    find("copied").textContent = done ? "Copied." : "Not copied: select it and press Ctrl-C.";
    clearTimeout(timer);
    timer = setTimeout(() => (find("copied").textContent = ""), SAID);
  });
}

async function copy(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    // Without https, on another machine, there is the older way alone.
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
