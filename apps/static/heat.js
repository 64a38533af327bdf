/* Heat maps over a picture, one number a patch. props.value is null, {error} or {model, seen, note,
 * maps: [{title, words, values: rows of numbers}]}; `words` says the map for who can't see it. Each
 * map is stretched over its own range: colours of different maps are not to be compared. */
const find = (selector) => element.querySelector(selector);
// Inferno's way from dark to light (CC0, by Smith and van der Walt for matplotlib), at nine places.
const RAMP = [[0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85], [227, 89, 51], [249, 140, 10], [249, 201, 50], [252, 255, 164]];

function colour(share) {
  const place = Math.min(Math.max(share, 0), 1) * (RAMP.length - 1);
  const low = Math.min(Math.floor(place), RAMP.length - 2), part = place - low;
  return RAMP[low].map((from, i) => Math.round(from + part * (RAMP[low + 1][i] - from)));
}

function draw(canvas, picture, values) {
  const side = 192, context = canvas.getContext("2d");
  canvas.width = canvas.height = side;
  context.filter = "grayscale(1)";
  context.drawImage(picture, 0, 0, side, side);
  context.filter = "none";
  const all = values.flat(), low = Math.min(...all), span = Math.max(...all) - low || 1;
  const high = side / values.length, wide = side / values[0].length;
  values.forEach((row, y) => row.forEach((number, x) => {
    const share = (number - low) / span;
    context.fillStyle = `rgba(${colour(share).join(",")},${0.35 + 0.4 * share})`;
    context.fillRect(x * wide, y * high, wide + 0.5, high + 0.5);
  }));
}

function figure(map, picture) {
  const node = lab.make("figure"), canvas = lab.make("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", map.title + ": " + map.words);
  node.append(canvas, lab.make("figcaption", "", map.title));
  draw(canvas, picture, map.values);
  return node;
}

function show() {
  const value = props.value;
  if (!lab.begin(element, value)) return;
  find(".lab-note").textContent = value.note;
  const picture = new Image();
  picture.onload = () => {
    find(".heat-maps").replaceChildren(...value.maps.map((map) => figure(map, picture)));
  };
  picture.src = value.seen;
}

function numbers() {
  const rows = [["map", "row", "column", "value"]];
  for (const map of props.value.maps) {
    map.values.forEach((line, y) => line.forEach((number, x) => rows.push([map.title, y, x, number])));
  }
  return rows;
}

const legend = find(".heat-scale canvas").getContext("2d");
for (let x = 0; x < 120; x++) {
  legend.fillStyle = `rgb(${colour(x / 119).join(",")})`;
  legend.fillRect(x, 0, 1, 8);
}
lab.exports(find(".lab-body"), "clip-lab-heat", numbers);
watch("value", show);
show();
