/* A click on a sample tells its number: to the server, and to what runs in the page. See Gradio's
 * gr.HTML for element and trigger. */
element.addEventListener("click", (event) => {
  const chosen = event.target.closest(".sample");
  if (!chosen) return;
  lab.sample = Number(chosen.dataset.index);
  trigger("click", { index: lab.sample });
});
