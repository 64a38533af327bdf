/* What the panels share. In the head of every page, before any of them.
 *
 * Texts from outside (labels, names of files, captions) go into the page by textContent alone.
 */
window.lab = (() => {
  const make = (tag, name, text) => {
    const node = document.createElement(tag);
    if (name) node.className = name;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  const percent = (p) => p === 1 ? "100 %" : p >= 0.001 ? (100 * p).toFixed(1) + " %" : p > 0 ? "<0.1 %" : "0 %";
  const signed = (x, digits) => x.toFixed(digits).replace("-", "−");
  const decimals = (x) => x >= 0.995 ? x.toFixed(2) : Number(x.toPrecision(3)).toString();

  function softmax(logits) {
    const best = Math.max(...logits); // taken off every logit, so that exp cannot overflow
    const powers = logits.map((logit) => Math.exp(logit - best));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  }

  /* Tell a screen reader, once things have come to rest. */
  let speaking = 0;
  function speak(node, text) {
    clearTimeout(speaking);
    speaking = setTimeout(() => { node.textContent = text; }, 600);
  }

  /* The top of every panel: hidden where there is no value, a sentence where there is an error, the
     model's name where two are compared. Says whether there is something to draw. */
  function begin(element, value) {
    const panel = element.querySelector(".lab-panel");
    panel.hidden = !value;
    if (!value) return false;
    const error = panel.querySelector(".lab-error");
    error.textContent = value.error || "";
    error.hidden = !value.error;
    panel.querySelector(".lab-body").hidden = !!value.error;
    panel.querySelector(".lab-model").textContent = value.model || "";
    return !value.error;
  }

  // -- the address remembers the view -------------------------------------------------------------

  /* The page's tabs: those in sight, and those that Gradio has put into its menu on a narrow screen.
     (Beside them it hides a copy of each, to measure it.) */
  const tabs = () => [...document.querySelectorAll(".tab-wrapper > :not([aria-hidden]) button:not([aria-label])")];
  const tab = (name) => tabs().find((one) => one.textContent.trim() === name);

  const LONGEST = 1500; // of one value; a list of thousands of labels doesn't fit into a link
  let restored = false;

  function remember(names, first, now) {
    if (!restored) return; // what the page does while it opens is not the user's choice
    const address = new URL(location.href);
    names.forEach((name, i) => {
      const value = now[i] === null || typeof now[i] === "object" ? null : String(now[i]);
      if (value === null || value === String(first[i]) || value.length > LONGEST) {
        address.searchParams.delete(name);
      } else {
        address.searchParams.set(name, value);
      }
    });
    history.replaceState(null, "", address);
  }

  function restore(names, now) {
    const given = new URLSearchParams(location.search);
    restored = true;
    tab(given.get("tab"))?.click();
    return names.map((name, i) => {
      if (!given.has(name)) return now[i];
      const value = given.get(name);
      return typeof now[i] === "number" ? Number(value) : typeof now[i] === "boolean" ? value === "true" : value;
    });
  }

  document.addEventListener("click", (event) => {
    const chosen = tabs().find((one) => one.contains(event.target));
    if (!chosen || !restored) return;
    const address = new URL(location.href);
    address.searchParams.set("tab", chosen.textContent.trim());
    history.replaceState(null, "", address);
  });

  /* Of a grid of samples, mark those with these numbers. */
  function press(grid, numbers) {
    document.querySelectorAll(grid + " .sample").forEach((one, i) => {
      one.setAttribute("aria-pressed", String([numbers].flat().includes(i)));
    });
  }

  const list = (text) => text.split(",").filter(Boolean).map(Number);

  // -- the page's header ---------------------------------------------------------------------------

  function header(element) {
    element.querySelector(".lab-theme").addEventListener("click", () => {
      document.body.classList.toggle("dark");
      document.dispatchEvent(new Event("lab-theme"));
    });
    const copy = element.querySelector(".lab-copy");
    copy.addEventListener("click", async () => {
      if (navigator.clipboard) await navigator.clipboard.writeText(location.href);
      else window.prompt("This page's address:", location.href); // over plain http there is none
      copy.textContent = navigator.clipboard ? "Copied" : "Copy link";
      setTimeout(() => { copy.textContent = "Copy link"; }, 2000);
    });
  }

  // -- results as files ----------------------------------------------------------------------------

  function download(name, content, type) {
    const link = make("a");
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  /* Rows of texts and numbers as RFC 4180 has it, with a mark by which Excel knows it as UTF-8. A
     cell that a spreadsheet would run as a formula gets an apostrophe before it. */
  function csv(name, rows) {
    const cell = (value) => {
      let text = String(value ?? "");
      if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = "'" + text;
      return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
    };
    const lines = rows.map((row) => row.map(cell).join(","));
    download(name + ".csv", "\ufeff" + lines.join("\r\n") + "\r\n", "text/csv");
  }

  /* Two buttons under a result: its numbers, and its picture as the page draws it. `rows` gives the
     numbers when asked. */
  function exports(node, name, rows) {
    const line = make("p", "lab-exports");
    const numbers = make("button", "", "Numbers (CSV)"), picture = make("button", "", "Picture (PNG)");
    numbers.type = picture.type = "button";
    numbers.addEventListener("click", () => csv(name, rows()));
    picture.addEventListener("click", async () => {
      const background = getComputedStyle(document.body).getPropertyValue("--background-fill-primary");
      const options = { pixelRatio: 2, backgroundColor: background, skipFonts: true,
        filter: (one) => !one.classList?.contains("lab-exports") };
      const url = await htmlToImage.toPng(node, options);
      const link = make("a");
      link.href = url;
      link.download = name + ".png";
      link.click();
    });
    line.append(numbers, picture);
    node.append(line);
  }

  return { make, percent, signed, decimals, softmax, speak, begin, remember, restore, tabs, tab, press, list, header, csv, exports };
})();
