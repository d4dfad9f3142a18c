// The fields inside the frame. What is typed goes to the sandbox's API and to nobody else.
(() => {
  "use strict";

  const query = new URLSearchParams(window.location.search);
  const field = (name) => document.getElementById(name);
  const tell = (message) => window.parent.postMessage(message, "*");
  const kind = () => document.querySelector("input[name=kind]:checked").value;

  document.documentElement.dataset.theme = query.get("theme") || "stripe";
  if (query.get("debit") !== "1") field("kinds").hidden = true;

  const show = () => {
    field("card").hidden = kind() !== "card";
    field("debit").hidden = kind() === "card";
    tell({ event: "change", complete: problem() === null, value: { type: kind() } });
  };

  const expiry = () => /^\s*(\d{1,2})\s*\/?\s*(\d{2}|\d{4})\s*$/.exec(field("expiry").value);

  const problem = () => {
    if (kind() !== "card") return field("iban").value.trim() ? null : "Your IBAN is incomplete.";
    if (field("number").value.replace(/\D/g, "").length < 12) return "Your card number is incomplete.";
    if (!expiry()) return "Your card's expiration date is incomplete.";
    return /^\d{3,4}$/.test(field("cvc").value.trim()) ? null : "Your card's security code is incomplete.";
  };

  const details = () => {
    if (kind() !== "card") {
      return { type: "sepa_debit", "sepa_debit[iban]": field("iban").value, "billing_details[name]": field("holder").value };
    }
    const [, month, year] = expiry();
    return {
      type: "card",
      "card[number]": field("number").value.replace(/\D/g, ""),
      "card[exp_month]": String(Number(month)),
      "card[exp_year]": year.length === 2 ? `20${year}` : year,
      "card[cvc]": field("cvc").value.trim(),
    };
  };

  const check = () => {
    const message = problem();
    field("problem").textContent = message || "";
    return message ? { error: { type: "validation_error", code: "incomplete", message } } : {};
  };

  const method = async () => {
    const wrong = check();
    if (wrong.error) return wrong;
    const headers = { Authorization: `Bearer ${query.get("key")}` };
    const body = new URLSearchParams(details());
    try {
      const answer = await fetch(`${query.get("api")}/v1/payment_methods`, { method: "POST", headers, body });
      const made = await answer.json();
      if (made.error) field("problem").textContent = made.error.message;
      return made.error ? { error: made.error } : { paymentMethod: made };
    } catch {
      return { error: { type: "api_connection_error", message: "We could not reach the payment service. Check your connection." } };
    }
  };

  window.addEventListener("message", async ({ data, source }) => {
    if (source !== window.parent || !data || !data.ask) return;
    const answer = data.ask === "method" ? await method() : check();
    tell({ reply: data.number, ...answer });
  });
  field("details").addEventListener("submit", (event) => event.preventDefault());
  field("details").addEventListener("input", show);
  new ResizeObserver(() => tell({ height: Math.ceil(document.body.getBoundingClientRect().height) })).observe(document.body);
  show();
  tell({ event: "ready" });
})();
