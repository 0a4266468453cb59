/*
 * The losses of thesis_lib.losses for one image, with their gradients: plain arithmetic, no page.
 *
 * An image is an array of numbers, row by row. A loss takes {x, p, t, height, width}, see prepare,
 * and returns {value, gradient}, the gradient with respect to the logits x. A test compares all of
 * them with the library.
 */
"use strict";

globalThis.companionLosses = (() => {
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const sigmoid = (x) => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)));
  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

  function prepare(x, t, height, width) {
    return { x, p: x.map(sigmoid), t, height, width };
  }

  /* Mean over pixels of terms(i) = [value, derivative with respect to x]. */
  function meanOf(image, terms) {
    const n = image.x.length;
    const gradient = new Float64Array(n);
    let total = 0;
    for (let i = 0; i < n; i += 1) {
      const [value, slope] = terms(i);
      total += value;
      gradient[i] = slope / n;
    }
    return { value: total / n, gradient };
  }

  /* The same for terms of the probability p, whose derivative is passed on to x. */
  function meanOfProbability(image, terms) {
    return meanOf(image, (i) => {
      const [value, slope] = terms(image.p[i] - image.t[i], i);
      return [value, slope * image.p[i] * (1 - image.p[i])];
    });
  }

  /* Without salt in the target the two classes change roles. */
  function scoreBackgroundIfEmpty(image, loss) {
    if (image.t.some((value) => value > 0)) return loss(image);
    const turned = prepare(
      image.x.map((x) => -x),
      image.t.map((t) => 1 - t),
      image.height,
      image.width,
    );
    const { value, gradient } = loss(turned);
    return { value, gradient: gradient.map((slope) => -slope) };
  }

  const bcePerPixel = (x, t) => softplus(x) - x * t;

  function bce(image) {
    const { x, p, t } = image;
    return meanOf(image, (i) => [bcePerPixel(x[i], t[i]), p[i] - t[i]]);
  }

  function mse(image) {
    return meanOfProbability(image, (error) => [error * error, 2 * error]);
  }

  function focal(image) {
    return meanOf(image, (i) => {
      const side = 2 * image.t[i] - 1;
      const hit = sigmoid(side * image.x[i]);
      const missed = sigmoid(-side * image.x[i]);
      const logHit = -softplus(-side * image.x[i]);
      return [-missed * missed * logHit, side * missed * missed * (2 * hit * logHit - missed)];
    });
  }

  function kl(image) {
    const smoothing = 0.1;
    const soft = (t) => t * (1 - smoothing) + smoothing / 2;
    const entropy = (t) => -t * Math.log(t) - (1 - t) * Math.log(1 - t);
    return meanOf(image, (i) => {
      const t = soft(image.t[i]);
      return [bcePerPixel(image.x[i], t) - entropy(t), image.p[i] - t];
    });
  }

  function wing(image) {
    const width = 5;
    const curvature = 0.5;
    return meanOfProbability(image, (error) => {
      const size = Math.abs(error);
      return [
        width * Math.log1p(size / curvature),
        (Math.sign(error) * width) / (curvature + size),
      ];
    });
  }

  function dice(image) {
    return scoreBackgroundIfEmpty(image, ({ p, t }) => {
      const difference = sum(p.map((q, i) => q + t[i] - 2 * q * t[i]));
      const total = sum(p) + sum(t);
      const overlap = (2 * sum(p.map((q, i) => q * t[i]))) / total; // 1 less the loss, if tiny too
      const gradient = p.map((q, i) => ((overlap - 2 * t[i]) / total) * q * (1 - q));
      return { value: difference / total, gradient };
    });
  }

  function jaccard(image) {
    const { value, gradient } = dice(image);
    const slope = 2 / (1 + value) ** 2;
    return { value: (2 * value) / (1 + value), gradient: gradient.map((part) => slope * part) };
  }

  function baseline(image) {
    const [first, second] = [bce(image), dice(image)];
    return {
      value: first.value + second.value,
      gradient: first.gradient.map((part, i) => part + second.gradient[i]),
    };
  }

  function lovasz(image) {
    return scoreBackgroundIfEmpty(image, ({ x, t }) => {
      const errors = x.map((value, i) => 1 - value * (2 * t[i] - 1));
      const order = Array.from(errors.keys()).sort((i, j) => errors[j] - errors[i]); // stable
      const nSalt = sum(t);
      const gradient = new Float64Array(x.length);
      let [value, missed] = [0, 0];
      order.forEach((i, k) => {
        missed += t[i];
        const intersection = nSalt - missed;
        const union = nSalt + k + 1 - missed;
        const lost = Math.max(t[i], intersection / Math.max(union - 1, 1)) / union;
        if (errors[i] <= 0) return;
        value += errors[i] * lost;
        gradient[i] = -(2 * t[i] - 1) * lost;
      });
      shareAmongEqual(gradient, order, errors, t);
      return { value, gradient };
    });
  }

  /*
   * Pixels of one class with the same error have no order of their own, so that any order gives a
   * subgradient; their mean is one too, and is as symmetric as the image.
   */
  function shareAmongEqual(gradient, order, errors, t) {
    for (let first = 0, next = 0; first < order.length; first = next) {
      while (next < order.length && errors[order[next]] === errors[order[first]]) next += 1;
      if (next - first === 1) continue;
      const equal = order.slice(first, next);
      for (const isSalt of [0, 1]) {
        const group = equal.filter((i) => t[i] === isSalt);
        const mean = sum(group.map((i) => gradient[i])) / group.length;
        group.forEach((i) => {
          gradient[i] = mean;
        });
      }
    }
  }

  /* Dilation less erosion of the target with a window of 5 x 5, the edge repeated outward. */
  function contourBand({ t, height, width }) {
    const reach = 2;
    const clamp = (value, end) => Math.min(Math.max(value, 0), end - 1);
    return t.map((_, index) => {
      const [row, column] = [Math.floor(index / width), index % width];
      let [low, high] = [Infinity, -Infinity];
      for (let i = row - reach; i <= row + reach; i += 1) {
        for (let j = column - reach; j <= column + reach; j += 1) {
          const value = t[clamp(i, height) * width + clamp(j, width)];
          low = Math.min(low, value);
          high = Math.max(high, value);
        }
      }
      return high - low;
    });
  }

  function contour(image) {
    const { x, p, t } = image;
    const band = contourBand(image);
    return meanOf(image, (i) => {
      const weight = 1 + 5 * band[i];
      return [weight * bcePerPixel(x[i], t[i]), weight * (p[i] - t[i])];
    });
  }

  /*
   * Lower envelope of the parabolas f[j] + (i - j)^2 on a line, in place: the exact distance
   * transform of Felzenszwalb & Huttenlocher (2012), https://doi.org/10.4086/toc.2012.v008a019
   */
  function transformLine(values, start, step, n) {
    const f = Array.from({ length: n }, (_, i) => values[start + i * step]);
    const feet = [];
    const from = []; // where each parabola begins to be the lowest
    for (let i = 0; i < n; i += 1) {
      if (f[i] === Infinity) continue;
      let meet = -Infinity;
      while (feet.length > 0) {
        const j = feet[feet.length - 1];
        meet = (f[i] + i * i - f[j] - j * j) / (2 * (i - j));
        if (meet > from[from.length - 1]) break;
        feet.pop();
        from.pop();
        meet = -Infinity;
      }
      feet.push(i);
      from.push(meet);
    }
    for (let i = 0, k = 0; i < n && feet.length > 0; i += 1) {
      while (k + 1 < feet.length && from[k + 1] < i) k += 1;
      values[start + i * step] = f[feet[k]] + (i - feet[k]) ** 2;
    }
  }

  /* Squared distance of each pixel to the nearest one that is marked; infinite where none is. */
  function squaredDistanceTo(marked, height, width) {
    const values = Array.from(marked, (is) => (is ? 0 : Infinity));
    for (let j = 0; j < width; j += 1) transformLine(values, j, width, height);
    for (let i = 0; i < height; i += 1) transformLine(values, i * width, 1, width);
    return values;
  }

  /* Squared distance to the nearest pixel of the other class; 0 in a mask of one class. */
  function squaredDistance(mask, height, width) {
    if (mask.every((is) => is === mask[0])) return mask.map(() => 0);
    const toSalt = squaredDistanceTo(mask, height, width);
    const toOther = squaredDistanceTo(
      mask.map((is) => !is),
      height,
      width,
    );
    return mask.map((is, i) => (is ? toOther[i] : toSalt[i]));
  }

  function hausdorff(image) {
    const { height, width } = image;
    const [ofPrediction, ofTarget] = [image.p, image.t].map((values) =>
      squaredDistance(
        Array.from(values, (value) => value > 0.5),
        height,
        width,
      ),
    );
    return meanOfProbability(image, (error, i) => {
      const weight = ofPrediction[i] + ofTarget[i] || 2;
      return [weight * error * error, 2 * weight * error];
    });
  }

  const losses = {
    bce, contour, dice, focal, hausdorff, jaccard, kl, lovasz, mse, wing, bce_dice: baseline,
  };

  /* Logits of a disc: they fall from its centre by `confidence` per pixel and are 0 at its edge. */
  function discLogits({ x, y, radius, confidence }, height, width) {
    return Float64Array.from({ length: height * width }, (_, i) => {
      const distance = Math.hypot(Math.floor(i / width) - y, (i % width) - x);
      return (radius - distance) * confidence;
    });
  }

  /* Mask of a disc; without salt for the radius 0. */
  function discMask({ x, y, radius }, height, width) {
    const logits = discLogits({ x, y, radius, confidence: 1 }, height, width);
    return logits.map((value) => (radius > 0 && value > 0 ? 1 : 0));
  }

  return { losses, prepare, discLogits, discMask, squaredDistance };
})();
