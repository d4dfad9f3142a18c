// What a page does a little better with a script. Everything here also works without it.
"use strict";

const dialog = document.getElementById("dialog");

// What htmx puts into the one dialog is shown; without htmx the same links lead to pages.
document.addEventListener("htmx:after:swap", () => {
  if (dialog.childElementCount && !dialog.open) dialog.showModal();
});
dialog?.addEventListener("click", (event) => {
  if (event.target !== dialog && !event.target.closest("[data-close]")) return;
  event.preventDefault();
  dialog.close();
});

// A form is sent once: a second click changes nothing, and the button shows that it is being done.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post") return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  event.submitter?.setAttribute("aria-busy", "true");
});

// The back button may show this page as it was: its forms can be sent again, unless somebody signed out meanwhile.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

const offline = document.getElementById("offline");
const tell = () => { if (offline) offline.hidden = navigator.onLine; };
window.addEventListener("online", tell);
window.addEventListener("offline", tell);
if (!navigator.onLine) tell();

// A failed form takes the reader to its first problem.
document.querySelector("[data-focus]")?.focus();

// The way in goes on by itself; a scanner that runs no scripts uses nothing up.
document.querySelector("form[data-at-once]")?.requestSubmit();
