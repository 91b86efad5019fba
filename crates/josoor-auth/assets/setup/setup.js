// The one-time token stands after "#", which browsers keep to themselves: it is in no request line and no log.
"use strict";

const form = document.querySelector("form");
const message = document.querySelector("#message");
const token = new URLSearchParams(location.hash.slice(1)).get("token");
history.replaceState(null, "", location.pathname);

function say(text, failed) {
  message.textContent = text;
  message.classList.toggle("failed", failed);
}

if (!token) {
  say(form.dataset.noToken, true);
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    const body = { token: token ?? "", email: form.email.value, password: form.password.value };
    if (form.full_name.value.trim()) {
      body.full_name = form.full_name.value;
    }
    const response = await fetch("/setup", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (response.ok) {
      form.remove();
      say(message.dataset.done, false);
      document.querySelector("#next").hidden = false;
    } else {
      const fields = (answer.errors ?? []).map((error) => error.message);
      say(fields.length > 0 ? fields.join(" ") : answer.detail, true);
    }
  } catch {
    say(form.dataset.offline, true);
  } finally {
    button.disabled = false;
  }
});
