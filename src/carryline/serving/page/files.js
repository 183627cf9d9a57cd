// A file dropped in: its column chosen, its texts classified, the labelled file handed back.
import { Refusal } from "./api.js";
import { classified } from "./batches.js";
import { counted, find, make, many, say } from "./dom.js";
import { askToken } from "./login.js";
import { decoded, table } from "./table.js";

const SAMPLE = 3; // texts that are shown
const SHOWN = 300; // characters of each

let current = null; // the job whose file is shown

/** Takes files; `settings` gives {model, limits} at the time. */
export function files(settings) {
  const take = (file) => file && open(file, settings);
  find("choose").addEventListener("click", () => find("file").click());
  find("file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = ""; // the same file again is a change, too
  });
  const over = (on) => find("drop").classList.toggle("over", on);
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    over(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget || over(false));
  addEventListener("drop", (event) => {
    over(false);
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
}

async function open(file, settings) {
  current?.stop();
  find("job").hidden = false;
  find("job").scrollIntoView({ block: "nearest" });
  try {
    const read = table(file.name, decoded(new Uint8Array(await file.arrayBuffer())));
    if (!read.rows.length) throw new Error("there are no texts in it");
    current = new Job(file.name, read, settings);
    find("job").replaceChildren(current.element);
    current.button.focus();
  } catch (error) {
    current = null;
    const why = `${file.name}: ${error.message}.`;
    find("job").replaceChildren(make("p", { className: "error", role: "alert" }, why));
  }
}

class Job {
  constructor(name, read, settings) {
    Object.assign(this, { name, read, settings, answers: [], texts: [], turn: null });
    this.column = make("select", { id: "column" });
    this.header = make("input", { type: "checkbox", id: "header", checked: true });
    this.sample = make("ol", { className: "sample" });
    this.button = make("button", { type: "button", className: "main" });
    this.bar = make("progress", { max: 1, value: 0, hidden: true });
    this.bar.setAttribute("aria-label", "Texts classified");
    this.state = make("p", { className: "faint" });
    this.link = make("a", { className: "main", hidden: true });
    this.column.addEventListener("change", () => this.reset());
    this.header.addEventListener("change", () => this.#useHeader());
    this.button.addEventListener("click", () => (this.turn ? this.stop() : this.run()));
    this.element = make(
      "div", {}, make("h3", { dir: "auto" }, name), this.#options(), this.sample, this.bar, this.state,
      make("p", { className: "row" }, this.button, this.link),
    ); // prettier-ignore
    this.#columns();
  }

  #options() {
    const row = make("p", { className: "row" });
    if (this.read.names.length > 1 || this.read.useHeader) {
      row.append(make("label", { htmlFor: "column" }, "Text in"), this.column);
    }
    if (this.read.useHeader) {
      row.append(make("label", { className: "check" }, this.header, "the first row names the columns"));
    }
    return row;
  }

  #columns() {
    const named = (name, at) => make("option", { value: String(at) }, name || `column ${at + 1}`);
    const names = this.read.names.map(named);
    this.column.replaceChildren(...names);
    this.column.value = String(this.read.guess);
    this.reset();
  }

  #useHeader() {
    this.read.useHeader(this.header.checked);
    this.#columns();
  }

  /** Another column: nothing is done yet. */
  reset() {
    this.stop();
    this.turn = null;
    this.answers = [];
    this.texts = this.read.texts(Number(this.column.value));
    const first = this.texts.slice(0, SAMPLE).map((text) => text.slice(0, SHOWN));
    this.sample.replaceChildren(...first.map((text) => make("li", { dir: "auto" }, text)));
    this.link.hidden = this.bar.hidden = true;
    this.state.textContent = "";
    this.button.hidden = false;
    this.button.disabled = !this.texts.length;
    this.button.textContent = `Classify ${many(this.texts.length, "text")}`;
  }

  stop() {
    this.turn?.abort();
  }

  async run() {
    const turn = (this.turn = new AbortController());
    const { signal } = turn;
    const settings = this.settings();
    if (this.answers.length && settings.model !== this.model) this.answers = [];
    this.model = settings.model; // one model for a whole file
    this.button.textContent = "Stop";
    this.link.hidden = true;
    this.bar.hidden = false;
    this.#tell();
    let why = "Stopped";
    try {
      for await (const some of classified(this.texts, this.answers.length, settings, signal)) {
        if (signal.aborted) break;
        this.answers.push(...some);
        this.#tell();
      }
    } catch (error) {
      if (!signal.aborted) why = this.#failed(error);
    }
    if (this.turn === turn) this.#ended(why); // else there is another column by now
  }

  #failed(error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.status === 401) askToken();
    return `Stopped: ${error.message}`;
  }

  #tell() {
    this.bar.value = this.answers.length / this.texts.length;
    const [done, all] = [this.answers.length, this.texts.length].map(counted);
    this.state.textContent = `${done} of ${all} texts, by ${this.model}`;
  }

  #ended(why) {
    this.turn = null;
    const all = this.answers.length === this.texts.length;
    const refused = this.answers.filter((answer) => answer === null).length;
    const most = refused ? `; ${counted(refused)} too large for the server: without a label` : "";
    this.button.hidden = all;
    this.button.textContent = "Go on";
    this.state.textContent = `${all ? "Done" : why}: ${this.state.textContent}${most}.`;
    say(find("files-said"), `${this.name}: ${this.state.textContent}`);
    if (this.answers.length) this.#offer();
    if (all) this.link.focus();
  }

  #offer() {
    URL.revokeObjectURL(this.link.href);
    const type = `${this.read.type};charset=utf-8`;
    this.link.href = URL.createObjectURL(new Blob([this.read.labelled(this.answers)], { type }));
    this.link.download = `${this.name.replace(/\.[^.]*$/, "")}-labelled${this.read.ending}`;
    this.link.textContent = `Download ${this.link.download}`;
    this.link.hidden = false;
  }
}
