// What was found where in a scene: the same arithmetic as infer/scene/places.py, whose comments say why. Maps are
// Float32Arrays, one map after another.

import { inverse, product, resized, warped } from "./homography.js";
import { areaAverage } from "./smoother.js";

const COARSE = 64;
const REACH = 2;
const CANVAS = COARSE * REACH;
const [AREA, CANVAS_AREA] = [COARSE * COARSE, CANVAS * CANVAS];
const TRUST = 4;
const DOUBTED = 0.02;
const OTHER = 0.3;
const FIRST = 0.5;
const LOOKS = 4;
const CANVAS_TO_VIEW = [REACH, 0, 0, 0, REACH, 0, 0, 0, 1];
/** A Gauss of one pixel, as OpenCV has it. */
const KERNEL = [-4, -3, -2, -1, 0, 1, 2, 3, 4].map((i) => Math.exp(-(i * i) / 2));

export class Places {
  constructor() {
    this.canvases = new Map();
  }

  /** What a segmenter found in the frame that was followed last, in the light of what was found there before. */
  named({ maps, names }, thumbnail, size, follower, gain, renewed) {
    const side = Math.sqrt(maps.length / names.length);
    const canvas = this.#canvas(follower, names.length);
    const toFrame = product(follower.views[follower.at].lie, CANVAS_TO_VIEW);
    const looks = lookOf(thumbnail, size, gain);
    const known = warped(canvas, CANVAS, toFrame, COARSE);
    for (let p = 0; p < AREA; p++) if (differs(known, AREA, p, looks, AREA, p)) known[p] = 0;
    const named = together(maps, side, known, names.length);
    count(canvas, named, side, names.length, looks, toFrame, renewed);
    return { maps: named, names };
  }

  #canvas({ views, at }, names) {
    const here = views[at];
    if (!this.canvases.has(here.number)) {
      const canvas = new Float32Array((LOOKS + names) * CANVAS_AREA);
      const toCanvas = inverse(product(here.lie, CANVAS_TO_VIEW));
      const others = views.filter(({ number }) => this.canvases.has(number));
      for (const { number, lie } of others) {
        const there = product(product(toCanvas, lie), CANVAS_TO_VIEW);
        const seen = warped(this.canvases.get(number), CANVAS, there, CANVAS);
        for (let p = 0; p < CANVAS_AREA; p++) {
          if (seen[p] <= canvas[p]) continue;
          for (let at = p; at < canvas.length; at += CANVAS_AREA) canvas[at] = seen[at];
        }
      }
      this.canvases = new Map(others.map(({ number }) => [number, this.canvases.get(number)]));
      this.canvases.set(here.number, canvas);
    }
    return this.canvases.get(here.number);
  }
}

/** Whether two maps that begin with a count and three logarithms of colours (the second without the count) differ. */
function differs(known, area, p, looks, looksArea, q) {
  for (let c = 0; c < 3; c++) {
    if (Math.abs(known[(c + 1) * area + p] - looks[c * looksArea + q]) >= OTHER) return true;
  }
  return false;
}

function count(canvas, named, side, names, looks, toFrame, renewed) {
  const seen = new Float32Array((LOOKS + names) * AREA).fill(1, 0, AREA);
  seen.set(looks, AREA);
  seen.set(resized(named, side, COARSE), LOOKS * AREA);
  const there = warped(seen, COARSE, inverse(toFrame), CANVAS);
  const colours = there.subarray(CANVAS_AREA);
  for (let p = 0; p < CANVAS_AREA; p++) {
    if (there[p] <= 0.99) continue;
    const counted = differs(canvas, CANVAS_AREA, p, colours, CANVAS_AREA, p) ? 0 : canvas[p];
    const weight = Math.max(1 / (counted + 1), renewed);
    for (let at = p + CANVAS_AREA; at < canvas.length; at += CANVAS_AREA) canvas[at] += weight * (there[at] - canvas[at]);
    canvas[p] = counted + 1;
  }
}

function lookOf(thumbnail, size, gain) {
  const small = areaAverage(thumbnail, size, COARSE);
  const mirrored = (i) => (i < 0 ? -i : i >= COARSE ? 2 * COARSE - 2 - i : i);
  const total = KERNEL.reduce((sum, value) => sum + value);
  const blurred = (from, along, across) => {
    const to = new Float64Array(AREA);
    for (let a = 0; a < COARSE; a++) {
      for (let b = 0; b < COARSE; b++) {
        let sum = 0;
        for (let k = 0; k < KERNEL.length; k++) sum += KERNEL[k] * from[mirrored(a + k - 4) * along + b * across];
        to[a * along + b * across] = sum / total;
      }
    }
    return to;
  };
  const looks = new Float32Array(3 * AREA);
  for (let c = 0; c < 3; c++) {
    const one = Float64Array.from({ length: AREA }, (_, p) => small[3 * p + c] / 255);
    looks.set(blurred(blurred(one, 1, COARSE), COARSE, 1).map((value) => Math.log(value / gain[c] + 0.05)), c * AREA);
  }
  return looks;
}

/** Probabilities of a frame together with what is `known` there: counts, looks, then the names'. */
function together(found, side, known, names) {
  const small = resized(found, side, COARSE);
  const factor = new Float32Array(names * AREA);
  for (let p = 0; p < AREA; p++) {
    const trusted = known[p] / (known[p] + FIRST);
    let most = 0;
    for (let k = 0; k < names; k++) {
      const own = small[k * AREA + p];
      factor[k * AREA + p] = own + (known[(LOOKS + k) * AREA + p] - own) * trusted;
      most = Math.max(most, factor[k * AREA + p]);
    }
    for (let k = 0; k < names; k++) {
      factor[k * AREA + p] = ((factor[k * AREA + p] + DOUBTED) / (most + DOUBTED)) ** TRUST;
    }
  }
  const factors = resized(factor, COARSE, side);
  const pixels = side * side;
  const both = found.map((value, i) => value * factors[i]);
  for (let p = 0; p < pixels; p++) {
    let [before, after] = [0, 0];
    for (let at = p; at < both.length; at += pixels) [before, after] = [before + found[at], after + both[at]];
    for (let at = p; at < both.length; at += pixels) both[at] *= before / (after + 1e-9);
  }
  return both;
}
