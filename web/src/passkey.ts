/**
 * Passkeys on the pages of the sign-in: a button, and on the first page the browser's own list at the field of the address
 * (conditional mediation). What was given goes with the page's own form. Browsers that cannot read the options as JSON are left with
 * the password.
 */
const box = document.querySelector<HTMLElement>("[data-passkey]");
const form = document.querySelector("form");
const kind = window.PublicKeyCredential;

if (box && form && kind?.parseRequestOptionsFromJSON) {
  const own = box.dataset.passkey;
  let asked = new AbortController();

  const put = (name: string, value: string) => {
    const known = form.elements.namedItem(name) as HTMLInputElement | null;
    const input = known ?? form.appendChild(Object.assign(document.createElement("input"), { type: "hidden", name }));
    input.value = value;
  };

  const ask = async (mediation?: "conditional") => {
    asked.abort();
    asked = new AbortController();
    const { signal } = asked;
    const url = `${document.body.dataset.base}/auth/login/passkey/options`;
    const options = own ? JSON.parse(own) : await (await fetch(url, { method: "POST" })).json();
    const publicKey = kind.parseRequestOptionsFromJSON(options);
    const found = await navigator.credentials.get({ publicKey, signal, mediation } as CredentialRequestOptions);
    for (const field of form.querySelectorAll<HTMLInputElement>(".field input")) {
      field.disabled = true;
      field.required = false;
    }
    put("do", "passkey");
    put("assertion", JSON.stringify(found));
    form.requestSubmit();
  };

  const offer = async () => {
    if (!own && (await kind.isConditionalMediationAvailable?.())) ask("conditional").catch(() => {});
  };

  box.hidden = false;
  // What the user cancels, the browser has said itself.
  box.onclick = () => void ask().catch(offer);
  void offer();
  // A challenge is answered within ten minutes. Not while the button's own question is open.
  setInterval(() => box.contains(document.activeElement) || void offer(), 540_000);
}

export {};
