// A file as rows with a text each, and the same rows with a label and a probability.
import { delimiterOf, parse, quote } from "./csv.js";

// As in carryline.text.columns.
const TEXTS = [
  "text", "texts", "review", "reviews", "sentence", "content", "body", "message", "msg", "tweet",
  "comment", "post", "title",
]; // prettier-ignore
const SAMPLE = 200; // rows that a guess looks at
const DIGITS = 6;

/** The characters of a file: UTF-8 or UTF-16, or what older programs write. */
export function decoded(bytes) {
  const marked = { "255,254": "utf-16le", "254,255": "utf-16be" }[bytes.slice(0, 2).join()];
  if (marked) return new TextDecoder(marked).decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

/** Reads a file by the end of its name. Throws where it is none of its kind. */
export function table(name, content) {
  const mark = content.startsWith("\ufeff") ? "\ufeff" : "";
  const text = content.slice(mark.length);
  if (/\.(jsonl|ndjson)$/i.test(name)) return new Objects(text, mark);
  if (/\.txt$/i.test(name)) return new Lines(text, mark);
  if (/\.(csv|tsv)$/i.test(name)) return new Delimited(text, mark, name);
  throw new Error("it is none of .csv, .tsv, .jsonl, .txt");
}

/** The column that a name tells, or else the one with the longest texts. */
function guessed(names, column) {
  const lower = names.map((name) => name.trim().toLowerCase());
  const known = TEXTS.map((name) => lower.indexOf(name)).find((place) => place >= 0);
  if (known !== undefined) return known;
  const length = (texts) => texts.reduce((sum, text) => sum + text.length, 0);
  const lengths = names.map((_, place) => length(column(place).slice(0, SAMPLE)));
  return lengths.indexOf(Math.max(...lengths));
}

/** A name that no column has yet. */
const free = (name, names) => (names.includes(name) ? free(`predicted_${name}`, names) : name);

const lines = (text) => text.match(/[^\r\n]*(\r\n|\n|\r)|[^\r\n]+$/g) ?? [];
const bare = (line) => line.replace(/(\r\n|\n|\r)$/, "");
const figure = (answer) => (answer ? answer.probability.toFixed(DIGITS) : "");

class Delimited {
  constructor(text, mark, name) {
    this.mark = mark;
    this.sign = delimiterOf(text, name);
    this.all = parse(text, this.sign);
    this.ending = name.slice(name.lastIndexOf("."));
    this.type = this.sign === "\t" ? "text/tab-separated-values" : "text/csv";
    this.newline = this.all.find((row) => row.end)?.end ?? "\n";
    this.useHeader(true);
  }

  /** Whether the first row names the columns. */
  useHeader(header) {
    this.header = header;
    const width = Math.max(0, ...this.all.slice(0, SAMPLE).map((row) => row.cells.length));
    this.names = header
      ? (this.all[0]?.cells ?? [])
      : Array.from({ length: width }, (_, place) => `column ${place + 1}`);
    this.rows = this.all.slice(header ? 1 : 0).filter((row) => row.raw !== "");
    this.guess = guessed(this.names, (place) => this.texts(place));
  }

  texts(column) {
    return this.rows.map((row) => row.cells[column] ?? "");
  }

  /** The file with the answers of its rows; what has none yet is left out. */
  labelled(answers) {
    const added = (row, ...cells) => {
      const missing = Math.max(0, this.names.length - row.cells.length);
      const quoted = cells.map((cell) => quote(cell, this.sign));
      return [row.raw + this.sign.repeat(missing), ...quoted].join(this.sign) + (row.end || this.newline);
    };
    const named = ["label", "probability"].map((name) => free(name, this.names));
    const head = this.header ? added(this.all[0], ...named) : "";
    const row = (answer, at) => added(this.rows[at], answer?.label ?? "", figure(answer));
    return this.mark + head + answers.map(row).join("");
  }
}

class Objects {
  constructor(text, mark) {
    Object.assign(this, { mark, ending: ".jsonl", type: "application/jsonl" });
    this.rows = lines(text)
      .map((line, at) => ({ raw: bare(line).trim(), line: at + 1 }))
      .filter((row) => row.raw)
      .map((row) => ({ ...row, value: object(row) }));
    this.names = [...new Set(this.rows.slice(0, SAMPLE).flatMap((row) => Object.keys(row.value)))];
    this.guess = guessed(this.names, (place) => this.texts(place));
  }

  texts(column) {
    return this.rows.map(({ value }) => {
      const text = value[this.names[column]] ?? "";
      return typeof text === "string" ? text : JSON.stringify(text);
    });
  }

  labelled(answers) {
    const all = [...new Set(this.rows.flatMap((row) => Object.keys(row.value)))];
    const [label, probability] = ["label", "probability"].map((name) => free(name, all));
    const added = (answer, at) => {
      const more = { [label]: answer?.label ?? null, [probability]: answer ? Number(figure(answer)) : null };
      const row = this.rows[at].raw.replace(/\s*\}$/, ""); // its own characters: a number stays as it was
      return `${row}${row === "{" ? "" : ", "}${JSON.stringify(more).slice(1)}\n`;
    };
    return this.mark + answers.map(added).join("");
  }
}

function object({ raw, line }) {
  let value;
  try {
    value = JSON.parse(raw);
  } catch (error) {
    throw new Error(`line ${line} is no JSON: ${error.message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error(`line ${line} is no JSON object`);
  }
  return value;
}

class Lines {
  constructor(text, mark) {
    Object.assign(this, { mark, ending: ".csv", type: "text/csv", names: ["text"], guess: 0 });
    this.rows = lines(text).map(bare);
  }

  texts() {
    return this.rows;
  }

  labelled(answers) {
    const row = (...cells) => `${cells.map((cell) => quote(cell, ",")).join(",")}\n`;
    const all = answers.map((answer, at) => row(this.rows[at], answer?.label ?? "", figure(answer)));
    return this.mark + row("text", "label", "probability") + all.join("");
  }
}
