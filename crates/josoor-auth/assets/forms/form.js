// The one-time token stands after "#", which browsers keep to themselves: it is in no request line and no log.
"use strict";

const form = document.querySelector("form");
const message = document.querySelector("#message");
const next = document.querySelector("#next");
const token = new URLSearchParams(location.hash.slice(1)).get("token");
history.replaceState(null, "", location.pathname);

function say(text, failed) {
  message.textContent = text;
  message.classList.toggle("failed", failed);
}

if ("token" in form.dataset && !token) {
  say(message.dataset.noToken, true);
}

// "link_used" is told by data-link-used, which JavaScript calls linkUsed.
function meaningOf(code) {
  return message.dataset[(code ?? "").replace(/_(\w)/g, (_, letter) => letter.toUpperCase())];
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const body = "token" in form.dataset ? { token: token ?? "" } : {};
    for (const [name, value] of new FormData(form)) {
      if (value !== "") {
        body[name] = value;
      }
    }
    const response = await fetch(form.getAttribute("action"), {
      method: "POST",
      headers: { "Content-Type": "application/json", "Accept-Language": document.documentElement.lang },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (response.ok) {
      form.remove();
      say(message.dataset.done, false);
      next.hidden = false;
    } else if (response.status === 429) {
      say(`${message.dataset.later} ${response.headers.get("Retry-After") ?? ""}`, true);
    } else {
      const fields = (answer.errors ?? []).map((error) => error.message);
      say(fields.length > 0 ? fields.join(" ") : (meaningOf(answer.code) ?? answer.detail), true);
      next.hidden = !/^(link_|invalid_credentials)/.test(answer.code ?? "");
    }
  } catch {
    say(message.dataset.offline, true);
  } finally {
    button.disabled = false;
  }
});
