/* The true neighbours of what was clicked. props.of is "first" or "second"; props.value is null,
 * {error} or {model, item, collection, pictures: [[row, cosine]], texts, true, beside, facts}; no item: nothing was
 * clicked. */
const find = (selector) => element.querySelector(selector);
let shown = null; // the value that is drawn
const drawn = () => labMap.maps[props.of] || labMap.maps.first;

function named(item) {
  const { whole, value } = drawn();
  if (!item.startsWith("own ")) return whole.names[item];
  return value.mine[Number(item.slice(4))]?.name || "";
}

function thumb(item, size) {
  const { whole, value } = drawn(), own = item.startsWith("own ") && value.mine[Number(item.slice(4))];
  if (!own) return labMap.thumb(value.collection, Number(item), whole.pictures, size);
  const node = lab.make(own.src ? "img" : "span", "map-thumb map-thumb-text", own.src ? undefined : "◆");
  if (own.src) [node.src, node.alt] = [own.src, ""];
  return node;
}

function line([row, cosine]) {
  const node = lab.make("li"), button = lab.make("button");
  button.type = "button";
  button.title = "Go on from here";
  button.append(thumb(String(row), 32), lab.make("span", "", drawn().whole.names[row]),
    lab.make("small", "", lab.signed(cosine, 3)));
  button.onclick = () => labMap.pick(String(row));
  node.append(button);
  return node;
}

function show() {
  const value = props.value;
  labMap.maps[props.of] = { ...labMap.maps[props.of], near: value && !value.error ? value : null };
  labMap.changed("near");
  shown = null;
  find(".map-near").setAttribute("aria-label", "True neighbours " + (value?.model || ""));
  if (lab.begin(element, value)) draw(value);
}

/* Names come with the map, which may be drawn later than its neighbours are known. */
function draw(value) {
  const there = !!value.item && !!drawn()?.whole && drawn().value.collection === value.collection;
  shown = there || !value.item ? value : null;
  find(".map-near-found").hidden = !there;
  find(".map-near-hint").hidden = there;
  if (!there) return;
  const clear = lab.make("button", "map-near-clear", "×");
  clear.type = "button";
  clear.setAttribute("aria-label", "Let go of this point");
  clear.onclick = () => labMap.pick("");
  find(".map-near-item").replaceChildren(thumb(value.item, 64), lab.make("b", "", named(value.item)), clear);
  find(".map-near-pictures").replaceChildren(...value.pictures.map(line));
  find(".map-near-texts").replaceChildren(...value.texts.map(line));
  const told = `Of the ${value.beside} points nearest to it on the map, ${value.true} ${value.true === 1 ? "is" : "are"} ` +
    `among its ${value.beside} nearest in the full space.`;
  find(".map-near-true").textContent = told;
  find(".lab-note").textContent = value.facts;
  lab.speak(find(".lab-spoken"), `${named(value.item)}. ${told}`);
}

function numbers() {
  const { value } = props, { names } = drawn().whole;
  const rows = (kind, found) => found.map(([row, cosine], i) => [named(value.item), kind, i + 1, names[row], cosine]);
  return [["of", "kind", "rank", "neighbour", "cosine"], ...rows("picture", value.pictures), ...rows("text", value.texts)];
}

lab.exports(find(".map-near-found"), "clip-lab-neighbours", numbers);
labMap.listen((key) => {
  if (key === "view" && props.value && !props.value.error && shown !== props.value) draw(props.value);
});
watch("value", show);
show();
