/*
 * Claims against the number of seeds: draws what claims-by-seeds.js holds and decides nothing.
 */
"use strict";

(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const SIGNS = { supported: "✓", contradicted: "✗", tied: "≈" }; // others are open
  const LINEAR = 0.7; // width of the linear part, of one decade beyond it

  function create(name, attributes = {}, children = []) {
    const isSvg = ["svg", "line", "rect", "circle", "text"].includes(name);
    const element = isSvg ? document.createElementNS(SVG, name) : document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    element.append(...children);
    return element;
  }

  const slug = (verdict) => verdict.replace(/[^a-z]+/g, "-");

  function verdictWord(verdict, text = verdict) {
    const sign = SIGNS[verdict] ?? "○";
    const word = create("span", { class: `cs-verdict cs-${slug(verdict)}` });
    word.append(create("span", { "aria-hidden": "true" }, [`${sign} `]), text);
    return word;
  }

  /* Linear within one margin of 0, logarithmic beyond, as the figures of the chapters. */
  function bend(value) {
    const size = Math.abs(value);
    return Math.sign(value) * (size <= 1 ? LINEAR * size : LINEAR + Math.log10(size));
  }

  function makeAxis(claims) {
    const reached = claims.flatMap(({ steps, margin }) =>
      steps
        .filter((_, i) => i > 1 || steps.length < 3) // two seeds reach far beyond the others
        .flatMap(({ mean, low, high }) => [mean, low, high].map((value) => Math.abs(value ?? 0) / margin)),
    );
    const end = 1.3 * Math.max(1.5, ...reached);
    const position = (value) => 50 * (1 + Math.max(-1, Math.min(1, bend(value) / bend(end))));
    return { end, position };
  }

  function drawFrame(axis) {
    const [low, high] = [axis.position(-1), axis.position(1)];
    return [
      create("rect", { class: "cs-margin", x: `${low}%`, width: `${high - low}%`, y: 0, height: "100%" }),
      create("line", { class: "cs-zero", x1: "50%", x2: "50%", y1: 0, y2: "100%" }),
    ];
  }

  function drawTicks(axis) {
    const svg = create("svg", { class: "cs-ticks", "aria-hidden": "true" }, drawFrame(axis));
    for (const value of [-100, -10, -1, 0, 1, 10, 100]) {
      if (Math.abs(value) > axis.end) continue;
      const label = create("text", { x: `${axis.position(value)}%`, y: 14 });
      label.textContent = String(value).replace("-", "−");
      svg.append(label);
    }
    return svg;
  }

  function drawInterval(svg, { verdict, mean, low, high }, margin, axis) {
    svg.replaceChildren(...drawFrame(axis));
    svg.setAttribute("class", `cs-interval cs-${slug(verdict)}`);
    if (mean === undefined || mean === null) return;
    const place = (value) => `${axis.position(value / margin)}%`;
    if (low !== null && high !== null) {
      svg.append(create("line", { class: "cs-range", x1: place(low), x2: place(high), y1: 12, y2: 12 }));
    }
    svg.append(create("circle", { class: "cs-mean", cx: place(mean), cy: 12, r: 5 }));
    for (const [value, x, sign, anchor] of [[low, 0, "◂", "start"], [high, 100, "▸", "end"]]) {
      if (value === null || Math.abs(value / margin) <= axis.end) continue;
      const arrow = create("text", { class: "cs-beyond", x: `${x}%`, y: 17, "text-anchor": anchor });
      arrow.textContent = sign;
      svg.append(arrow);
    }
  }

  function makeRow(claim) {
    const svg = create("svg", { "aria-hidden": "true" });
    const found = create("p", { class: "cs-found" });
    const statement = create("p", { class: "cs-statement" }, [claim.statement]);
    const row = create("li", { class: "cs-row", "data-claim": claim.id }, [statement, svg, found]);
    if (claim.check) statement.prepend(create("span", { class: "cs-check" }, ["check"]), " ");
    return { claim, row, svg, found };
  }

  const countSeeds = (n) => `${n} seed${n === 1 ? "" : "s"}`;

  function showRow({ claim, svg, found }, n, axis) {
    const known = Math.min(n, claim.steps.length);
    const step = claim.steps[known - 1] ?? { verdict: "not run", reason: "", effect: "" };
    drawInterval(svg, step, claim.margin, axis);
    const fewer = known < n ? `${countSeeds(known)} so far` : "";
    const details = [step.effect, fewer].filter(Boolean).join("; ");
    const reason = create("span", { class: "cs-reason" }, [step.reason]);
    const effect = create("span", { class: "cs-effect" }, [details]);
    found.replaceChildren(verdictWord(step.verdict), reason, effect);
    return step.verdict;
  }

  function showCounts(element, n, verdicts, words) {
    const counts = words
      .map((word) => [word, verdicts.filter((verdict) => verdict === word).length])
      .filter(([, count]) => count > 0);
    const parts = counts.flatMap(([word, count]) => [verdictWord(word, `${count} ${word}`), " "]);
    element.replaceChildren(`With ${countSeeds(n)}, of ${verdicts.length} claims of the thesis: `, ...parts);
  }

  function setUp(root) {
    const { claims, verdicts, n_seeds: nSeeds } = globalThis.claimsBySeeds;
    const find = (selector) => root.querySelector(selector);
    const [slider, checks] = [find(".cs-seeds input"), find(".cs-checks input")];
    const axis = makeAxis(claims);
    const rows = claims.map(makeRow);
    for (const task of new Set(claims.map((claim) => claim.task))) {
      const own = rows.filter(({ claim }) => claim.task === task).map(({ row }) => row);
      const heading = create("div", { class: "cs-head" }, [
        create("p", { class: "cs-task" }, [task]),
        drawTicks(axis),
      ]);
      find(".cs-tasks").append(heading, create("ul", { "aria-label": task }, own));
    }

    function update() {
      const n = slider.valueAsNumber;
      find(".cs-seeds output").value = String(n);
      const found = rows.map((each) => showRow(each, n, axis));
      rows.forEach(({ claim, row }) => {
        row.hidden = claim.check && !checks.checked;
      });
      showCounts(find(".cs-counts"), n, found.filter((_, i) => !claims[i].check), verdicts);
    }

    slider.max = String(Math.max(nSeeds, 1));
    slider.value = slider.max;
    slider.disabled = nSeeds < 2;
    checks.checked = false;
    root.addEventListener("input", update);
    root.hidden = false;
    update();
  }

  document.querySelectorAll(".claims-slider").forEach(setUp);
})();
