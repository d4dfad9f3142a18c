// Adding a payment method: shows the provider's form, asks for the set-up when it is filled in, and goes on when the bank
// agreed. The client secret lives in this script only. What counts is what the next page hears from the provider.
(() => {
  "use strict";

  const form = document.getElementById("add") || document.getElementById("resume");
  const about = JSON.parse(form.dataset.about);
  const button = form.querySelector("button");
  const problem = document.getElementById("problem");

  const tell = (text) => {
    problem.hidden = !text;
    if (text) problem.querySelector("[data-text]").textContent = text;
  };

  const busy = (on) => {
    button.toggleAttribute("disabled", on);
    if (on) button.setAttribute("aria-busy", "true");
    else button.removeAttribute("aria-busy");
  };

  // Asks our server. A session that is over answers with a page: it is loaded, for it says how to come back.
  const ask = async (url, fields = {}) => {
    const body = new URLSearchParams({ csrf_token: form.elements.csrf_token.value, ...fields });
    const answer = await fetch(url, { method: "POST", body, headers: { Accept: "application/json" } });
    if (!answer.headers.get("Content-Type")?.includes("json")) {
      location.reload();
      return new Promise(() => {});
    }
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.message);
    return said;
  };

  const after = (path) => {
    const url = new URL(path, location.origin);
    const chosen = form.elements.default;
    if (chosen && (chosen.type === "hidden" || chosen.checked)) url.searchParams.set("default", "1");
    if (about.replaces) url.searchParams.set("replaces", about.replaces);
    return url.href;
  };

  const add = async (fields) => {
    const missing = await fields.check();
    if (missing) return missing;
    const begun = await ask(about.begin, { form: about.form });
    if (begun.url) return location.assign(after(begun.url));
    const returnUrl = after(begun.after);
    const outcome = await fields.confirm({ clientSecret: begun.clientSecret, returnUrl });
    if (outcome.state !== "open") return location.assign(returnUrl);
    const told = await ask(begun.state).catch(() => ({}));
    return told.message ? `${told.message} ${form.dataset.nothing}` : form.dataset.declined;
  };

  const resume = async () => {
    const begun = await ask(about.resume);
    if (!begun.clientSecret) return location.reload();
    const { settings, mode } = about;
    const outcome = await window.billhookPayments.resume({ settings, mode, clientSecret: begun.clientSecret });
    if (outcome.state !== "open") return location.reload();
    return form.dataset.declined;
  };

  const send = (act) => form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    busy(true);
    tell("");
    const text = await act().catch((error) => (error instanceof TypeError ? form.dataset.offline : error.message));
    if (text === undefined) return; // the page is being left
    tell(text);
    busy(false);
  });

  const start = async () => {
    if (form.id === "resume") {
      send(resume);
      button.hidden = false;
      return;
    }
    const frame = document.getElementById("payment-form");
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const fields = window.billhookPayments.form({ ...about, clientSecret: null, dark });
    frame.replaceChildren();
    frame.classList.remove("frame");
    await fields.mount(frame);
    frame.removeAttribute("aria-busy");
    send(() => add(fields));
    button.hidden = false;
  };

  start().catch(() => tell(form.dataset.broken));
})();
