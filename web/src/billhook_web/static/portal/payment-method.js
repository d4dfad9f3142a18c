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

  // What the customer wants of it goes to the server before they confirm anything: they may never come back.
  const wishes = () => {
    const { default: first, replaces } = form.elements;
    const wanted = first && (first.type === "hidden" || first.checked);
    return { ...(wanted && { default: "1" }), ...(replaces && { replaces: replaces.value }) };
  };

  const add = async (fields) => {
    const missing = await fields.check();
    if (missing) return missing;
    const begun = await ask(about.begin, { form: about.form, ...wishes() });
    if (begun.url) return location.assign(begun.url);
    const returnUrl = new URL(begun.after, location.origin).href;
    const outcome = await fields.confirm({ clientSecret: begun.clientSecret, returnUrl });
    if (outcome.state !== "open") return location.assign(returnUrl);
    const told = await ask(begun.state).catch(() => ({}));
    const message = told.message || outcome.message; // the bank's question was closed: only the script knows
    return message ? `${message} ${form.dataset.nothing}` : form.dataset.declined;
  };

  const resume = async () => {
    const begun = await ask(about.resume);
    if (!begun.clientSecret) return location.reload();
    const { settings, mode } = about;
    const outcome = await window.billhookPayments.resume({ settings, mode, clientSecret: begun.clientSecret });
    if (outcome.state !== "open") return location.reload();
    const told = await ask(about.resume); // a question that was answered with no is over: the page says what can be done
    return told.message ? location.reload() : form.dataset.declined;
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
