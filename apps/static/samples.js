/* A click on a sample tells the server its number. See Gradio's gr.HTML for element and trigger. */
element.addEventListener("click", (event) => {
  const chosen = event.target.closest(".sample");
  if (!chosen) return;
  for (const sample of element.querySelectorAll(".sample")) {
    sample.setAttribute("aria-pressed", String(sample === chosen));
  }
  trigger("click", { index: Number(chosen.dataset.index) });
});
