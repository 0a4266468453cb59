/* Films and section browsers: what book/_extensions/moving_pieces.py puts on a page comes alive. */

"use strict";

(() => {
  const TRUTH = "#ffa90e", PREDICTION = "#3f90da";
  const CELL = 8; // pixels of the canvas along a sample
  const MIDDLE = 128, UNKNOWN = 0; // bytes of amplitudes
  const PERIOD_MS = 400; // between two frames of a film that plays

  /* A piece loads its data once, when its reader first moves something. */
  function load(piece) {
    const { source, name } = piece.dataset;
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = source;
      script.onload = () => resolve(window.movingData[name]);
      script.onerror = () => reject(new Error(`${source} cannot be loaded`));
      document.head.append(script);
    });
  }

  function add(parent, tag, properties = {}) {
    const element = Object.assign(document.createElement(tag), properties);
    parent.append(element);
    return element;
  }

  /* Slider, its two buttons, arrow keys and drags on the stage: all end in show(). */
  function control(piece, build) {
    const slider = piece.querySelector(".moving-slider");
    const stage = piece.querySelector(".moving-stage");
    let ready;
    const show = () => {
      ready ??= load(piece).then((data) => {
        piece.querySelector(".moving-size").remove();
        stage.hidden = false;
        return build(data, stage, slider);
      });
      return ready.then((draw) => draw(Number(slider.value))).catch((error) => {
        piece.querySelector(".moving-label").textContent = `Not shown: ${error.message}.`;
      });
    };
    const step = (by) => {
      slider.value = Number(slider.value) + by;
      return show();
    };
    piece.querySelector(".moving-back").addEventListener("click", () => step(-1));
    piece.querySelector(".moving-next").addEventListener("click", () => step(1));
    piece.addEventListener("input", show);
    stage.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
      if (by) {
        event.preventDefault();
        step(by);
      }
    });
    drag(stage, slider, show);
    piece.hidden = false;
    return { slider, show };
  }

  /* Mouse or finger on the stage: all of its width is all of the slider. */
  function drag(stage, slider, show) {
    let start;
    stage.addEventListener("pointerdown", (event) => {
      start = { x: event.clientX, value: Number(slider.value) };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener("pointermove", (event) => {
      if (start) {
        const part = (event.clientX - start.x) / stage.clientWidth;
        slider.value = start.value + Math.round(part * (Number(slider.max) + 1));
        show();
      }
    });
    for (const end of ["pointerup", "pointercancel"]) {
      stage.addEventListener(end, () => { start = undefined; });
    }
  }

  /* ---- film ---- */

  function startFilm(piece) {
    const label = piece.querySelector(".moving-label");
    const { slider, show } = control(piece, async (data, stage) => {
      stage.tabIndex = 0;
      stage.classList.add("film-panels");
      stage.style.setProperty("--columns", data.columns);
      const panels = await Promise.all(data.panels.map((panel) => addPanel(stage, panel)));
      return (number) => {
        label.textContent = data.frames[number];
        panels.forEach((draw) => draw(number, data.frames[number]));
      };
    });
    const play = piece.querySelector(".moving-play");
    let timer;
    const stop = () => {
      timer = clearInterval(timer);
      play.textContent = "Play";
    };
    play.addEventListener("click", () => {
      if (timer) {
        return stop();
      }
      slider.value = slider.value === slider.max ? 0 : slider.value;
      play.textContent = "Stop";
      timer = setInterval(() => {
        slider.value = Number(slider.value) + 1;
        show();
        if (slider.value === slider.max) {
          stop();
        }
      }, PERIOD_MS);
      return show();
    });
  }

  async function addPanel(stage, { title, captions, width, height, image }) {
    const figure = add(stage, "div", { className: "film-panel" });
    add(figure, "div", { className: "film-title", textContent: title });
    const canvas = add(figure, "canvas", { width, height });
    canvas.setAttribute("role", "img");
    const below = captions.some(Boolean) && add(figure, "div", { className: "film-caption" });
    const strip = new Image();
    strip.src = `data:image/png;base64,${image}`;
    await strip.decode();
    return (number, frame) => {
      const part = [0, number * height, width, height, 0, 0, width, height];
      canvas.getContext("2d").drawImage(strip, ...part);
      canvas.setAttribute("aria-label", `${title}, ${frame}`);
      if (below) {
        below.textContent = captions[number];
      }
    };
  }

  /* ---- section browser ---- */

  async function inflate(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  const readBit = (bits, sample) => (bits[sample >> 3] >> (7 - (sample & 7))) & 1;

  /* Axes of rows and columns: depth downward, else inlines downward. */
  const lay = (axis) => [[2, 1], [2, 0], [0, 1]][axis];

  /* A section: its shape, and the number of the sample at (row, column) in the volume. */
  function cut(axes, axis, index) {
    const [down, across] = lay(axis);
    const strides = [axes[1].size * axes[2].size, axes[2].size, 1];
    const at = (row, column) =>
      index * strides[axis] + row * strides[down] + column * strides[across];
    return { rows: axes[down].size, columns: axes[across].size, down, across, at };
  }

  /* Dice and both kinds of errors, where amplitudes are known; two empty masks agree. */
  function score(section, volume, prediction) {
    let both = 0, missed = 0, invented = 0;
    for (let row = 0; row < section.rows; row += 1) {
      for (let column = 0; column < section.columns; column += 1) {
        const sample = section.at(row, column);
        if (volume.amplitude[sample] !== UNKNOWN) {
          const truth = readBit(volume.truth, sample), found = readBit(prediction, sample);
          both += truth & found;
          missed += truth & ~found;
          invented += ~truth & found;
        }
      }
    }
    const all = 2 * both + missed + invented;
    return { dice: all ? (2 * both) / all : 1, missed, invented };
  }

  const position = (axis, index) => {
    const value = axis.first + index * axis.step;
    return `${Number(value.toFixed(1))}${axis.unit ? ` ${axis.unit}` : ""}`;
  };

  function draw(canvas, section, volume, prediction, shown) {
    const [down, across] = [volume.axes[section.down], volume.axes[section.across]];
    const isToScale = down.unit === across.unit && down.unit !== "";
    const width = CELL * section.columns;
    const ratio = isToScale ? Math.abs((down.size * down.step) / (across.size * across.step)) : 0.7;
    const cell = Math.max(Math.round((ratio * width) / section.rows), 1);
    Object.assign(canvas, { width, height: cell * section.rows });
    const context = canvas.getContext("2d");
    const sides = { truth: new Path2D(), prediction: new Path2D() };
    const masks = { truth: volume.truth, prediction };
    for (let row = 0; row < section.rows; row += 1) {
      for (let column = 0; column < section.columns; column += 1) {
        const sample = section.at(row, column);
        const gray = volume.amplitude[sample];
        const place = [column * CELL, row * cell, CELL, cell];
        context.fillStyle = gray === UNKNOWN ? "#fff" : `rgb(${gray} ${gray} ${gray})`;
        context.fillRect(...place);
        const truth = readBit(volume.truth, sample), found = readBit(prediction, sample);
        if (shown.difference && truth !== found && gray !== UNKNOWN) {
          context.globalAlpha = shown.opacity;
          context.fillStyle = truth ? TRUTH : PREDICTION;
          context.fillRect(...place);
          context.globalAlpha = 1;
        }
        for (const [name, mask] of Object.entries(masks)) {
          trace(sides[name], section, mask, row, column, cell, name === "prediction");
        }
      }
    }
    const styles = { truth: TRUTH, prediction: PREDICTION };
    for (const name of Object.keys(sides)) {
      if (shown[name]) {
        Object.assign(context, { strokeStyle: styles[name], lineWidth: 3, lineCap: "round" });
        context.stroke(sides[name]);
      }
    }
  }

  /* Sides of a sample towards others that differ; dashed: every other one. */
  function trace(path, section, mask, row, column, cell, dashed) {
    const here = readBit(mask, section.at(row, column));
    const [x, y] = [column * CELL, row * cell];
    if (dashed && (row + column) % 2) {
      return;
    }
    if (column + 1 < section.columns && readBit(mask, section.at(row, column + 1)) !== here) {
      path.moveTo(x + CELL, y);
      path.lineTo(x + CELL, y + cell);
    }
    if (row + 1 < section.rows && readBit(mask, section.at(row + 1, column)) !== here) {
      path.moveTo(x, y + cell);
      path.lineTo(x + CELL, y + cell);
    }
  }

  async function unpack(data) {
    const names = Object.keys(data.predictions);
    const [amplitude, truth, ...predictions] = await Promise.all(
      [data.amplitude, data.truth, ...Object.values(data.predictions)].map(inflate),
    );
    return { axes: data.axes, amplitude, truth, names, predictions };
  }

  function startSections(piece) {
    const chosen = (kind) => Number(piece.querySelector(`.choose-${kind}:checked`).value);
    const label = piece.querySelector(".moving-label");
    const read = () => ({
      truth: piece.querySelector(".draw-truth").checked,
      prediction: piece.querySelector(".draw-prediction").checked,
      difference: piece.querySelector(".draw-difference").checked,
      opacity: Number(piece.querySelector(".opacity").value) / 100,
    });
    control(piece, async (data, stage, slider) => {
      let drawn = 0; // axis that the slider is made for
      const volume = await unpack(data);
      const canvas = add(stage, "canvas", { tabIndex: 0 });
      canvas.setAttribute("role", "img");
      const below = add(stage, "p", { className: "sections-axes" });
      const words = add(stage, "p", { className: "sections-scores" });
      const room = piece.querySelectorAll(".choose-prediction ~ .moving-score");
      return (index) => {
        const axis = volume.axes[chosen("axis")];
        if (drawn !== chosen("axis")) {
          drawn = chosen("axis");
          slider.max = axis.size - 1;
          slider.value = index = Math.floor(axis.size / 2);
        }
        const section = cut(volume.axes, drawn, index);
        const number = chosen("prediction"), name = volume.names[number];
        draw(canvas, section, volume, volume.predictions[number], read());
        const scores = volume.predictions.map((mask) => score(section, volume, mask));
        scores.forEach(({ dice }, place) => { room[place].textContent = dice.toFixed(3); });
        const { dice, missed, invented } = scores[number];
        const [down, across] = [volume.axes[section.down], volume.axes[section.across]];
        label.textContent =
          `${axis.name} ${position(axis, index)} (${index + 1} of ${axis.size})`;
        below.textContent = `Down: ${describe(down)}. Across: ${describe(across)}.`;
        words.textContent =
          `${name}, this section: Dice ${dice.toFixed(3)}; samples of salt missed: ${missed}, ` +
          `invented: ${invented}.`;
        canvas.setAttribute("aria-label", `Section at ${label.textContent}. ${words.textContent}`);
      };
    });
  }

  const describe = (axis) =>
    `${axis.name}, ${position(axis, 0)} to ${position(axis, axis.size - 1)}`;

  const kinds = { film: startFilm, sections: startSections };
  for (const piece of document.querySelectorAll("[data-moving]")) {
    kinds[piece.dataset.moving]?.(piece);
  }
})();
