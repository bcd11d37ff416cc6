// Draws the figures of the page. Everything comes from the page itself; nothing is fetched.
"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const narrow = window.matchMedia("(max-width: 640px)");
  const options = {
    actions: false,
    // Interpret expressions instead of compiling them, so that the page needs no unsafe-eval.
    ast: true,
    config: content.config,
    defaultStyle: false,
    renderer: "svg",
    tooltip: { disableDefaultStyle: true },
  };

  async function draw(figure) {
    const element = document.getElementById(figure.id);
    const spec = (narrow.matches && figure.narrow) || figure.wide;
    const datasets = { ...spec.datasets, ...content.data };
    try {
      const view = await vegaEmbed(element, { ...spec, datasets }, options);
      element.setAttribute("data-drawn", "");
      return view;
    } catch (error) {
      console.error(error);
      element.textContent = `This figure could not be drawn: ${error.message}`;
      return null;
    }
  }

  async function drawAll() {
    const views = [];
    for (const figure of content.figures) views.push(await draw(figure));
    return views;
  }

  let drawn = drawAll();
  narrow.addEventListener("change", () => {
    drawn = drawn.then((views) => {
      for (const view of views) view?.finalize();
      return drawAll();
    });
  });
})();
