/* The query's parts: words, pictures and results, each added or subtracted, with a weight.
 *
 * props.value is {query, tries: [query, …]}; a query is words, or the list that apps/query_parts.py
 * describes as JSON. What the user makes of it goes back by the event "input" {query}.
 */
const find = (selector) => element.querySelector(selector);
const { make } = lab;
const thumbs = new Map(); // of results that were clicked: they are on the page already
let parts = [], sent = null;

function read(query) {
  try {
    if (query.trim().startsWith("[")) return JSON.parse(query).map((part) => ({ weight: 1, ...part }));
  } catch { /* what isn't a list is words; the server says what is wrong with it */ }
  return [{ words: query, weight: 1 }];
}

/* As text: plain words where that is all there is, so that a link stays readable. */
function write() {
  const kept = parts.filter((part) => part.picture || part.row || (part.words || "").trim());
  if (kept.length === 1 && kept[0].words && kept[0].weight === 1 && !kept[0].words.startsWith("[")) return kept[0].words;
  return JSON.stringify(kept.map(({ weight, ...part }) => weight === 1 ? part : { ...part, weight }));
}

function send() {
  if (write() === sent) return;
  sent = write();
  trigger("input", { query: sent });
}

const title = (part) => part.row || part.picture ? part.name || part.row || "your picture" : part.words || "these words";

function picture(part) {
  const key = part.of + "\n" + part.row;
  const shown = [...document.querySelectorAll(".search-card")].find((card) => card.dataset.key === key);
  if (shown) thumbs.set(key, shown.querySelector("img").src);
  return part.picture?.startsWith("data:image/") ? part.picture : thumbs.get(key);
}

function content(part) {
  if (!part.row && !part.picture) {
    const words = make("input", "terms-words");
    words.type = "text";
    words.value = part.words || "";
    words.maxLength = 300;
    words.placeholder = "in your own words";
    words.setAttribute("aria-label", "Words to look for");
    words.addEventListener("input", () => { part.words = words.value; });
    words.addEventListener("change", send);
    words.addEventListener("keydown", (event) => { if (event.key === "Enter") send(); });
    return words;
  }
  const node = make("span", "terms-row"), src = picture(part);
  if (src) {
    const image = make("img");
    image.src = src;
    image.alt = "";
    node.append(image);
  }
  node.append(make("span", "", title(part)));
  return node;
}

function signButton(part, weight) {
  const button = make("button", "terms-sign");
  button.type = "button";
  const say = () => {
    button.textContent = part.weight < 0 ? "−" : "+";
    button.setAttribute("aria-label", `${title(part)}: ${part.weight < 0 ? "subtracted" : "added"}. Change the sign`);
    button.dataset.sign = part.weight < 0 ? "minus" : "plus";
  };
  button.addEventListener("click", () => {
    part.weight = -part.weight;
    say();
    send();
  });
  say();
  weight.addEventListener("change", () => {
    const size = Math.min(10, Math.max(0.05, Number(weight.value) || 1));
    weight.value = size;
    part.weight = part.weight < 0 ? -size : size;
    send();
  });
  return button;
}

function line(part) {
  const node = make("li"), weight = make("input", "terms-weight"), remove = make("button", "terms-remove", "×");
  Object.assign(weight, { type: "number", min: "0.05", max: "10", step: "0.05", value: Math.abs(part.weight), title: "How much it counts" });
  weight.setAttribute("aria-label", `Weight of ${title(part)}`);
  remove.type = "button";
  remove.setAttribute("aria-label", `Remove ${title(part)}`);
  remove.addEventListener("click", () => {
    parts = parts.filter((one) => one !== part);
    if (!parts.length) parts = [{ words: "", weight: 1 }];
    draw();
    send();
    find(".terms-words, .terms-sign").focus();
  });
  node.append(signButton(part, weight), content(part), weight, remove);
  return node;
}

const draw = () => find(".terms-parts").replaceChildren(...parts.map(line));

function show() {
  const value = props.value;
  if (!lab.begin(element, value)) return;
  find(".terms-tries").replaceChildren(make("span", "", "Try"), ...value.tries.map((query) => {
    const button = make("button", "", read(query).map((part, i) =>
      (part.weight < 0 ? " − " : i ? " + " : "") + title(part)).join(""));
    button.type = "button";
    button.addEventListener("click", () => {
      parts = read(query);
      draw();
      send();
    });
    return button;
  }));
  if (value.query === sent) return; // what is being typed stays as it is
  sent = value.query;
  parts = read(value.query);
  draw();
}

find(".terms-add").addEventListener("click", () => {
  parts.push({ words: "", weight: 1 });
  draw();
  [...element.querySelectorAll(".terms-words")].at(-1).focus();
});
find(".terms-clear").addEventListener("click", () => {
  parts = [{ words: "", weight: 1 }];
  sent = null;
  draw();
  find(".terms-words").focus();
});
find(".terms-go").addEventListener("click", () => { sent = null; send(); });
watch("value", show);
show();
