// A stand-in for Stripe.js: the part of it that takes payment details and confirms intents, against the sandbox.
(() => {
  "use strict";

  const own = new URL(document.currentScript.src);
  const routed = own.hostname === "js.stripe.com"; // a browser test serves the sandbox under Stripe's names
  const base = own.origin + own.pathname.replace(/\/js\/.*$/, "");
  const API = routed ? "https://api.stripe.com" : base;
  const FRAME = routed ? "https://js.stripe.com/element.html" : `${base}/js/element.html`;
  const REMOVED = ["paymentMethodTypes"];

  class IntegrationError extends Error {
    constructor(message) {
      super(message);
      this.name = "IntegrationError";
    }
  }

  const encoded = (params) => {
    const form = new URLSearchParams();
    for (const [name, value] of Object.entries(params)) if (value !== undefined && value !== null) form.append(name, value);
    return form;
  };

  const call = async (key, method, path, params) => {
    const form = encoded(params);
    const url = method === "GET" ? `${API}${path}?${form}` : `${API}${path}`;
    const headers = { Authorization: `Bearer ${key}` };
    try {
      const answer = await fetch(url, { method, headers, body: method === "GET" ? undefined : form });
      return await answer.json();
    } catch {
      return { error: { type: "api_connection_error", message: "We could not reach the payment service. Check your connection." } };
    }
  };

  const kindOf = (secret) => (secret.startsWith("seti_") ? "setup" : "payment");
  const idOf = (secret) => secret.split("_secret_")[0];
  const pathOf = (secret) => `/v1/${kindOf(secret)}_intents/${idOf(secret)}`;
  const named = (secret, intent) => ({ [`${kindOf(secret)}Intent`]: intent });

  const retrieve = async (key, secret) => {
    const found = await call(key, "GET", pathOf(secret), { client_secret: secret });
    return found.error ? { error: found.error } : named(secret, found);
  };

  // The bank's question, in a frame over the page. Resolves true when it was answered, false when it was closed.
  const ask = (url) =>
    new Promise((resolve) => {
      const cover = document.createElement("div");
      const frame = document.createElement("iframe");
      const close = document.createElement("button");
      const end = (answered) => {
        window.removeEventListener("message", heard);
        cover.remove();
        resolve(answered);
      };
      const heard = (event) => {
        if (event.source === frame.contentWindow && event.data && event.data.secure === "answered") end(true);
      };
      Object.assign(cover.style, { position: "fixed", inset: "0", background: "rgba(0,0,0,.5)", zIndex: "9999", padding: "1rem", display: "grid", placeContent: "center", gridTemplateColumns: "minmax(0, 26rem)", gap: ".75rem" });
      Object.assign(frame.style, { width: "100%", height: "17rem", border: "0", borderRadius: "12px", background: "#fff", colorScheme: "light" });
      Object.assign(close.style, { justifySelf: "end", font: "600 15px system-ui, sans-serif", padding: ".6rem 1rem", border: "0", borderRadius: "8px", background: "#fff", color: "#1f2430", cursor: "pointer" });
      cover.setAttribute("role", "dialog");
      cover.setAttribute("aria-modal", "true");
      cover.setAttribute("aria-label", "Confirm with your bank");
      frame.title = "Your bank";
      frame.name = "stripe-challenge-frame";
      frame.src = url;
      close.type = "button";
      close.textContent = "Close";
      close.addEventListener("click", () => end(false));
      cover.append(frame, close);
      window.addEventListener("message", heard);
      document.body.append(cover);
      frame.focus();
    });

  const challengeOf = (intent) => {
    const action = intent.next_action || {};
    const url = new URL((action.use_stripe_sdk || {}).stripe_js || (action.redirect_to_url || {}).url);
    return routed ? `https://hooks.stripe.com${url.pathname.slice(url.pathname.indexOf("/3ds/"))}` : url.href;
  };

  const failure = (secret, intent) => {
    const last = intent.last_payment_error || intent.last_setup_error;
    return { error: { ...(last || {}), ...{ [`${kindOf(secret)}_intent`]: intent } } };
  };

  const finished = async (key, secret, intent) => {
    if (intent.status === "requires_action") {
      if (!(await ask(challengeOf(intent)))) {
        const code = `${kindOf(secret)}_intent_authentication_failure`;
        return { error: { type: "invalid_request_error", code, message: "We are unable to authenticate your payment method. Please choose a different payment method and try again." } };
      }
      const found = await retrieve(key, secret);
      if (found.error) return found;
      intent = found.setupIntent || found.paymentIntent;
    }
    return intent.status === "requires_payment_method" ? failure(secret, intent) : named(secret, intent);
  };

  const confirm = async (key, { elements, clientSecret, confirmParams = {}, redirect }) => {
    const secret = clientSecret || (elements && elements.secret);
    if (!secret) throw new IntegrationError("confirm needs a clientSecret");
    let method = confirmParams.payment_method;
    if (elements) {
      const made = await elements.method();
      if (made.error) return made;
      method = made.paymentMethod.id;
    }
    const given = { payment_method: method, return_url: confirmParams.return_url, use_stripe_sdk: true, client_secret: secret };
    const intent = await call(key, "POST", `${pathOf(secret)}/confirm`, given);
    if (intent.error) return { error: intent.error };
    const done = await finished(key, secret, intent);
    if (!done.error && redirect !== "if_required") leave(secret, done.setupIntent || done.paymentIntent, confirmParams.return_url);
    return done;
  };

  const leave = (secret, intent, url) => {
    const to = new URL(url, window.location.href);
    to.searchParams.set(`${kindOf(secret)}_intent`, intent.id);
    to.searchParams.set(`${kindOf(secret)}_intent_client_secret`, secret);
    to.searchParams.set("redirect_status", intent.status);
    window.location.assign(to);
  };

  // The fields: a frame of the sandbox's own, so that no page around it sees what is typed.
  class PaymentElement {
    constructor(key, options) {
      this.listeners = {};
      this.waiting = new Map();
      this.asked = 0;
      this.frame = document.createElement("iframe");
      const theme = (options.appearance || {}).theme || "stripe";
      const debit = (options.currency || "eur").toLowerCase() === "eur" ? "1" : "0";
      this.frame.src = `${FRAME}?${new URLSearchParams({ key, api: API, theme, debit })}`;
      this.frame.title = "Secure payment input frame";
      Object.assign(this.frame.style, { width: "100%", height: "230px", border: "0", display: "block" });
      this.heard = (event) => {
        if (event.source !== this.frame.contentWindow || !event.data) return;
        const { event: name, reply, height, ...rest } = event.data;
        if (height) this.frame.style.height = `${height}px`;
        if (name) (this.listeners[name] || []).forEach((listener) => listener({ elementType: "payment", ...rest }));
        if (reply) {
          this.waiting.get(reply)?.(rest);
          this.waiting.delete(reply);
        }
      };
      window.addEventListener("message", this.heard);
    }
    on(name, listener) {
      (this.listeners[name] ||= []).push(listener);
      return this;
    }
    mount(target) {
      const place = typeof target === "string" ? document.querySelector(target) : target;
      if (!place) throw new IntegrationError(`there is no ${target} to mount the element in`);
      place.replaceChildren(this.frame);
    }
    unmount() {
      this.frame.remove();
    }
    destroy() {
      window.removeEventListener("message", this.heard);
      this.frame.remove();
    }
    focus() {
      this.frame.focus();
    }
    update() {}
    ask(what) {
      if (!this.frame.isConnected) throw new IntegrationError("mount the payment element first");
      return new Promise((resolve) => {
        const number = ++this.asked;
        this.waiting.set(number, resolve);
        this.frame.contentWindow.postMessage({ ask: what, number }, new URL(FRAME).origin);
      });
    }
  }

  class Elements {
    constructor(key, options) {
      for (const name of REMOVED) if (name in options) throw new IntegrationError(`${name} is no longer supported; use allowedPaymentMethodTypes`);
      if (!options.clientSecret && !options.mode) throw new IntegrationError("elements() needs a clientSecret or a mode");
      if (options.mode === "payment" && !Number.isInteger(options.amount)) throw new IntegrationError("mode payment needs an amount");
      this.key = key;
      this.options = options;
      this.secret = options.clientSecret;
      this.submitted = Boolean(options.clientSecret);
    }
    create(type, options) {
      if (type !== "payment") throw new IntegrationError(`the stand-in has no ${type} element`);
      this.element = new PaymentElement(this.key, { ...this.options, ...options });
      return this.element;
    }
    getElement() {
      return this.element || null;
    }
    update(options) {
      Object.assign(this.options, options);
    }
    async submit() {
      const { error } = await this.element.ask("check");
      this.submitted = !error;
      return error ? { error } : { selectedPaymentMethod: "card" };
    }
    async method() {
      if (!this.submitted) throw new IntegrationError("elements.submit() must be called before the details are used");
      return this.element.ask("method");
    }
  }

  window.Stripe = (key) => {
    if (!/^pk_/.test(key)) throw new IntegrationError("Stripe() needs a publishable key");
    return {
      elements: (options = {}) => new Elements(key, options),
      createPaymentMethod: ({ elements }) => elements.method(),
      confirmSetup: (options) => confirm(key, options),
      confirmPayment: (options) => confirm(key, options),
      retrieveSetupIntent: (secret) => retrieve(key, secret),
      retrievePaymentIntent: (secret) => retrieve(key, secret),
      handleNextAction: async ({ clientSecret }) => {
        const found = await retrieve(key, clientSecret);
        return found.error ? found : finished(key, clientSecret, found.setupIntent || found.paymentIntent);
      },
    };
  };
  window.Stripe.version = "stand-in";
})();
