/* The loss explorer: draws what losses.js computes for the disc that the reader moves. */
"use strict";

(() => {
  const { losses, prepare, discLogits, discMask } = globalThis.companionLosses;
  const VANISHES = 1e-12; // largest gradient that is rounding only
  const RED_TO_BLUE = [
    // ColorBrewer RdBu
    [103, 0, 31], [178, 24, 43], [214, 96, 77], [244, 165, 130], [253, 219, 199], [247, 247, 247],
    [209, 229, 240], [146, 197, 222], [67, 147, 195], [33, 102, 172], [5, 48, 97],
  ];

  /* Colour of a gradient from -1, which asks for more salt (blue), to 1 (red). */
  function colourSigned(value) {
    const position = ((1 - value) / 2) * (RED_TO_BLUE.length - 1);
    const index = Math.min(Math.floor(position), RED_TO_BLUE.length - 2);
    const [first, second] = [RED_TO_BLUE[index], RED_TO_BLUE[index + 1]];
    return first.map((part, i) => part + (position - index) * (second[i] - part));
  }

  const colourProbability = (p) => Array(3).fill(250 - 150 * p);

  function paint(canvas, values, colour) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    values.forEach((value, i) => image.data.set([...colour(value), 255], 4 * i));
    context.putImageData(image, 0, 0);
  }

  function formatValue(value) {
    if (value === 0) return "0";
    return value < 0.001 || value >= 10000 ? value.toExponential(1) : value.toPrecision(3);
  }

  function setUp(root) {
    const find = (selector) => root.querySelector(selector);
    const { size, truth: fullTruth, lastShift } = JSON.parse(root.dataset.settings);
    const sliders = Object.fromEntries(
      [...root.querySelectorAll("input[type=range]")].map((input) => [input.name, input]),
    );
    const tiles = [...root.querySelectorAll(".le-tile")];
    const isEmpty = find(".le-empty input");
    const disc = find("[data-view=prediction] .le-disc");
    const full = {};
    let waiting = false;

    const readDisc = () =>
      Object.fromEntries(Object.entries(sliders).map(([name, input]) => [name, input.valueAsNumber]));
    const readStart = () =>
      Object.fromEntries(
        Object.entries(sliders).map(([name, input]) => [name, Number(input.defaultValue)]),
      );
    const readTruth = () => (isEmpty.checked ? { ...fullTruth, radius: 0 } : fullTruth);
    const build = (of) =>
      prepare(discLogits(of, size, size), discMask(readTruth(), size, size), size, size);
    const chosen = () => tiles.find((tile) => tile.querySelector("input").checked);

    function place(element, { x, y, radius }) {
      const percent = (pixels) => `${(100 * pixels) / size}%`;
      element.hidden = radius === 0;
      element.style.left = percent(x + 0.5 - radius); // a position is the centre of a pixel
      element.style.top = percent(y + 0.5 - radius);
      element.style.width = percent(2 * radius);
      element.style.height = percent(2 * radius);
    }

    /* Values with which bars are full, of the first disc where it misses the truth. */
    function measureReference() {
      const missing = { ...readStart(), x: fullTruth.x + lastShift };
      const image = build(missing);
      Object.entries(losses).forEach(([name, loss]) => {
        full[name] = loss(image).value;
      });
    }

    function showTile(tile, image) {
      const name = tile.querySelector("input").value;
      const { value, gradient } = losses[name](image);
      const largest = gradient.reduce((most, slope) => Math.max(most, Math.abs(slope)), 0);
      const scaled = gradient.map((slope) => (largest > VANISHES ? slope / largest : 0));
      paint(tile.querySelector("canvas"), scaled, colourSigned);
      tile.querySelector(".le-value").textContent = formatValue(value);
      const fraction = value / full[name];
      const meter = tile.querySelector(".le-meter span");
      meter.style.width = `${100 * Math.min(fraction, 1)}%`;
      meter.classList.toggle("le-over", fraction > 1);
      return { scaled, largest };
    }

    function showGradient(tile, { scaled, largest }) {
      paint(find("[data-view=gradient] canvas"), scaled, colourSigned);
      find(".le-chosen").textContent = tile.querySelector(".le-name").textContent;
      find(".le-largest").textContent =
        largest > VANISHES ? `ends: ±${formatValue(largest)} per logit` : "vanishes everywhere";
    }

    function update() {
      waiting = false;
      const prediction = readDisc();
      const image = build(prediction);
      paint(find("[data-view=prediction] canvas"), image.p, colourProbability);
      root.querySelectorAll(".le-truth").forEach((element) => place(element, readTruth()));
      root.querySelectorAll(".le-disc").forEach((element) => place(element, prediction));
      Object.values(sliders).forEach((input) => {
        input.parentElement.querySelector("output").value = String(input.valueAsNumber);
      });
      tiles.forEach((tile) => {
        const shown = showTile(tile, image);
        if (tile === chosen()) showGradient(tile, shown);
      });
    }

    function requestUpdate() {
      if (!waiting) requestAnimationFrame(update);
      waiting = true;
    }

    /* A slider keeps its own limits and steps. */
    function move(changes) {
      Object.entries(changes).forEach(([name, value]) => {
        sliders[name].value = String(value);
      });
      requestUpdate();
    }

    function onKey(event) {
      const { x, y, radius } = readDisc();
      const step = event.shiftKey ? 5 : 1;
      const changes = {
        ArrowLeft: { x: x - step },
        ArrowRight: { x: x + step },
        ArrowUp: { y: y - step },
        ArrowDown: { y: y + step },
        "+": { radius: radius + 1 },
        "=": { radius: radius + 1 },
        "-": { radius: radius - 1 },
      }[event.key];
      if (!changes || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation(); // arrow keys turn the pages of the book
      move(changes);
    }

    function onGrab(event) {
      if (event.button !== 0) return;
      const pixel = disc.parentElement.getBoundingClientRect().width / size;
      const { x, y } = readDisc();
      const from = { x: event.clientX, y: event.clientY };
      const drag = (moved) =>
        move({ x: x + (moved.clientX - from.x) / pixel, y: y + (moved.clientY - from.y) / pixel });
      const drop = () => disc.removeEventListener("pointermove", drag);
      disc.setPointerCapture(event.pointerId);
      disc.addEventListener("pointermove", drag);
      disc.addEventListener("lostpointercapture", drop, { once: true });
    }

    function reset() {
      isEmpty.checked = false;
      measureReference();
      move(readStart());
    }

    (tiles.find((tile) => tile.querySelector("input").value === "dice") ?? tiles[0])
      .querySelector("input").checked = true;
    disc.addEventListener("keydown", onKey);
    disc.addEventListener("pointerdown", onGrab);
    isEmpty.addEventListener("input", measureReference); // before the whole is drawn again
    root.addEventListener("input", requestUpdate);
    find(".le-reset").addEventListener("click", reset);
    root.hidden = false;
    measureReference();
    update();
  }

  document.querySelectorAll(".loss-explorer").forEach(setUp);
})();
