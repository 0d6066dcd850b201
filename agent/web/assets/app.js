/* Keeps the page fresh. The stream says when something changed, or nothing was heard for a while:
 * then the page is fetched again and what differs is put in its place. Without this script the page
 * is complete, but stands still. */
"use strict";
(() => {
  const QUIET_MS = 10000; // without news for so long: ask
  const ANSWER_MS = 5000; // an agent that takes longer does not answer
  const REOPEN_MS = 15000; // after the stream was refused
  const $ = (id) => document.getElementById(id);
  let stream = null;
  let opened = 0;
  let fetching = false;
  let again = false;
  let heard = performance.now(); // the last answer
  let asked = heard;
  let lost = false;

  /* ---- times ---- */

  // The same words as html_time of the server.
  function ago(seconds) {
    let size = Math.abs(seconds), unit = "s";
    if (size >= 172800) { size = Math.floor(size / 86400); unit = "days"; }
    else if (size >= 3600) { size = Math.floor(size / 3600); unit = "h"; }
    else if (size >= 60) { size = Math.floor(size / 60); unit = "min"; }
    if (seconds === 0) return "now";
    return seconds < 0 ? `in ${size} ${unit}` : `${size} ${unit} ago`;
  }

  function tell(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  // The agent's clock counts, not the browser's.
  function tick() {
    const age = $("age");
    const passed = Math.floor((performance.now() - heard) / 1000);
    const now = age ? Number(age.dataset.now) + passed : 0;
    if (!age) return;
    for (const time of document.querySelectorAll("#page time, #age time"))
      tell(time, ago(now - Math.floor(Date.parse(time.dateTime) / 1000)));
    age.className = lost ? "age stale" : "age live";
    tell(age, lost ? `${passed} s old` : passed < 3 ? "live" : `live, ${passed} s ago`);
  }

  function setLost(reason) {
    const note = $("lost");
    lost = reason !== "";
    if (!note) return;
    note.hidden = !lost;
    tell(note, lost ? `${reason} What stands here is old.` : "");
  }

  /* ---- the page as it is becomes the page as it should be ---- */

  function copyAttributes(have, want) {
    for (const { name } of [...have.attributes])
      if (!want.hasAttribute(name)) have.removeAttribute(name);
    for (const { name, value } of want.attributes)
      if (have.getAttribute(name) !== value) have.setAttribute(name, value);
  }

  // What changed in a row or an entry glows once; numbers that always move do not.
  function glow(node) {
    const element = node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
    if (element && !element.closest("time, [data-calm]"))
      element.closest("[data-key]")?.classList.add("changed");
  }

  function morph(have, want) {
    if (have.nodeType !== want.nodeType || have.nodeName !== want.nodeName) {
      const fresh = document.importNode(want, true);
      have.replaceWith(fresh);
      glow(fresh);
    } else if (have.nodeType === Node.TEXT_NODE) {
      if (have.data === want.data) return;
      have.data = want.data;
      glow(have);
    } else if (have.nodeType === Node.ELEMENT_NODE) {
      copyAttributes(have, want);
      morphChildren(have, want);
    }
  }

  function morphChildren(have, want) {
    const keyed = new Map();
    for (const child of have.children)
      if (child.dataset.key) keyed.set(child.dataset.key, child);
    let at = have.firstChild;
    for (const wanted of [...want.childNodes]) {
      const key = wanted.dataset?.key;
      const known = key ? keyed.get(key) : at && !at.dataset?.key ? at : null;
      if (!known) {
        const fresh = document.importNode(wanted, true);
        have.insertBefore(fresh, at);
        glow(fresh);
        continue;
      }
      if (known === at) at = at.nextSibling;
      else have.insertBefore(known, at);
      keyed.delete(key);
      morph(known, wanted);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  function show(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    const main = fresh.getElementById("page");
    if (!main) throw new Error("this is not the page");
    document.title = fresh.title;
    for (const id of ["age", "page"]) {
      const have = $(id), want = fresh.getElementById(id);
      if (have && want) {
        copyAttributes(have, want);
        if (id === "page") morphChildren(have, want);
      } else if (want) {
        location.reload(); // the node entered a flock: another page
      }
    }
  }

  async function refresh() {
    if (fetching) { again = true; return; }
    fetching = true;
    asked = performance.now();
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), ANSWER_MS);
    try {
      const answer = await fetch("/", { cache: "no-store", signal: abort.signal });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      show(await answer.text());
      heard = performance.now();
      setLost("");
    } catch (error) {
      setLost(`The agent does not answer (${error.name === "AbortError" ? "timeout" : "no connection"}).`);
    }
    clearTimeout(timer);
    fetching = false;
    tick();
    if (again) { again = false; refresh(); }
  }

  /* ---- the stream: closed while nobody looks, for a browser has few connections to give ---- */

  function close() {
    stream?.close();
    stream = null;
  }

  function open() {
    close();
    opened = performance.now();
    stream = new EventSource("/v1/stream");
    stream.addEventListener("status", refresh);
  }

  function watch() {
    const now = performance.now();
    if (document.hidden) return;
    if (!stream || (stream.readyState === EventSource.CLOSED && now - opened > REOPEN_MS)) open();
    if (!fetching && now - Math.max(heard, asked) > (lost ? ANSWER_MS / 2 : QUIET_MS)) refresh();
    tick();
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else { refresh(); watch(); }
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted) refresh(); });
  document.addEventListener("animationend", (event) => event.target.classList?.remove("changed"));
  setInterval(watch, 1000);
  watch();
})();
