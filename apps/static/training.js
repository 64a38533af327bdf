/* A training, replayed or live: curves, and at each moment the matrix and the map of the same pairs.
 *
 * props.value is null, {error} or {title, note, total, batch, losses: [[step, loss]], moments: [{step,
 * scale, accuracy, matrix, pictures, texts}]}. A live one grows: the slider stays at its end unless
 * the user has moved it.
 */
const find = (selector) => element.querySelector(selector);
const { make, percent } = lab;
const slider = find("input"), play = find(".training-play");
const CHANCE = 1 / 44;
let timer = null, following = true;

const ink = (name) => getComputedStyle(element).getPropertyValue(name).trim();
const svg = (tag, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
};

/* One curve: points [step, value], from 0 or the lowest value up, with a line at what chance gives. */
function curve(name, points, at, total, options) {
  const width = 260, height = 110, left = 6, right = 6, top = 18, bottom = 16;
  const values = points.map((point) => point[1]).concat(options.chance ?? []);
  const low = Math.min(options.low ?? Infinity, ...values), high = Math.max(...values, low + 1e-9);
  const x = (step) => left + (width - left - right) * step / Math.max(total, 1);
  const y = (value) => height - bottom - (height - top - bottom) * (value - low) / (high - low);
  const figure = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  const here = points.filter((point) => point[0] <= at).pop();
  const told = here ? options.write(here[1]) : "";
  figure.setAttribute("aria-label", `${name} at step ${at}: ${told}`);
  if (options.chance !== undefined) {
    figure.append(svg("line", { x1: left, x2: width - right, y1: y(options.chance), y2: y(options.chance), class: "training-chance" }));
  }
  figure.append(svg("polyline", { points: points.map(([s, v]) => `${x(s)},${y(v)}`).join(" "), class: "training-line" }));
  figure.append(svg("line", { x1: x(at), x2: x(at), y1: top, y2: height - bottom, class: "training-now" }));
  const title = svg("text", { x: left, y: 12 });
  title.textContent = `${name}: ${told}`;
  const end = svg("text", { x: width - right, y: height - 3, "text-anchor": "end", class: "training-faint" });
  end.textContent = `${total.toLocaleString("en")} steps`;
  figure.append(title, end);
  return figure;
}

function drawMatrix(canvas, matrix) {
  const context = canvas.getContext("2d"), side = canvas.width / matrix.length;
  context.clearRect(0, 0, canvas.width, canvas.height);
  matrix.forEach((row, i) => row.forEach((cosine, j) => {
    context.globalAlpha = Math.min(1, Math.abs(cosine));
    context.fillStyle = ink(cosine < 0 ? "--lab-share" : "--lab-cosine");
    context.fillRect(j * side + 1, i * side + 1, side - 2, side - 2);
    context.globalAlpha = 1;
    context.strokeStyle = ink("--body-text-color");
    if (i === j) context.strokeRect(j * side + 2, i * side + 2, side - 4, side - 4);
  }));
  const mean = (cells) => cells.reduce((a, b) => a + b, 0) / cells.length;
  const own = matrix.map((row, i) => row[i]), others = matrix.flatMap((row, i) => row.filter((_, j) => j !== i));
  canvas.setAttribute("aria-label", `Cosines: matching pairs ${mean(own).toFixed(2)} in the mean, others ${mean(others).toFixed(2)}`);
}

function drawMap(canvas, pictures, texts) {
  const context = canvas.getContext("2d"), size = canvas.width;
  const reach = 1.1 * Math.max(...[...pictures, ...texts].flat().map(Math.abs));
  const place = ([x, y]) => [size / 2 * (1 + x / reach), size / 2 * (1 - y / reach)];
  context.clearRect(0, 0, size, size);
  context.strokeStyle = ink("--border-color-primary");
  pictures.forEach((point, i) => {
    context.beginPath();
    context.moveTo(...place(point));
    context.lineTo(...place(texts[i]));
    context.stroke();
  });
  for (const [points, colour, turned] of [[pictures, "--lab-cosine", false], [texts, "--lab-share", true]]) {
    context.fillStyle = ink(colour);
    for (const point of points) {
      const [x, y] = place(point);
      context.beginPath();
      if (turned) [[0, -5], [5, 0], [0, 5], [-5, 0]].forEach(([dx, dy]) => context.lineTo(x + dx, y + dy));
      else context.arc(x, y, 4, 0, 7);
      context.fill();
    }
  }
  const mean = (points, axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
  const gap = Math.hypot(mean(pictures, 0) - mean(texts, 0), mean(pictures, 1) - mean(texts, 1));
  canvas.setAttribute("aria-label", `Map: the centres of pictures and captions are ${gap.toFixed(2)} apart`);
}

function redraw() {
  const value = props.value, now = value.moments[slider.value];
  const series = (name) => value.moments.map((one) => [one.step, one[name]]);
  const curves = [];
  if (value.losses.length) {
    curves.push(curve("loss", value.losses, now.step, value.total, { low: 0, chance: Math.log(value.batch), write: (x) => x.toFixed(3) }));
  }
  curves.push(
    curve("logit scale 1/τ", series("scale"), now.step, value.total, { write: (x) => x.toFixed(1) }),
    curve("unseen combinations named", series("accuracy"), now.step, value.total, { low: 0, chance: CHANCE, write: percent }));
  find(".training-curves").replaceChildren(...curves);
  find("output").textContent = `step ${now.step.toLocaleString("en")} of ${value.total.toLocaleString("en")}`;
  slider.setAttribute("aria-valuetext", find("output").textContent);
  drawMatrix(find(".training-matrix"), now.matrix);
  drawMap(find(".training-map"), now.pictures, now.texts);
  lab.speak(find(".lab-spoken"), curves.map((one) => one.getAttribute("aria-label")).join("; "));
}

function pause() {
  clearInterval(timer);
  timer = null;
  play.textContent = "▶";
  play.setAttribute("aria-label", "Play");
}

play.addEventListener("click", () => {
  if (timer) return pause();
  if (Number(slider.value) >= Number(slider.max)) slider.value = 0;
  play.textContent = "❚❚";
  play.setAttribute("aria-label", "Pause");
  timer = setInterval(() => {
    slider.value = Number(slider.value) + 1;
    redraw();
    if (Number(slider.value) >= Number(slider.max)) pause();
  }, 700);
});
slider.addEventListener("input", () => {
  following = slider.value === slider.max;
  redraw();
});

function show() {
  const value = props.value;
  if (!lab.begin(element, value)) return pause();
  find(".lab-model").textContent = value.title;
  find(".lab-note").textContent = value.note;
  slider.max = value.moments.length - 1;
  if (following) slider.value = slider.max;
  redraw();
}

function numbers() {
  const losses = new Map(props.value.losses);
  return [["step", "loss", "scale", "accuracy"],
    ...props.value.moments.map((one) => [one.step, losses.get(one.step), one.scale, one.accuracy])];
}

document.addEventListener("lab-theme", () => { if (props.value?.moments) redraw(); });
lab.exports(find(".lab-body"), "clip-lab-training", numbers);
watch("value", show);
show();
