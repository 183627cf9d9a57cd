// The report on a model, which a link leads to.
import { text, token } from "./api.js";
import { make } from "./dom.js";

const KEPT = 60_000; // milliseconds until the memory of a file that was handed over is given back

export const address = (name) => `/v1/models/${encodeURIComponent(name)}/report`;

/**
 * Where there is a token, a link cannot carry it: the report is fetched, and handed over as a file. (A
 * blob that is opened has this page's policy, which knows no styles within a document.)
 */
export function reports(cards) {
  if (!token.get()) return;
  for (const [name, card] of cards) {
    card.report.addEventListener("click", (event) => {
      event.preventDefault();
      handOver(name).catch((error) => card.refuse(error.message));
    });
  }
}

async function handOver(name) {
  const content = new Blob([await text(address(name))], { type: "text/html" });
  const href = URL.createObjectURL(content);
  make("a", { href, download: `${name}-report.html` }).click();
  setTimeout(() => URL.revokeObjectURL(href), KEPT);
}
