// The page: what is typed is asked, and the newest answer is shown.
import { Away, Refusal, json } from "./api.js";
import { cards } from "./cards.js";
import { hideCarry, keepUp, showCarry } from "./carry.js";
import { watch, whenBack } from "./connection.js";
import { command, copying } from "./curl.js";
import { find, make, pause, percent, say } from "./dom.js";
import { files } from "./files.js";
import { history, keep } from "./history.js";
import { askToken, letIn, whenGiven } from "./login.js";
import { reports } from "./report.js";
import { quiet, showWords, walk } from "./words.js";

const DEBOUNCE = 120; // milliseconds without a key after which is asked
const SETTLED = 900; // after an answer until it is said aloud and the text is kept
const LONG = 2000; // characters; such a text is explained only when its writer rests
const UNITS = 6;

const page = {
  models: [], limits: {}, chosen: null, shown: new Map(), turn: new AbortController(),
  versions: new Set(),
}; // prettier-ignore

/** What is served. Asks for the token if the server wants one. */
async function load() {
  try {
    const found = await json("/v1/models");
    letIn();
    page.models = found.models;
    page.limits = found.limits;
    if (!found.models.some((model) => model.name === page.chosen)) page.chosen = found.models[0].name;
    page.shown = cards(found.models, page.chosen, choose);
    reports(page.shown);
    choose(page.chosen);
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) askToken();
    else if (error instanceof Refusal) quiet(error.message);
    else if (!(error instanceof Away)) throw error;
  }
}

function choose(name) {
  page.chosen = name;
  for (const [other, card] of page.shown) card.element.classList.toggle("chosen", other === name);
  choices(page.models.find((model) => model.name === name));
  ask(0);
}

/** Which layer and direction are drawn, where there are several. */
function choices(model) {
  const layers = model.hidden.map((_, layer) => [String(layer + 1), `layer ${layer + 1}`]);
  const ways = [["forward", "read forward"], ["backward", "read backward"]]; // prettier-ignore
  const asked = [];
  if (layers.length > 1) asked.push(select("layer", "Layer", layers));
  if (model.bidirectional) asked.push(select("direction", "Direction", ways));
  find("memory-choice").replaceChildren(...asked);
}

function select(name, label, options) {
  const made = make("select", { name }, ...options.map(([value, shown]) => make("option", { value }, shown)));
  made.setAttribute("aria-label", label);
  made.addEventListener("change", () => ask(0));
  return made;
}

/** Asks about the text as it stands after a pause; whatever was asked before no longer counts. */
async function ask(delay) {
  page.turn.abort();
  page.turn = new AbortController();
  const { signal } = page.turn;
  const text = find("text").value;
  try {
    await pause(delay, signal);
    find("curl").textContent = command(text, page.chosen);
    const answers = await Promise.all(page.models.map((model) => predict(model, text, signal)));
    await explain(text, signal);
    await pause(SETTLED, signal);
    say(find("said"), spoken(answers, text));
    keep(text, use);
  } catch (error) {
    if (signal.aborted || error instanceof Away) return; // asked again by the next key, or when it is back
    if (!(error instanceof Refusal)) throw error;
    if (error.status === 401) askToken();
    else if (error.retry) ask(1000 * error.retry);
    else {
      quiet(error.message);
      say(find("said"), error.message);
    }
  }
}

async function predict(model, text, signal) {
  const card = page.shown.get(model.name);
  try {
    const began = performance.now();
    const found = await json("/v1/predict", { text, model: model.name }, signal);
    signal.throwIfAborted();
    card.show(found.answers[0], text, performance.now() - began);
    const seen = `${model.name} ${found.version}`;
    if (found.version !== model.version && !page.versions.has(seen)) {
      page.versions.add(seen); // once: while workers change over, they tell of different ones
      load();
    }
    return [model, found.answers[0]];
  } catch (error) {
    if (!(error instanceof Refusal) || error.status === 401) throw error;
    card.refuse(error.retry ? `${error.message}; asked again in ${error.retry} s` : error.message);
    if (error.retry) throw error;
    return [model, null];
  }
}

/** Words and carry of the chosen model. */
async function explain(text, signal) {
  if (text.length > LONG) await pause(400, signal);
  const found = await json("/v1/explain", { text, model: page.chosen }, signal);
  signal.throwIfAborted();
  if (!showWords(found)) {
    hideCarry();
    return;
  }
  const asked = { text, model: page.chosen, units: UNITS };
  for (const { name, value } of find("memory-choice").children) {
    asked[name] = name === "layer" ? Number(value) : value;
  }
  try {
    const trace = await json("/v1/inspect", asked, signal);
    signal.throwIfAborted();
    showCarry(trace);
  } catch (error) {
    if (!(error instanceof Refusal) || error.retry) throw error;
    hideCarry(`Not drawn: ${error.message}.`); // it is longer than what is looked into
  }
}

function spoken(answers, text) {
  const told = answers.map(([model, answer]) => {
    const what = answer ? `${answer.label}, ${percent(answer.probability)}` : "no answer";
    return answers.length > 1 ? `${model.name}: ${what}` : what;
  });
  return `${text.trim() ? "" : "No text: "}${told.join("; ")}`;
}

function use(text) {
  find("text").value = text;
  find("text").focus();
  ask(0);
}

find("text").addEventListener("input", () => ask(DEBOUNCE));
whenBack(load);
whenGiven(load);
watch();
walk();
keepUp();
copying();
history(use);
files(() => ({ model: page.chosen, limits: page.limits }));
load();
