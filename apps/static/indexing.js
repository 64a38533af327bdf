/* How far the index of a folder has come, and what was left out of it.
 *
 * props.value is null, {error} or {state: "working" | "stopped" | "done", model, text, done, total,
 * left_out: [sentence], left_out_count}.
 */
const find = (selector) => element.querySelector(selector);
const bar = find("progress");
let state = "";

function show() {
  const value = props.value;
  if (!lab.begin(element, value)) return;
  find(".indexing-text").textContent = value.text;
  if (value.state !== state) lab.speak(find(".lab-spoken"), value.text); // not each batch
  state = value.state;
  bar.hidden = value.state === "done";
  if (value.total) {
    bar.max = value.total;
    bar.value = value.done;
  } else bar.removeAttribute("value"); // not known yet
  find(".indexing-stop").hidden = value.state !== "working";
  const out = value.left_out || [], count = value.left_out_count || 0;
  find(".indexing-out").hidden = !count;
  find("summary").textContent = count === 1 ? "1 file was left out" : `${count.toLocaleString("en")} files were left out`;
  const more = count > out.length ? [`… and ${count - out.length} more`] : [];
  find("ul").replaceChildren(...[...out, ...more].map((text) => lab.make("li", "", text)));
}

find(".indexing-stop").addEventListener("click", () => trigger("stop", {}));
watch("value", show);
show();
