// Renews the parts of the page that have changed, and leaves the reader where they are.
"use strict";
const PAUSE = 2000;
let tag = "";

function renew(fresh) {
  const parts = [...document.querySelectorAll("[data-part]")];
  const names = (root) => [...root.querySelectorAll("[data-part]")].map((part) => part.dataset.part).join();
  const anchor = parts.find((part) => part.getBoundingClientRect().bottom > 0);
  const before = anchor ? anchor.getBoundingClientRect().top : 0;
  if (names(document) !== names(fresh)) {
    document.querySelector("main").replaceWith(fresh.querySelector("main"));
    document.querySelector("header").replaceWith(fresh.querySelector("header"));
  } else {
    for (const old of parts) {
      const part = fresh.querySelector(`[data-part="${old.dataset.part}"]`);
      if (old.outerHTML === part.outerHTML) continue;
      const focused = old.contains(document.activeElement) && document.activeElement.getAttribute("aria-labelledby");
      const across = [...old.querySelectorAll(".scroll")].map((wide) => wide.scrollLeft);
      old.replaceWith(part);
      part.querySelectorAll(".scroll").forEach((wide, at) => { wide.scrollLeft = across[at] || 0; });
      if (focused) part.querySelector(`[aria-labelledby="${focused}"]`)?.focus({ preventScroll: true });
    }
  }
  document.title = fresh.title;
  const same = anchor && document.querySelector(`[data-part="${anchor.dataset.part}"]`);
  if (same) window.scrollBy({ top: same.getBoundingClientRect().top - before, behavior: "instant" });
}

async function look() {
  const status = document.querySelector("#live");
  try {
    const answer = await fetch(location.href, { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
    if (answer.status === 200) {
      tag = answer.headers.get("ETag") || "";
      renew(new DOMParser().parseFromString(await answer.text(), "text/html"));
    }
    status.textContent = answer.ok || answer.status === 304
      ? "This page renews itself." : `Not renewed: ${await answer.text()}`;
  } catch {
    status.textContent = "Not renewed: the dashboard does not answer.";
  }
  setTimeout(look, PAUSE);
}
look();
