// Delimited text to rows and back. A row keeps its own characters, to be handed back as it was.

/** The sign that the first row has most of, outside quotes. */
export function delimiterOf(text, name) {
  if (/\.tsv$/i.test(name)) return "\t";
  const signs = [",", ";", "\t"];
  const counts = signs.map((sign) => parse(text, sign, 1)[0]?.cells.length ?? 0);
  return signs[counts.indexOf(Math.max(...counts))];
}

/**
 * Rows as {cells, raw, end}: raw are the row's characters, end what ended it.
 * Throws for a quote that is never closed.
 */
export function parse(text, delimiter, most = Infinity) {
  const rows = [];
  // A cell: in quotes, where two stand for one, and whatever follows; or without.
  const quoted = '(?:"([^"]*(?:""[^"]*)*)")?';
  const cell = new RegExp(`${quoted}([^${delimiter}\\r\\n]*)(${delimiter}|\\r\\n|\\n|\\r|$)`, "y");
  let begin = 0;
  while (begin < text.length && rows.length < most) {
    const row = { cells: [], raw: "", end: "" };
    let at = begin;
    do {
      cell.lastIndex = at;
      const [whole, inside, bare, end] = cell.exec(text);
      if (inside === undefined && bare.startsWith('"')) throw unclosed(text, at);
      row.cells.push((inside ?? "").replaceAll('""', '"') + bare);
      at += whole.length;
      row.end = end;
    } while (row.end === delimiter);
    row.raw = text.slice(begin, at - row.end.length);
    rows.push(row);
    begin = at;
  }
  return rows;
}

const unclosed = (text, at) => {
  const line = text.slice(0, at).split(/\r\n|\n|\r/).length;
  return new Error(`a quote that opens in line ${line} is never closed`);
};

/** A cell as it is written: in quotes where it must be. */
export function quote(value, delimiter) {
  return value.includes(delimiter) || /["\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}
