// Draws each figure with the chart that fits, in the reader's colours; until then the page shows a still picture.
(() => {
  "use strict";
  const { themes, figures } = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const places = Array.from(document.querySelectorAll(".chart"));
  const drawn = places.map(() => null);

  async function draw(index) {
    const place = places[index];
    const charts = figures[index];
    const chart = charts.find((c) => c.width <= place.clientWidth) ?? charts[charts.length - 1];
    const wanted = `${chart.width} ${dark.matches}`;
    if (drawn[index]?.wanted === wanted) return;
    const before = drawn[index]?.view;
    drawn[index] = { wanted };
    const host = document.createElement("div");
    const result = await vegaEmbed(host, chart.spec, {
      mode: "vega-lite",
      actions: false,
      ast: true, // no code from text: the page's policy forbids it
      config: dark.matches ? themes.dark : themes.light,
      defaultStyle: false,
      renderer: "svg",
      tooltip: { disableDefaultStyle: true },
    });
    if (drawn[index].wanted !== wanted) return result.finalize();
    drawn[index].view = result;
    before?.finalize();
    place.replaceChildren(host);
  }

  function all() {
    places.forEach((_, index) => draw(index));
  }
  all();
  dark.addEventListener("change", all);
  addEventListener("resize", all);
})();
