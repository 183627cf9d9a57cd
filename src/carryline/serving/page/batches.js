// Many texts in requests that the server takes.
import { Away, Refusal, json } from "./api.js";
import { back } from "./connection.js";
import { pause } from "./dom.js";

const AT_ONCE = 64; // texts of a request, so that there is progress to see
const BESIDES = 512; // bytes of a request that are no texts
const BUSY = 1000; // milliseconds to wait where the server does not say
const TRIES = 3; // that one text alone may take too long, which others' work can be the cause of

/** Answers of the texts from a place on, some at a time; null for one that the server does not take. */
export async function* classified(texts, from, { model, limits }, signal) {
  for (let begin = from; begin < texts.length; ) {
    const end = cut(texts, begin, limits);
    yield await answers(texts.slice(begin, end), model, signal);
    begin = end;
  }
}

/** Where the request that begins at a text ends: at least one text is in it. */
function cut(texts, begin, limits) {
  const size = (text) => new TextEncoder().encode(JSON.stringify(text)).length + 1;
  let bytes = BESIDES;
  let end = begin;
  do bytes += size(texts[end++]);
  while (
    end < texts.length && end - begin < Math.min(AT_ONCE, limits.texts) &&
    bytes + size(texts[end]) <= limits.body
  ); // prettier-ignore
  return end;
}

async function answers(texts, model, signal) {
  for (let late = 1; ; ) {
    try {
      return (await json("/v1/predict", { texts, model }, signal)).answers;
    } catch (error) {
      if (error instanceof Away) await back(signal);
      else if (!(error instanceof Refusal)) throw error;
      else if (error.status === 503) await pause(error.retry ? 1000 * error.retry : BUSY, signal);
      else if (error.status === 504 && texts.length === 1) {
        if (late++ === TRIES) throw error;
      } else if (![413, 422, 504].includes(error.status)) throw error;
      else return halves(texts, model, signal);
    }
  }
}

/** One of the texts is too much for the server: all others get their answer. */
async function halves(texts, model, signal) {
  if (texts.length === 1) return [null];
  const half = texts.length >> 1;
  return [
    ...(await answers(texts.slice(0, half), model, signal)),
    ...(await answers(texts.slice(half), model, signal)),
  ];
}
