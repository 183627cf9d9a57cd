// Requests to the server that this page is from, and to no other.
import { lost } from "./connection.js";

const KEY = "carryline.token";

/** The server said no: status, rule, and the seconds after which it may be tried again. */
export class Refusal extends Error {
  constructor(status, rule, retry) {
    super(rule);
    Object.assign(this, { status, retry });
  }
}

/** The server did not answer at all. */
export class Away extends Error {}

/** The bearer token, as long as this tab is open; or this page, where nothing may be stored. */
let given = null;
export const token = {
  get() {
    try {
      return sessionStorage.getItem(KEY) ?? given;
    } catch {
      return given;
    }
  },
  set(value) {
    given = value;
    try {
      sessionStorage.setItem(KEY, value);
    } catch {
      // Blocked: it is kept until the page is left.
    }
  },
};

async function ask(path, body, signal) {
  const headers = token.get() ? { Authorization: `Bearer ${token.get()}` } : {};
  const request = { headers, signal, cache: "no-store" };
  if (body !== undefined) {
    request.method = "POST";
    request.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  try {
    const response = await fetch(path, request);
    // Awaited here: the server may go away in the middle of an answer.
    return { response, content: await response.text() };
  } catch (error) {
    if (signal?.aborted) throw error;
    lost();
    throw new Away("the server does not answer", { cause: error });
  }
}

function refusal(response, content) {
  let rule = `${response.status} ${response.statusText}`;
  try {
    rule = JSON.parse(content).error.rule;
  } catch {
    // From something between here and the server: the status is all that is known.
  }
  const retry = Number(response.headers.get("retry-after")) || null;
  return new Refusal(response.status, rule, retry);
}

/** The text of an answer. Raises Refusal, Away; or what the signal is aborted with. */
export async function text(path, body, signal) {
  const { response, content } = await ask(path, body, signal);
  if (response.status === 502) {
    lost();
    throw new Away("the server is not there");
  }
  if (!response.ok) throw refusal(response, content);
  return content;
}

export const json = async (path, body, signal) => JSON.parse(await text(path, body, signal));
