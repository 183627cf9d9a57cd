// Where the tokens of a text stand on the screen.

const AHEAD = 48; // characters in which a token is looked for

/**
 * Lines of the words, in pixels from the pane's corner: {top, left, right, backwards, tokens: [{token,
 * x}]}; backwards is whether the line is read from its right.
 */
export function places(pane, pieces) {
  const corner = pane.getBoundingClientRect();
  const lines = [];
  ranges(pane, pieces).forEach((range, token) => {
    const box = range.getClientRects()[0];
    if (!box || !box.width) return; // not to be seen, such as the end of a line
    const top = box.top - corner.top;
    let line = lines.at(-1);
    if (!line || Math.abs(line.top - top) > box.height / 2) {
      line = { top, left: Infinity, right: -Infinity, tokens: [] };
      lines.push(line);
    }
    line.left = Math.min(line.left, box.left - corner.left);
    line.right = Math.max(line.right, box.right - corner.left);
    const x = (box.left + box.right) / 2 - corner.left;
    if (line.tokens.at(-1)?.x === x) line.tokens.pop(); // a byte of the same character
    line.tokens.push({ token, x });
  });
  for (const line of lines) {
    const { tokens } = line;
    line.backwards = tokens[0].x > tokens.at(-1).x;
    tokens.sort((one, other) => (line.backwards ? other.x - one.x : one.x - other.x));
  }
  return lines;
}

/** A range of the document for each token. */
function ranges(pane, pieces) {
  const walker = document.createTreeWalker(pane, NodeFilter.SHOW_TEXT);
  const text = pane.textContent;
  let node = walker.nextNode();
  let begin = 0; // of the node in the text
  const reach = (place) => {
    while (place > begin + node.length) {
      begin += node.length;
      node = walker.nextNode();
    }
    return [node, place - begin];
  };
  return spread(found(text, pieces), text.length).map(([from, to]) => {
    const range = document.createRange();
    const [first, place] = reach(from + 1); // the node that holds the first character
    range.setStart(first, place - 1);
    range.setEnd(...reach(to));
    return range;
  });
}

/** [begin, end] of each token in the text, one after the other; null for one that does not stand
 * there, such as a byte of a character. */
function found(text, pieces) {
  const lower = text.toLowerCase();
  const same = lower.length === text.length;
  let end = 0;
  return pieces.map((piece) => {
    const bare = piece.trim();
    if (!bare) return null;
    let begin = text.slice(end, end + AHEAD).indexOf(bare);
    if (begin < 0 && same) begin = lower.slice(end, end + AHEAD).indexOf(bare.toLowerCase());
    if (begin < 0) return null;
    begin += end;
    end = begin + bare.length;
    return [begin, end];
  });
}

/** Those that were not found share evenly what lies between those that were. */
function spread(all, length) {
  for (let first = 0; first < all.length; first++) {
    if (all[first]) continue;
    let last = first;
    while (last < all.length && !all[last]) last++;
    const from = first ? all[first - 1][1] : 0;
    const to = last < all.length ? all[last][0] : length;
    const step = (to - from) / (last - first);
    for (let at = first; at < last; at++) {
      const begin = Math.min(length - 1, Math.floor(from + step * (at - first)));
      all[at] = [begin, Math.max(begin + 1, Math.floor(from + step * (at - first + 1)))];
    }
  }
  return all;
}
