// A server that wants a bearer token: a form that asks for it.
import { token } from "./api.js";
import { find } from "./dom.js";

/** Shows the form; wrong is whether the token that was given is not the server's. */
export function askToken() {
  const wrong = token.get() !== null;
  find("token").hidden = false;
  find("main").hidden = true;
  find("token-error").textContent = wrong ? "The server does not take this token." : "";
  find("token-field").setAttribute("aria-invalid", String(wrong));
  find("token-field").focus();
  find("token-field").select();
}

/** Calls `enter` with each token that is given. */
export function whenGiven(enter) {
  find("token").addEventListener("submit", (event) => {
    event.preventDefault();
    // A header holds no other signs; no server has such a token.
    token.set(find("token-field").value.trim().replace(/[^\x20-\x7e]/g, "?"));
    enter();
  });
}

/** The token was taken. */
export function letIn() {
  if (find("token").hidden) return;
  find("token").hidden = true;
  find("main").hidden = false;
  find("token-field").value = "";
  find("text").focus();
}
