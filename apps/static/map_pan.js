/* A flat map is dragged about without being drawn anew at every step. In the head of every page.
 *
 * Where no graphics card draws, WebGL takes up to a fifth of a second for 10,000 points. So plotly is
 * told of a drag's beginning and end alone. In between, a picture of the map that is larger than what
 * is seen, drawn once on an ordinary canvas, moves with the pointer. Pixels are those of plotly's axes:
 * 0 is the left or the upper edge of the map as plotly drew it.
 *
 * A map that is drawn anew in the middle of a drag forgets the drag: what labPan returns, called, is
 * a promise to wait for before drawing.
 */
window.labPan = (plot) => {
  const LEAST = 8; // plotly's: a shorter way along an axis is none
  const BEYOND = 0.5; // of what is seen, drawn on each side of it as well
  let drag = null; // {from: its first event, way: [x, y], drawn: the way when `layers` were drawn, layers}
  let still = Promise.resolve(), letGo = () => {}; // settled while nobody drags, and what settles it

  const ratio = Math.min(2, window.devicePixelRatio);
  const at = (event) => (event.changedTouches || [event])[0];
  const axes = () => [plot._fullLayout.xaxis, plot._fullLayout.yaxis];
  const beyond = (axis) => Math.round(BEYOND * axis._length);

  /* -- the picture --------------------------------------------------------------------------------- */

  /* A box on the plot that clips a canvas, which follows the pointer "x", "y" or both ways. */
  function layer(along, [left, top, wide, high], [moreX, moreY], paint) {
    const box = lab.make("div", "map-pan"), canvas = lab.make("canvas"), pen = canvas.getContext("2d");
    const size = [wide + 2 * moreX, high + 2 * moreY], { way } = drag;
    const put = (node, ...places) => ["left", "top", "width", "height"].forEach((key, i) => { node.style[key] = places[i] + "px"; });
    put(box, left, top, wide, high);
    put(canvas, -moreX, -moreY, ...size);
    [canvas.width, canvas.height] = size.map((pixels) => pixels * ratio);
    pen.scale(ratio, ratio);
    pen.translate(moreX + (along.includes("x") ? way[0] : 0), moreY + (along.includes("y") ? way[1] : 0));
    paint(pen);
    box.dataset.along = along;
    box.append(canvas);
    return box;
  }

  /* A trace's marker, drawn once to be stamped at each of its points. */
  function stamp({ symbol = "circle", size, color, line }) {
    const canvas = lab.make("canvas"), pen = canvas.getContext("2d"), width = line?.width || 0;
    const diamond = symbol.startsWith("diamond"), open = symbol.endsWith("-open");
    const half = size / 2 * (diamond ? 1.3 : 1), reach = Math.ceil(half + width + 1);
    canvas.width = canvas.height = 2 * reach * ratio;
    pen.scale(ratio, ratio);
    pen.translate(reach, reach);
    pen.beginPath();
    if (diamond) [[0, -half], [half, 0], [0, half], [-half, 0]].forEach((corner) => pen.lineTo(...corner));
    else pen.arc(0, 0, half, 0, 2 * Math.PI);
    pen.closePath();
    [pen.fillStyle, pen.strokeStyle, pen.lineWidth] = [color, open ? color : line?.color, width];
    if (!open) pen.fill();
    if (width) pen.stroke();
    return { canvas, reach };
  }

  /* What lies between two pixels of an axis, as far as the picture reaches. */
  function span(axis, i) {
    const low = -beyond(axis) - drag.way[i];
    return [low, low + axis._length + 2 * beyond(axis)];
  }

  function paintTrace(pen, trace) {
    const [xaxis, yaxis] = axes(), [left, right] = span(xaxis, 0), [top, bottom] = span(yaxis, 1);
    const places = Array.from(trace.x, (x, i) => x === null ? null : [xaxis.l2p(x), yaxis.l2p(trace.y[i])]);
    pen.globalAlpha = trace.opacity ?? 1;
    if (trace.mode === "lines") {
      [pen.strokeStyle, pen.lineWidth] = [trace.line.color, trace.line.width];
      pen.beginPath();
      places.forEach((place, i) => { if (place) pen[places[i - 1] ? "lineTo" : "moveTo"](...place); });
      pen.stroke();
      return;
    }
    const { canvas, reach } = stamp(trace.marker), { textfont: font, text } = trace;
    if (font) [pen.font, pen.fillStyle] = [`${font.size}px ${plot._fullLayout.font.family}`, font.color];
    places.forEach(([x, y], i) => {
      if (x < left || x > right || y < top || y > bottom) return;
      pen.drawImage(canvas, x - reach, y - reach, 2 * reach, 2 * reach);
      if (text) pen.fillText(text[i], x, y);
    });
  }

  /* Where an axis has lines, as far as the picture reaches: [pixel, words]. */
  function ticks(axis, i) {
    const [low, high] = span(axis, i).map((pixel) => axis.p2l(pixel)).sort((a, b) => a - b), found = [];
    for (let k = Math.ceil((low - axis.tick0) / axis.dtick); axis.tick0 + k * axis.dtick <= high; k++) {
      const value = axis.tick0 + k * axis.dtick;
      found.push([axis.l2p(value), String(Number(value.toFixed(9))).replace("-", "−")]);
    }
    return found;
  }

  function paintMap(pen) {
    const [xaxis, yaxis] = axes(), [left, right] = span(xaxis, 0), [top, bottom] = span(yaxis, 1);
    pen.strokeStyle = xaxis.gridcolor;
    pen.beginPath();
    ticks(xaxis, 0).forEach(([x]) => { pen.moveTo(x, top); pen.lineTo(x, bottom); });
    ticks(yaxis, 1).forEach(([y]) => { pen.moveTo(left, y); pen.lineTo(right, y); });
    pen.stroke();
    [pen.textAlign, pen.textBaseline] = ["center", "middle"];
    plot.data.forEach((trace) => paintTrace(pen, trace));
  }

  /* The numbers at an axis, as low or as far right as plotly wrote them. */
  function numbers(axis, i) {
    const written = plot.querySelector(i ? ".ytick text" : ".xtick text");
    if (!written) return [];
    const frame = plot.getBoundingClientRect(), place = written.getBoundingClientRect();
    const top = place.top - frame.top, right = place.right - frame.left, { _offset: offset, _length: length } = axis;
    return [layer(i ? "y" : "x", i ? [0, offset, right, length] : [offset, top, length, place.height],
      i ? [0, beyond(axis)] : [beyond(axis), 0], (pen) => {
        pen.font = getComputedStyle(written).font;
        [pen.fillStyle, pen.textAlign, pen.textBaseline] = [axis.tickfont.color, i ? "right" : "center", "middle"];
        ticks(axis, i).forEach(([pixel, words]) => pen.fillText(words, ...(i ? [right, pixel] : [pixel, place.height / 2])));
      })];
  }

  function draw() {
    const [x, y] = axes();
    clear();
    drag.drawn = drag.way;
    drag.layers = [layer("xy", [x._offset, y._offset, x._length, y._length], [beyond(x), beyond(y)], paintMap),
      ...numbers(x, 0), ...numbers(y, 1)];
    plot.append(...drag.layers);
    plot.classList.add("map-panning");
  }

  const clear = () => plot.querySelectorAll(".map-pan").forEach((one) => one.remove());

  /* -- the drag ------------------------------------------------------------------------------------ */

  function began(event) {
    const pans = plot._fullLayout?.dragmode === "pan" && event.target.classList.contains("nsewdrag");
    const alone = event.touches ? event.touches.length === 1 : event.button === 0 && !event.ctrlKey && !event.shiftKey;
    letGo();
    drag = pans && alone ? { from: at(event), way: [0, 0] } : null;
    if (drag) still = new Promise((resolve) => { letGo = resolve; });
  }

  function moved(event) {
    if (!drag) return;
    const way = ["clientX", "clientY"].map((key) => at(event)[key] - drag.from[key])
      .map((gone) => Math.abs(gone) < LEAST ? 0 : gone);
    if (!drag.layers && !way.some(Boolean)) return; // still a click
    event.stopImmediatePropagation();
    if (event.cancelable) event.preventDefault();
    drag.way = way;
    if (!drag.layers || axes().some((axis, i) => Math.abs(way[i] - drag.drawn[i]) > beyond(axis))) draw();
    const [x, y] = way.map((gone, i) => gone - drag.drawn[i]);
    for (const { dataset, firstChild } of drag.layers) {
      firstChild.style.transform = `translate(${dataset.along === "y" ? 0 : x}px, ${dataset.along === "x" ? 0 : y}px)`;
    }
  }

  /* Before plotly hears that the drag is over, it learns where it led. */
  function ended() {
    const over = drag;
    drag = null;
    setTimeout(letGo); // once plotly has heard of it
    if (!over?.layers) return;
    const tell = ([x, y]) => document.dispatchEvent(new MouseEvent("mousemove", { cancelable: true,
      clientX: over.from.clientX + x, clientY: over.from.clientY + y }));
    if (!over.way.some(Boolean)) tell([LEAST, 0]); // there and back again is no click
    tell(over.way);
    setTimeout(() => { // once plotly has drawn
      clear();
      plot.classList.remove("map-panning");
    });
  }

  for (const [down, move, ...ups] of [["mousedown", "mousemove", "mouseup"], ["touchstart", "touchmove", "touchend", "touchcancel"]]) {
    plot.addEventListener(down, began, true);
    window.addEventListener(move, moved, { capture: true, passive: false });
    ups.forEach((up) => window.addEventListener(up, ended, true));
  }
  return () => still;
};
