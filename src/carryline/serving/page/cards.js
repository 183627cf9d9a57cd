// One card a model: its label, how probable that is, and bars for the classes.
import { counted, find, make, many, percent } from "./dom.js";
import { address } from "./report.js";

const TOP = 5; // classes of many that are shown

/** A card for each model into the list; the chosen one is told by a call of `choose`. */
export function cards(models, chosen, choose) {
  const made = new Map(models.map((model) => [model.name, new Card(model, models.length > 1)]));
  find("cards").replaceChildren(...[...made.values()].map((card) => card.element));
  find("cards").classList.toggle("several", models.length > 1);
  for (const card of made.values()) {
    card.radio.checked = card.model.name === chosen;
    card.radio.addEventListener("change", () => choose(card.model.name));
  }
  return made;
}

class Card {
  constructor(model, several) {
    this.model = model;
    const id = `model-${model.name}`;
    this.radio = make("input", { type: "radio", name: "model", id, hidden: !several });
    this.label = make("strong", { className: "label", dir: "auto" }, "…");
    this.chance = make("span", { className: "chance" });
    this.bars = make("ul", { className: "bars" });
    this.note = make("p", { className: "note" });
    const link = { href: address(model.name), target: "_blank", rel: "noopener" };
    this.report = make("a", { ...link, "aria-label": `Report on ${model.name}` }, "Report");
    this.element = make(
      "li",
      { className: "card" },
      make("div", { className: "name" }, this.radio, make("label", { htmlFor: id }, model.name), this.report),
      make("p", { className: "verdict" }, this.label, this.chance),
      this.bars,
      this.note,
      make("p", { className: "about" }, about(model)),
    );
  }

  /** Shows an answer of /v1/predict, and the milliseconds that it took to get here. */
  show(answer, text, took) {
    this.element.classList.toggle("empty", !text.trim());
    this.label.textContent = answer.label;
    this.chance.textContent = percent(answer.probability);
    this.#bars(answer);
    this.note.className = "note";
    this.note.textContent = text.trim()
      ? `${many(answer.tokens, "token")}, answered in ${Math.ceil(took)} ms`
      : "No text yet: this is what the model says without one.";
  }

  /** Shows why there is no answer. */
  refuse(rule) {
    this.element.classList.remove("empty");
    this.label.textContent = "—";
    this.chance.textContent = "";
    this.bars.replaceChildren();
    this.note.className = "note error";
    this.note.textContent = rule;
  }

  #bars(answer) {
    const shown = ranked(this.model.classes, answer.probabilities);
    this.bars.classList.toggle("two", shown.length === 2); // one bar, whose parts are the two
    if (this.bars.children.length !== shown.length) {
      this.bars.replaceChildren(...shown.map(bar)); // else kept, so that their widths move
    }
    shown.forEach(([name, chance], place) => {
      const row = this.bars.children[place];
      const [title, figure, track] = row.children;
      title.textContent = name;
      figure.textContent = percent(chance);
      track.firstChild.style.width = `${100 * chance}%`;
      row.className = name === answer.label ? "best" : "";
    });
  }
}

/** Two classes in their order, so that they stay in place; of many the most probable, and the rest. */
function ranked(classes, chances) {
  const all = classes.map((name) => [name, chances[name]]);
  if (all.length <= 2) return all;
  const top = all.sort((one, other) => other[1] - one[1]).slice(0, TOP);
  const rest = all.length - top.length;
  if (!rest) return top;
  const shown = top.reduce((sum, [, chance]) => sum + chance, 0);
  return [...top, [`${rest} more`, Math.max(0, 1 - shown)]];
}

const bar = () =>
  make(
    "li",
    {},
    make("span", { className: "class", dir: "auto" }),
    make("span", { className: "figure" }),
    make("span", { className: "track" }, make("span")),
  );

function about(model) {
  const ways = model.bidirectional ? ", both ways" : "";
  const told = [`${model.cell.toUpperCase()} ${model.hidden.join(" + ")}${ways}`];
  if (model.linear) told.push("beside a linear part");
  told.push(`${counted(model.parameters)} parameters`);
  if (model.trained_on) told.push(`${counted(model.trained_on)} texts`);
  if (model.accuracy !== null) told.push(`accuracy ${model.accuracy.toFixed(3)}`);
  return told.join(" · ");
}
