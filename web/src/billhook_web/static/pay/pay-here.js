// Paying on this page with the provider's form. The client secret is asked for here and kept in this script only; whether
// it was paid, the page after this one knows from the provider, not from here.
(() => {
  "use strict";

  const form = document.getElementById("here");
  const about = JSON.parse(form.dataset.about);
  const problem = document.getElementById("problem");
  const confirm = document.getElementById("confirm");
  const another = document.getElementById("another"); // nothing saved is offered: there is no such choice
  const confirmed = confirm.querySelector("button");
  const pay = form.querySelector("[data-pay]");
  const frame = document.getElementById("payment-form");
  const returnUrl = new URL(about.after, location.origin).href;

  const tell = (text) => {
    problem.hidden = !text;
    problem.querySelector("[data-text]").textContent = text;
  };

  const busy = (on) => {
    for (const button of [confirmed, pay]) {
      button.disabled = on;
      button.toggleAttribute("aria-busy", on);
    }
  };

  const look = async () => {
    const answer = await fetch(form.action, { method: "POST", headers: { Accept: "application/json" } });
    return answer.json();
  };

  // What is no longer open here is begun anew by a plain form.
  const beginAnew = () => {
    document.getElementById("ways").classList.remove("here");
    form.hidden = true;
    document.getElementById("begin").hidden = false;
  };

  const went = async (outcome) => {
    if (outcome.state !== "open") return location.assign(returnUrl);
    const said = await look().catch(() => ({}));
    confirm.hidden = !(said.waits || said.method);
    tell(said.message ? `${said.message} ${form.dataset.nothing}` : form.dataset.declined);
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

  const mount = async (clientSecret) => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const fields = window.billhookPayments.form({ ...about, mode: "payment", clientSecret, dark });
    frame.replaceChildren();
    frame.classList.remove("frame");
    await fields.mount(frame);
    frame.removeAttribute("aria-busy");
    pay.hidden = false;
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

  // The bank has asked already, or will ask for the saved method it turned away.
  const offerToConfirm = ({ clientSecret, method, waits }) => {
    const { settings } = about;
    const act = waits
      ? () => window.billhookPayments.resume({ settings, mode: "payment", clientSecret })
      : () => window.billhookPayments.pay({ settings, clientSecret, method, returnUrl });
    confirm.hidden = false;
    confirmed.addEventListener("click", () => attempt(act));
    if (waits && about.atOnce) attempt(act);
  };

  // The fields are loaded when they are wanted, and then once.
  const mountWhenChosen = (clientSecret) => {
    const broken = () => tell(form.dataset.broken);
    if (!another || another.checked) return mount(clientSecret);
    const chosen = () => {
      if (!another.checked) return;
      document.removeEventListener("change", chosen);
      mount(clientSecret).catch(broken);
    };
    document.addEventListener("change", chosen);
    return null;
  };

  const start = async () => {
    const said = await look();
    if (said.state === "busy") return tell(form.dataset.busy);
    if (said.state === "canceled") return beginAnew();
    if (said.state !== "open" || !said.clientSecret) return location.assign(returnUrl);
    if (said.waits || said.method) offerToConfirm(said);
    return mountWhenChosen(said.clientSecret);
  };

  start().catch(() => tell(form.dataset.broken));
})();
