// Lets the host's pages use Stripe's form: sets window.billhookPayments, as billhook.methods describes it.
// An outcome is for the eyes only; the server asks Stripe itself.
(() => {
  "use strict";

  const STATES = { succeeded: "succeeded", processing: "processing", requires_capture: "processing" };
  const clients = new Map();

  const stripeFor = (settings) => {
    const key = settings.publishableKey;
    if (!clients.has(key)) clients.set(key, window.Stripe(key));
    return clients.get(key);
  };

  const outcome = (intent, error) => {
    if (error) return { state: "open", message: error.message || null };
    const failed = intent.last_payment_error || intent.last_setup_error;
    return { state: STATES[intent.status] || "open", message: failed ? failed.message || null : null };
  };

  const look = ({ locale, dark }) => ({
    locale: locale || "auto",
    appearance: { theme: dark ? "night" : "stripe", variables: { borderRadius: "8px" } },
  });

  // The one Payment Element of a page. With a client secret it belongs to that intent, else it is deferred: the secret
  // is made when the customer has filled it in.
  const form = ({ settings, mode, currency, amount, clientSecret, locale, dark }) => {
    const stripe = stripeFor(settings);
    const about = clientSecret
      ? { clientSecret }
      : mode === "setup"
        ? { mode: "setup", currency: currency.toLowerCase(), setupFutureUsage: "off_session" }
        : { mode: "payment", currency: currency.toLowerCase(), amount };
    const elements = stripe.elements({ ...about, ...look({ locale, dark }) });
    const element = elements.create("payment", { layout: "tabs" });
    const ready = new Promise((resolve, reject) => {
      element.on("ready", () => resolve());
      element.on("loaderror", (event) => reject(new Error((event.error && event.error.message) || "not loaded")));
    });
    return {
      mount(target) {
        element.mount(target);
        return ready;
      },
      async check() {
        const { error } = await elements.submit();
        return error ? error.message || "" : null;
      },
      async confirm({ clientSecret: secret, returnUrl }) {
        const confirmParams = { return_url: returnUrl };
        const options = { elements, clientSecret: secret || clientSecret, confirmParams, redirect: "if_required" };
        const done = mode === "setup" ? await stripe.confirmSetup(options) : await stripe.confirmPayment(options);
        return outcome(done.setupIntent || done.paymentIntent, done.error);
      },
      destroy() {
        element.destroy();
      },
    };
  };

  const pay = async ({ settings, clientSecret, method, returnUrl }) => {
    const confirmParams = { payment_method: method, return_url: returnUrl };
    const done = await stripeFor(settings).confirmPayment({ clientSecret, confirmParams, redirect: "if_required" });
    return outcome(done.paymentIntent, done.error);
  };

  const resume = async ({ settings, mode, clientSecret }) => {
    const stripe = stripeFor(settings);
    const setup = mode === "setup";
    const found = setup
      ? await stripe.retrieveSetupIntent(clientSecret)
      : await stripe.retrievePaymentIntent(clientSecret);
    const intent = found.setupIntent || found.paymentIntent;
    if (found.error || intent.status !== "requires_action") return outcome(intent, found.error);
    const done = await stripe.handleNextAction({ clientSecret });
    return outcome(done.setupIntent || done.paymentIntent, done.error);
  };

  window.billhookPayments = { form, pay, resume };
})();
