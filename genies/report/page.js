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

  // For screen readers a figure is one image with its description, which Vega would replace by its own. A list to choose
  // from beside the image stays a list, and Vega's marks, which have no names, are left out.
  function describe(element, description) {
    const image = element.querySelector("svg");
    image.setAttribute("role", "img");
    image.setAttribute("aria-label", description);
    for (const part of image.children) part.setAttribute("aria-hidden", "true");
    for (const name of ["role", "aria-label", "aria-roledescription"]) element.removeAttribute(name);
  }

  async function draw(figure) {
    const element = document.getElementById(figure.id);
    const spec = (narrow.matches && figure.narrow) || figure.wide;
    const datasets = { ...spec.datasets, ...content.data };
    element.dataset.description ??= element.getAttribute("aria-label");
    try {
      const view = await vegaEmbed(element, { ...spec, datasets }, options);
      describe(element, element.dataset.description);
      element.setAttribute("data-drawn", "");
      return view;
    } catch (error) {
      console.error(error);
      element.textContent = `This figure could not be drawn: ${error.message}`;
      return null;
    }
  }

  // Between two figures the page answers what was pressed meanwhile. Safari does not tell when nothing waits.
  const later = window.requestIdleCallback ?? ((done) => setTimeout(done));
  const pause = () => new Promise((done) => later(done, { timeout: 200 }));

  async function drawAll() {
    const views = [];
    for (const figure of content.figures) {
      await pause();
      views.push(await draw(figure));
    }
    return views;
  }

  let drawn = drawAll();
  // What is folded away has no width until it is opened; figures follow the window's.
  for (const folded of document.querySelectorAll("details")) {
    if (folded.querySelector(".figure")) folded.addEventListener("toggle", () => window.dispatchEvent(new Event("resize")));
  }
  narrow.addEventListener("change", () => {
    drawn = drawn.then(async (views) => {
      for (const view of views) view?.finalize();
      const again = await drawAll();
      for (const choice of choices) showModel(again, choice);
      return again;
    });
  });

  // Figures that show one model at a time.

  const choices = document.querySelectorAll("select.of-model");

  function showModel(views, choice) {
    const own = new Set(choice.dataset.figures.split(" "));
    content.figures.forEach(({ id }, index) => {
      if (own.has(id)) views[index]?.view.signal("model", Number(choice.value)).runAsync();
    });
  }

  for (const choice of choices) {
    choice.addEventListener("change", async () => showModel(await drawn, choice));
  }

  // Tables: a press on a heading sorts, and each table can be taken along as CSV, with full numbers.

  const collator = new Intl.Collator(undefined, { numeric: true });

  function shown(cell) {
    // The interval below a value plays no part in sorting.
    const own = [...cell.childNodes].filter((node) => node.nodeName !== "SMALL");
    return own.map((node) => node.textContent).join("").trim();
  }

  function compare(a, b) {
    const [x, y] = [a, b].map((text) => Number.parseFloat(text.replace("\u2212", "-")));
    if (Number.isNaN(x) || Number.isNaN(y)) {
      if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
      return collator.compare(a, b);
    }
    return x - y;
  }

  function sortBy(table, column, heading) {
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => (down ? -1 : 1) * compare(shown(a.cells[column]), shown(b.cells[column])));
    table.tBodies[0].append(...rows);
  }

  function asCsv(table) {
    // An apostrophe keeps spreadsheets from taking a name for a formula.
    const plain = (text) => text.replace(/\p{Cc}/gu, "\ufffd").replace(/^[=+\-@]/, "'$&");
    const quoted = (value) =>
      typeof value === "string" ? `"${plain(value).replaceAll('"', '""')}"` : String(value ?? "");
    const own = (cell) => [shown(cell) === "\u2013" ? null : shown(cell)];
    const values = ({ dataset }) => dataset.columns?.split(" ") ?? (dataset.values && JSON.parse(dataset.values));
    const line = (row) => [...row.cells].flatMap((cell) => values(cell) ?? own(cell)).map(quoted).join(",");
    return [...table.rows].map(line).join("\r\n");
  }

  function download(table) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([asCsv(table)], { type: "text/csv" }));
    link.download = `${table.dataset.name}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  for (const table of document.querySelectorAll("table[data-name]")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sortBy(table, column, heading));
      heading.append(button);
    });
    const button = document.createElement("button");
    button.type = "button";
    button.className = "download";
    button.textContent = "Download as CSV";
    button.addEventListener("click", () => download(table));
    table.parentElement.after(button);
  }

  // Samples: texts of data are set as text, never as HTML.

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function verdictTable(columns, verdicts) {
    const table = element("table", undefined, "verdicts");
    const models = new Set(columns.map(([model]) => model)).size > 1;
    const sources = new Set(columns.map(([, , source]) => source)).size > 1;
    columns.forEach(([model, intervention, source], index) => {
      const value = verdicts[index];
      if (value === null) return;
      const row = table.insertRow();
      const name = [intervention, models ? model : "", sources ? `from ${source}` : ""].filter(Boolean).join(", ");
      row.append(element("th", name));
      const verdict = value > 0.5 ? "right" : value < 0.5 ? "wrong" : "tie";
      const sign = { right: "\u2713", wrong: "\u2717", tie: "=" }[verdict];
      row.append(element("td", `${sign} ${value.toFixed(2)}`, verdict));
    });
    return table;
  }

  const CARDS = 60; // of all distributions together no more are shown at once

  // The prompt as it is written, or in each of the ways in which models saw it.

  function prompts({ prompt, seen }) {
    if (!seen || document.getElementById("sample-prompts").value === "written") {
      return [["Prompt", element("pre", prompt || "(empty)")]];
    }
    return seen.map((way) => {
      const text = element("pre");
      const template = (part) => element("span", part, "template");
      text.append(template(way.before), way.prompt ?? prompt, template(way.after));
      const dropped = `The first ${way.dropped} characters were dropped: they did not fit into the model's context.`;
      const name = seen.length > 1 ? `Prompt, as seen by ${way.models.join(", ")}` : "Prompt";
      return [name, ...(way.dropped ? [element("p", dropped, "soft")] : []), text];
    });
  }

  function card(name, sample, columns) {
    const article = element("article", undefined, "sample");
    const title = `${name}: example ${sample.example}, pair ${sample.pair}`;
    article.append(element("h3", sample.disputed ? `${title}: disputed` : title));
    for (const [name, ...parts] of prompts(sample)) article.append(element("h4", name), ...parts);
    for (const [name, text] of [["Better", sample.best], ["Worse", sample.worse]]) {
      article.append(element("h4", name), element("pre", text || "(empty)"));
    }
    const details = element("details");
    const right = sample.verdicts.filter((value) => value !== null && value > 0.5).length;
    const all = sample.verdicts.filter((value) => value !== null).length;
    details.append(element("summary", `${right} of ${all} verdicts are right`), verdictTable(columns, sample.verdicts));
    details.open = sample.disputed;
    article.append(details);
    return article;
  }

  // Which pairs the filters ask for: some model, fitted on some source, whose methods all have the verdicts asked for.

  function asked() {
    const verdicts = [...document.querySelectorAll(".sample-verdict")];
    const methods = [...document.querySelectorAll(".sample-method")];
    return {
      wanted: methods.map((method, n) => [method.value, verdicts[n].value]).filter(([name, verdict]) => name || verdict),
      source: document.getElementById("sample-source").value,
      confidence: Number(document.getElementById("sample-confidence").value) || 0.5,
    };
  }

  function suits(columns, verdicts, { wanted, source, confidence }) {
    const fits = new Map();
    columns.forEach(([model, intervention, from], index) => {
      if (verdicts[index] === null || (source && from !== source)) return;
      const key = JSON.stringify([model, from]);
      if (!fits.has(key)) fits.set(key, []);
      fits.get(key).push([intervention, verdicts[index]]);
    });
    const holds = ([method, verdict], first) => ([intervention, value]) =>
      (!method || intervention === method) &&
      (!verdict || (verdict === "right" ? value > 0.5 : value < 0.5)) &&
      (!first || Math.max(value, 1 - value) >= confidence);
    // Without a method, the confidence is that of any.
    const conditions = wanted.length ? wanted : [["", ""]];
    return [...fits.values()].some((own) => conditions.every((one, n) => own.some(holds(one, n === 0))));
  }

  const target = document.getElementById("sample-target");
  if (target) {
    const search = document.getElementById("sample-search");
    const list = document.getElementById("sample-list");
    const show = () => {
      const names = target.value ? [target.value] : Object.keys(content.samples);
      const all = names.flatMap((name) => content.samples[name].pairs.map((pair) => [name, pair]));
      const words = search.value.toLowerCase();
      const filters = asked();
      const found = all.filter(
        ([name, pair]) =>
          [pair.prompt, pair.best, pair.worse].some((text) => text.toLowerCase().includes(words)) &&
          suits(content.samples[name].columns, pair.verdicts, filters),
      );
      const first = found.slice(0, target.value ? undefined : CARDS);
      list.replaceChildren(...first.map(([name, pair]) => card(name, pair, content.samples[name].columns)));
      const shown = first.length < found.length ? `, the first ${first.length} shown` : "";
      document.getElementById("sample-count").value = `${found.length} of ${all.length} pairs${shown}`;
    };
    const controls = document.getElementById("sample-controls");
    controls.addEventListener("change", show);
    controls.addEventListener("input", show);
    controls.addEventListener("submit", (event) => event.preventDefault());
    show();
  }
})();
