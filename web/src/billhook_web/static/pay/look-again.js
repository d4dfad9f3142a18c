// Looks again while a payment is on its way and shows the page anew once something changed.
// The live region announces it, so nobody loses their place to a reload. Without this, "Check again" does it.
(() => {
  "use strict";

  const PAUSES = [2, 2, 3, 3, 5, 5, 10]; // seconds; the last one is repeated
  const MOST = 60; // looks: about ten minutes

  async function look() {
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) return false;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    const shown = document.getElementById("look");
    const now = next.getElementById("look");
    if (now.dataset.look === shown.dataset.look) return false;
    if (now.querySelector("form")) { // what is to be paid again comes with scripts of its own
      location.replace(location.pathname);
      return true;
    }
    document.title = next.title;
    shown.replaceChildren(...now.childNodes);
    shown.dataset.look = now.dataset.look ?? "";
    return shown.dataset.look === "";
  }

  async function keepLooking(round) {
    if (round === MOST) return tell(false);
    await new Promise((later) => setTimeout(later, 1000 * (PAUSES[round] ?? PAUSES.at(-1))));
    const over = document.hidden ? false : await look().catch(() => false);
    if (over) return;
    tell(true);
    keepLooking(round + 1);
  }

  function tell(looking) {
    for (const text of document.querySelectorAll("[data-by-itself]")) text.hidden = !looking;
  }

  tell(true);
  keepLooking(0);
})();
