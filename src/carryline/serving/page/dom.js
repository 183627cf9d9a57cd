// Elements and figures. Whatever comes from a text or a model becomes text, never markup.

export const find = (id) => document.getElementById(id);

/** An element with properties and children; a string child is text. */
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** An element of SVG with attributes. */
export function draw(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Sets the text of an element only when it is another, so that nothing is said twice. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** 0.98 as 98.0%; what is not certain never looks so. */
export function percent(chance) {
  if (chance > 0.9995 && chance < 1) return ">99.9%";
  if (chance < 0.0005 && chance > 0) return "<0.1%";
  return `${(100 * chance).toFixed(1)}%`;
}

export const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

export const counted = (number) => number.toLocaleString("en");

export const many = (number, what) => `${counted(number)} ${what}${number === 1 ? "" : "s"}`;

/** Resolves after a time; rejects when the signal is aborted before. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
