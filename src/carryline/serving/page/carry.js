// What a layer keeps while it reads, as lines above the words that it reads.
import { draw, find, make } from "./dom.js";
import { places } from "./places.js";

const SHARE = 0.5; // of the distance of two lines of text
const ABOVE = 5; // pixels between the words and the lowest a line may be

let last = null; // the trace that is drawn, for another width
let chosen = 0; // place of the unit that stands out

/** Shows a trace (an answer of /v1/inspect) over the words that are there. */
export function showCarry(trace) {
  last = { trace, memory: trace.carry ?? trace.states };
  find("memory").hidden = false;
  find("memory-note").textContent = "";
  find("memory-title").textContent = trace.carry ? "The carry" : "The states";
  chosen = liveliest(last.memory);
  find("units").replaceChildren(...trace.units.map(button));
  find("memory-words").replaceChildren(...trace.units.map((_, place) => make("li", {}, told(place))));
  redraw();
}

/** Nothing to draw, and why, if there is a reason to tell. */
export function hideCarry(why = "") {
  last = null;
  find("memory-note").textContent = why;
  find("memory").hidden = true;
  find("reading").querySelector("svg")?.remove();
}

/** Draws again when the words stand elsewhere. */
export function keepUp() {
  new ResizeObserver(redraw).observe(find("words"));
  document.fonts?.ready.then(redraw);
}

const column = (memory, place) => memory.map((row) => row[place]);

function liveliest(memory) {
  const spread = memory[0].map((_, place) => {
    const values = column(memory, place);
    return Math.max(...values) - Math.min(...values);
  });
  return spread.indexOf(Math.max(...spread));
}

function button(unit, place) {
  const made = make("button", { type: "button", title: told(place) }, `unit ${unit}`);
  made.setAttribute("aria-pressed", String(place === chosen));
  made.addEventListener("click", () => choose(place));
  made.addEventListener("pointerenter", () => mark(place));
  made.addEventListener("pointerleave", () => mark(chosen));
  return made;
}

function choose(place) {
  chosen = place;
  [...find("units").children].forEach((one, at) => one.setAttribute("aria-pressed", String(at === place)));
  mark(place);
}

function mark(place) {
  for (const line of find("reading").querySelectorAll("[data-place]")) {
    line.classList.toggle("chosen", Number(line.dataset.place) === place);
  }
}

/** A line in words: where a unit is lowest and highest. */
function told(place) {
  const values = column(last.memory, place);
  const at = (value) => {
    const piece = last.trace.pieces[values.indexOf(value)].trim();
    return `${value.toFixed(2)} at “${piece}”`;
  };
  return (
    `Unit ${last.trace.units[place]}: lowest ${at(Math.min(...values))}, ` +
    `highest ${at(Math.max(...values))}, ${values.at(-1).toFixed(2)} at the end`
  );
}

function redraw() {
  find("reading").querySelector("svg")?.remove();
  if (!last) return;
  const pane = find("words");
  const height = parseFloat(getComputedStyle(pane).lineHeight) * SHARE;
  const scale = height / 2 / Math.max(1e-6, ...last.memory.flat().map(Math.abs));
  const picture = draw("svg", {
    class: "carry", width: pane.offsetWidth, height: pane.offsetHeight, role: "img",
    "aria-label": `What ${last.trace.units.length} units keep over the text; below it stands in words`,
  }); // prettier-ignore
  for (const line of places(pane, last.trace.pieces)) {
    const middle = line.top - ABOVE - height / 2;
    picture.append(draw("path", { class: "zero", d: `M${line.left} ${middle}H${line.right}` }));
    last.trace.units.forEach((_, place) => picture.append(...strand(line, place, middle, scale)));
  }
  picture.style.left = `${pane.offsetLeft}px`;
  picture.style.top = `${pane.offsetTop}px`;
  find("reading").append(picture);
  mark(chosen);
}

/** A unit over a line of text: the line, and the ground between it and zero. */
function strand(line, place, middle, scale) {
  const values = points(line, column(last.memory, place));
  const path = curve(values.map(([x, value]) => [x, middle - scale * value]));
  const ground = `${path}V${middle}H${values[0][0]}Z`;
  return [
    draw("path", { class: "ground", "data-place": place, d: ground }),
    draw("path", { class: "unit", "data-place": place, d: path }),
  ];
}

/** Of a unit over a line of text, from edge to edge: it comes with what it had at the line before. */
function points(line, values) {
  const inner = line.tokens.map(({ x, token }) => [x, values[token]]);
  const first = line.tokens[0].token;
  const [begin, end] = line.backwards ? [line.right, line.left] : [line.left, line.right];
  return [[begin, values[Math.max(0, first - 1)]], ...inner, [end, inner.at(-1)[1]]];
}

/** A smooth line through points, flat at each. */
function curve(points) {
  const at = ([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  let path = `M${at(points[0])}`;
  for (let i = 1; i < points.length; i++) {
    const [x0, y0] = points[i - 1];
    const [x1, y1] = points[i];
    const half = (x0 + x1) / 2;
    path += `C${at([half, y0])} ${at([half, y1])} ${at([x1, y1])}`;
  }
  return path;
}
