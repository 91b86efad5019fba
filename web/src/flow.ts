/**
 * What the pages that the server renders gain where scripts run: they are whole without it. It stands in each of those pages, so it is
 * small, and it finds its words in the page.
 */
import { suggestedEmail } from "./components/suggestion";
import { readTheme } from "./components/theme";
import { type Counted, plural } from "./i18n/plural";

const root = document.documentElement;
const base = document.body.dataset.base ?? "";

/** The client of the account pages marks a sign-out here that the service has not confirmed yet. */
const PENDING_LOGOUT = "josoor_auth_leaving";
const CARRIED = "josoor_email";

/** Storage that the browser may forbid. */
function stored(kind: "localStorage" | "sessionStorage"): Storage | null {
  try {
    return window[kind];
  } catch {
    return null;
  }
}

const find = <E extends Element = HTMLElement>(selector: string, within: ParentNode = document) =>
  within.querySelector<E>(selector);
const all = <E extends Element = HTMLElement>(selector: string, within: ParentNode = document) => [
  ...within.querySelectorAll<E>(selector),
];

function make(name: string, text: string, values: Record<string, string> = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(values)) element.setAttribute(key, value);
  return element;
}

// --- what is wrong ---------------------------------------------------------------------------------------------------

const title = (form: HTMLFormElement) => `${form.dataset.error}: `;

function clearSummary(form: HTMLFormElement) {
  find("[role=alert]", form)?.remove();
  if (document.title.startsWith(title(form))) document.title = document.title.slice(title(form).length);
}

/** What is being corrected is wrong no longer as far as anybody knows. */
function clearField(form: HTMLFormElement, name: string) {
  const input = find<HTMLInputElement>(`#${name}`, form);
  const field = input?.closest(".wrong");
  if (!input || !field) return;
  field.classList.remove("wrong");
  find(".error", field)?.remove();
  input.removeAttribute("aria-invalid");
  const hint = find(`#${name}-hint`, field);
  if (hint) input.setAttribute("aria-describedby", hint.id);
  else input.removeAttribute("aria-describedby");
  find(`[role=alert] a[href="#${name}"]`, form)?.parentElement?.remove();
  if (!find("[role=alert] li, [role=alert] p", form)) clearSummary(form);
}

function showField(input: HTMLInputElement, message: string) {
  const error = make("p", message, { class: "error", id: `${input.id}-error` });
  input.closest(".field")?.classList.add("wrong");
  (input.closest(".password") ?? input).before(error);
  input.setAttribute("aria-invalid", "true");
  input.setAttribute("aria-describedby", `${input.getAttribute("aria-describedby") ?? ""} ${error.id}`.trim());
}

/** Says above the form and beside each field what is wrong; a reader is led there. */
function showFailure(form: HTMLFormElement, message: string, wrong: [input: HTMLInputElement, message: string][] = []) {
  const summary = make("div", "", { class: "notice bad", role: "alert", tabindex: "-1" });
  summary.append(make("h2", form.dataset.problem ?? ""));
  if (message) summary.append(make("p", message));
  const list = make("ul", "");
  for (const [input, text] of wrong) {
    showField(input, text);
    const item = make("li", "");
    item.append(make("a", `${input.labels?.[0]?.textContent}: ${text}`, { href: `#${input.id}` }));
    list.append(item);
  }
  if (wrong.length > 0) summary.append(list);
  form.prepend(summary);
  document.title = title(form) + document.title;
  summary.focus();
}

// --- forms -----------------------------------------------------------------------------------------------------------

function prepareForm(form: HTMLFormElement) {
  form.noValidate = true;
  const button = find("[type=submit]", form);
  const status = [...form.children].findLast((child) => child.getAttribute("role") === "status");
  form.addEventListener("input", (event) => clearField(form, (event.target as HTMLInputElement).name));
  form.addEventListener("submit", (event) => {
    // The form in the other language: it may be half filled in, and no password goes with it.
    if ((event.submitter as HTMLButtonElement | null)?.name === "language") {
      for (const input of all<HTMLInputElement>(".password input", form)) input.value = "";
      return;
    }
    const isBusy = form.getAttribute("aria-busy") === "true";
    if (isBusy || button?.ariaDisabled === "true") return event.preventDefault();
    clearSummary(form);
    const inputs = all<HTMLInputElement>("input:not([type=hidden])[name]", form);
    for (const { name } of inputs) clearField(form, name);
    for (const input of all<HTMLInputElement>(".password input", form)) input.type = "password";
    const wrong: [HTMLInputElement, string][] = [];
    for (const input of inputs) {
      if (input.required && input.value === "") wrong.push([input, form.dataset.required ?? ""]);
      else if (input.type === "email" && input.value && !/^[^\s@]+@[^\s@]+$/.test(input.value.trim()))
        wrong.push([input, form.dataset.invalidEmail ?? ""]);
    }
    const isOffline = navigator.onLine === false;
    if (wrong.length > 0 || isOffline) {
      event.preventDefault();
      showFailure(form, isOffline && wrong.length === 0 ? (form.dataset.offline ?? "") : "", wrong);
      return;
    }
    // The cookie is the new session's from now on: a pending sign-out of the old one would revoke that.
    if (form.closest("[data-signs-in], [data-opens-session]")) stored("localStorage")?.removeItem(PENDING_LOGOUT);
    form.setAttribute("aria-busy", "true");
    button?.setAttribute("aria-disabled", "true");
    if (status) status.textContent = form.dataset.sending ?? "";
  });
}

// A page that comes back from the browser's memory can be submitted again.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of all("form[aria-busy=true]")) {
    form.setAttribute("aria-busy", "false");
    find("[type=submit]", form)?.setAttribute("aria-disabled", "false");
  }
});

/** Which script the letters of a text are in: what cannot be seen in a field of dots. */
function scriptOf(text: string): "ar" | "en" | null {
  if (/\p{Script=Arabic}/u.test(text)) return "ar";
  return /\p{Script=Latin}/u.test(text) ? "en" : null;
}

function preparePassword(box: HTMLElement) {
  const input = find<HTMLInputElement>("input", box);
  const button = find("button", box);
  const field = box.closest(".field");
  const hint = field && find("[data-caps]", field);
  if (!input || !button || !hint || !field) return;
  const wasTried = find("[role=alert]") !== null;
  let hasCaps = false;
  const say = () => {
    const isShown = input.type === "text";
    const script = scriptOf(input.value);
    // Most passwords are in Latin letters, so that in Arabic it is worth a word only after a try.
    const isOther = !isShown && script !== null && script !== root.lang && (script === "ar" || wasTried);
    const { caps, shown, arabic, latin } = hint.dataset;
    const said = [hasCaps && caps, isOther && (script === "ar" ? arabic : latin), isShown && shown];
    hint.textContent = said.filter(Boolean).join(" ");
    button.setAttribute("aria-pressed", String(isShown));
    const label = find("span", button);
    if (label) label.textContent = (isShown ? button.dataset.hide : button.dataset.show) ?? "";
    const rule = find("[data-length]", field);
    const spoken = find("[data-enough]", field);
    // Characters, not UTF-16 units: an emoji or an Arabic letter with a mark is counted as the server counts it.
    const isEnough = [...input.value.normalize("NFC")].length >= Number(rule?.dataset.length);
    rule?.classList.toggle("met", isEnough);
    if (spoken)
      spoken.textContent = input.value === "" ? "" : ((isEnough ? spoken.dataset.enough : spoken.dataset.short) ?? "");
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    input.type = input.type === "password" ? "text" : "password";
    say();
  });
  for (const name of ["keydown", "keyup"] as const)
    input.addEventListener(name, (event) => {
      hasCaps = event.getModifierState("CapsLock");
      say();
    });
  input.addEventListener("blur", () => {
    hasCaps = false;
    say();
  });
  input.addEventListener("input", say);
}

function prepareSuggestion(hint: HTMLElement) {
  const input = find<HTMLInputElement>("input", hint.closest(".field") ?? document);
  input?.addEventListener("blur", () => {
    hint.textContent = "";
    const better = suggestedEmail(input.value);
    if (!better) return;
    const button = make("button", "", { type: "button", class: "link" });
    button.append(make("bdi", better, { dir: "ltr" }));
    button.addEventListener("click", () => {
      input.value = better;
      hint.textContent = "";
      input.focus();
    });
    hint.append(`${hint.dataset.suggest} `, button);
  });
}

/** Counts down until another try is worth it. */
function prepareWait(text: HTMLElement) {
  const form = text.closest("form");
  const end = performance.now() + Number(text.dataset.wait) * 1000;
  const timer = setInterval(() => {
    const left = Math.ceil((end - performance.now()) / 1000);
    const [unit, length] = left >= 21_600 ? ["hours", 3600] : left >= 120 ? ["minutes", 60] : ["seconds", 1];
    const forms = JSON.parse(text.dataset[unit as string] ?? "{}") as Counted;
    const count = Math.ceil(left / Number(length));
    if (left > 0) {
      const duration = plural(root.lang, forms, count).replace("{count}", `\u2068${count}\u2069`);
      text.textContent = (text.dataset.text ?? "").replace("{duration}", `\u2068${duration}\u2069`);
      return;
    }
    clearInterval(timer);
    text.textContent = text.dataset.now ?? "";
    if (form) find("[type=submit]", form)?.setAttribute("aria-disabled", "false");
  }, 1000);
}

// --- links in mails --------------------------------------------------------------------------------------------------

/** Posts the token of the link, which stands behind "#", and takes it out of the address, so that it stays in no history. */
function openLink() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return;
  history.replaceState(history.state, "", location.pathname + location.search);
  const card = find("[data-link]");
  const input = find<HTMLInputElement>("#link");
  if (!card || !input?.form) return;
  input.value = token;
  input.form.hidden = true;
  card.append(make("p", card.dataset.opening ?? "", { class: "loading", role: "status" }));
  input.form.submit();
}

// --- the session -----------------------------------------------------------------------------------------------------

/** Goes on where the browser is signed in: now, or once another tab signs in. */
async function followSession() {
  const storage = stored("localStorage");
  if (storage?.getItem(PENDING_LOGOUT) === "1") {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch(`${base}/auth/logout`, { method: "POST", headers, body: "{}" }).catch(() => null);
    if (answer && answer.status < 429) storage.removeItem(PENDING_LOGOUT);
    return;
  }
  const parameters = new URLSearchParams(location.search);
  const goOn = async () => {
    const returnTo = parameters.get("return_to");
    const query = returnTo === null ? "" : `?return_to=${encodeURIComponent(returnTo)}`;
    const answer = await fetch(`${base}/auth/pages/session${query}`).catch(() => null);
    const { to } = answer?.ok ? ((await answer.json()) as { to: string | null }) : { to: null };
    if (to && !find("form[aria-busy=true]")) location.replace(to);
  };
  try {
    new BroadcastChannel("josoor-auth").addEventListener("message", ({ data }) => {
      if (data?.type === "signed-in" || data?.type === "refreshed") void goOn();
    });
  } catch {
    // Where the browser has none, or forbids it, the other tab is noticed with the next visit.
  }
  // After the end of a session the user is asked, whatever cookie the browser still has.
  if (!parameters.has("reason")) await goOn();
}

// --- the page --------------------------------------------------------------------------------------------------------

const theme = readTheme();
if (theme !== "system") root.dataset.theme = theme;
for (const form of all<HTMLFormElement>("form")) prepareForm(form);
for (const box of all(".password")) preparePassword(box);
for (const hint of all("[data-suggest]")) prepareSuggestion(hint);
for (const text of all("[data-wait]")) prepareWait(text);
for (const link of all<HTMLAnchorElement>("[data-carry]"))
  link.addEventListener("click", () =>
    stored("sessionStorage")?.setItem(CARRIED, find<HTMLInputElement>("#email")?.value ?? ""),
  );
const carried = stored("sessionStorage")?.getItem(CARRIED);
const email = find<HTMLInputElement>("[data-carried] #email");
if (carried && email && !email.value) {
  email.value = carried;
  find("#password")?.focus();
}
if (email) stored("sessionStorage")?.removeItem(CARRIED);
document.addEventListener("click", (event) => {
  const link = (event.target as Element).closest<HTMLAnchorElement>('[role=alert] a[href^="#"]');
  const field = link && document.getElementById(link.hash.slice(1));
  if (!field) return;
  event.preventDefault();
  field.focus();
});
openLink();
addEventListener("hashchange", openLink);
if (find("[data-signs-in]")) void followSession();
