// Paying on this page with the provider's form. The client secret is asked for here and kept in this script only; whether
// it was paid, the page after this one knows from the provider, not from here.
(() => {
  "use strict";

  const form = document.getElementById("here");
  const about = JSON.parse(form.dataset.about);
  const problem = document.getElementById("problem");
  const [confirmed, pay] = [form.querySelector("[data-confirm]"), form.querySelector("[data-pay]")];
  const frame = form.querySelector(".provider");
  const returnUrl = new URL(about.after, location.origin).href;

  const tell = (text) => {
    problem.hidden = !text;
    problem.querySelector("[data-text]").textContent = text;
  };

  const busy = (on) => {
    for (const button of [confirmed, pay]) button.disabled = on;
  };

  const look = async () => {
    const answer = await fetch(form.action, { method: "POST", headers: { Accept: "application/json" } });
    return answer.json();
  };

  // What is no longer open here is begun anew by a plain form.
  const beginAnew = () => {
    form.hidden = true;
    document.getElementById("begin").hidden = false;
  };

  const went = async (outcome) => {
    if (outcome.state !== "open") return location.assign(returnUrl);
    const said = await look().catch(() => ({}));
    tell(said.message || form.dataset.declined);
    busy(false);
  };

  const attempt = async (act) => {
    if (pay.disabled) return;
    busy(true);
    tell("");
    try {
      const outcome = await act();
      if (outcome) await went(outcome);
    } catch {
      tell(form.dataset.busy);
      busy(false);
    }
  };

  const start = async () => {
    const said = await look();
    if (said.state === "busy") return tell(form.dataset.busy);
    if (said.state === "canceled") return beginAnew();
    if (said.state !== "open" || !said.clientSecret) return location.assign(returnUrl);
    const { settings } = about;
    const { clientSecret, method } = said;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const locale = document.documentElement.lang;
    const fields = window.billhookPayments.form({ ...about, mode: "payment", clientSecret, locale, dark });
    await fields.mount(frame);
    frame.removeAttribute("aria-busy");
    confirmed.hidden = !method;
    pay.hidden = false;
    confirmed.addEventListener("click", () =>
      attempt(() => window.billhookPayments.pay({ settings, clientSecret, method, returnUrl })));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      attempt(async () => {
        const missing = await fields.check();
        if (!missing) return fields.confirm({ clientSecret, returnUrl });
        tell(missing);
        busy(false);
        return null;
      });
    });
  };

  start().catch(() => tell(form.dataset.broken));
})();
