// The light of a scene, followed from frame to frame, and sums in another light: the same arithmetic as
// infer/scene/light.py, whose comments say why.

import { IDENTITY, inverse, product } from "./homography.js";
import { areaAverage } from "./smoother.js";

const SIDE = 32;
const PIXELS = SIDE * SIDE;
const BLUR = 1;
const STEPS = 4;
const STILL = 0.01;
const OUTLIER = 0.15;
const LEAST_SHARED = 0.5;
const LEAST_ALIKE = 0.5;
const [DARKEST, BRIGHTEST] = [0.03, 0.97];
const LEAST_PIXELS = 48;
const VIEWS = 24;
const NEAREST = 0.1;
const LUMA = [0.299, 0.587, 0.114];
const OPPONENT = [LUMA, [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]];
const BINS = 8;
const PAIRS = [[0, 0], [1, 1], [2, 2], [0, 1], [1, 2], [0, 2]];
const UNKNOWNS = 9;

/** How much brighter the same things are than at the first frame, in each channel, and how they have moved. */
export class LightFollower {
  constructor() {
    this.count = 0;
    this.forget();
  }

  forget() {
    /** What frames are compared with: {colours, luma, gain, number, lie}. */
    this.views = [];
    this.at = 0;
    this.motion = new Float64Array(UNKNOWNS);
    /** The homography by which the last but one frame became the last; null: not known. */
    this.moved = null;
  }

  /** The gain [r, g, b] of sRGB since the first frame, given the next thumbnail, size x size x 3 bytes. */
  update(thumbnail, size) {
    const colours = blurred(areaAverage(thumbnail, size).map((level) => level / 255));
    const luma = Float64Array.from({ length: PIXELS }, (_, p) => Math.log(lumaOf(colours, p) + 0.05));
    this.moved = null;
    if (!this.views.length) return this.#begin(colours, luma, [1, 1, 1]);
    const match = this.#match(this.views[this.at], colours, luma, this.motion);
    if (match === null) {
      const { gain } = this.views[this.at];
      this.views = [];
      return this.#begin(colours, luma, gain);
    }
    this.moved = product(matrixOf(match.motion), inverse(this.views[this.at].lie));
    for (const view of this.views) view.lie = product(this.moved, view.lie);
    this.#settle(this.at, match);
    return match.shared < LEAST_SHARED ? this.#turn(colours, luma, match) : match.gain;
  }

  #turn(colours, luma, match) {
    const overlaps = this.views.map(({ lie }) => overlap(lie));
    const nearest = [...overlaps.keys()].sort((a, b) => overlaps[b] - overlaps[a]);
    for (const index of nearest) {
      if (index === this.at || overlaps[index] < LEAST_SHARED) continue;
      const { lie, gain } = this.views[index];
      const brighter = Math.log(lumaOf(match.gain, 0) / lumaOf(gain, 0));
      const found = this.#match(this.views[index], colours, luma, motionOf(lie.map((x) => x / lie[8]), brighter));
      if (found === null || found.shared < LEAST_SHARED) continue;
      this.#settle(index, found);
      return found.gain;
    }
    return this.#begin(colours, luma, match.gain);
  }

  #match(view, colours, luma, begun) {
    const { motion, same, shared } = align(view.luma, luma, begun);
    if (same.length < LEAST_ALIKE * PIXELS * shared) return null;
    const ratio = ratioOf(view.colours, colours, motion, same);
    return { motion, shared, gain: view.gain.map((value, c) => value * ratio[c]) };
  }

  #settle(index, { motion }) {
    this.at = index;
    this.motion = motion;
    this.views[index].lie = matrixOf(motion);
  }

  #begin(colours, luma, gain) {
    if (this.views.length === VIEWS) this.views.shift();
    this.views.push({ colours, luma, gain, number: this.count, lie: IDENTITY });
    this.count += 1;
    this.at = this.views.length - 1;
    this.motion = new Float64Array(UNKNOWNS);
    return gain;
  }
}

/** The homography of a motion (see `align`). */
function matrixOf(m) {
  return [1 + m[1], m[2], m[0], m[4], 1 + m[5], m[3], m[6], m[7], 1];
}

/** The motion of which this is the homography, its last entry 1. */
function motionOf(h, brighter) {
  return Float64Array.from([h[2], h[0] - 1, h[1], h[5], h[3], h[4] - 1, h[6], h[7], brighter]);
}

/** The share of a view that lies in the frame. */
function overlap(lie) {
  if (lie[8] < NEAREST) return 0;
  let inside = 0;
  for (let p = 0; p < PIXELS; p++) {
    const [u, v] = coordinates(p);
    const [x, y, depth] = [0, 3, 6].map((row) => lie[row] * u + lie[row + 1] * v + lie[row + 2]);
    inside += depth > NEAREST && Math.abs(x) < depth && Math.abs(y) < depth;
  }
  return inside / PIXELS;
}

function lumaOf(colours, p) {
  return LUMA[0] * colours[3 * p] + LUMA[1] * colours[3 * p + 1] + LUMA[2] * colours[3 * p + 2];
}

/** SIDE x SIDE x 3 colours, blurred by BLUR as OpenCV does it: mirrored at the borders, four deviations to each side. */
function blurred(colours) {
  const reach = 4 * BLUR;
  const kernel = Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * BLUR ** 2)));
  const total = kernel.reduce((sum, value) => sum + value);
  const mirrored = (i) => (i < 0 ? -i : i >= SIDE ? 2 * SIDE - 2 - i : i);
  const along = (from, stride, other) => {
    const to = new Float64Array(from.length);
    for (let a = 0; a < SIDE; a++) {
      for (let b = 0; b < SIDE; b++) {
        for (let c = 0; c < 3; c++) {
          let sum = 0;
          for (let k = -reach; k <= reach; k++) sum += kernel[k + reach] * from[mirrored(a + k) * stride + b * other + c];
          to[a * stride + b * other + c] = sum / total;
        }
      }
    }
    return to;
  };
  return along(along(Float64Array.from(colours), 3, 3 * SIDE), 3 * SIDE, 3);
}

/** How the picture has moved and how much brighter it is, which pixels fit, and what share both show. */
function align(before, now, last) {
  let motion = last;
  for (let step = 0; step < STEPS; step++) {
    const change = solved(...normalEquations(before, now, motion));
    motion = motion.map((value, i) => value - change[i]);
    if ((Math.max(...change.slice(0, 8).map(Math.abs)) * SIDE) / 2 < STILL) break;
  }
  const same = [];
  let inside = 0;
  for (let p = 0; p < PIXELS; p++) {
    const [x, y] = placeOf(p, motion);
    if (!isInside(x, y)) continue;
    inside += 1;
    if (Math.abs(sampled(now, 1, x, y, 0) - before[p] - motion[8]) < OUTLIER) same.push(p);
  }
  return { motion, same, shared: inside / PIXELS };
}

/** Of a Gauss-Newton step: the matrix (row by row) and the right-hand side. */
function normalEquations(before, now, motion) {
  const places = Array.from({ length: PIXELS }, (_, p) => placeOf(p, motion));
  const moved = Float64Array.from(places, ([x, y]) => sampled(now, 1, x, y, 0));
  const matrix = new Float64Array(UNKNOWNS * UNKNOWNS);
  const side = new Float64Array(UNKNOWNS);
  for (let p = 0; p < PIXELS; p++) {
    const [x, y] = places[p];
    if (!isInside(x, y)) continue;
    const rest = moved[p] - before[p] - motion[8];
    const weight = 1 / (1 + (rest / OUTLIER) ** 2) ** 2;
    const [u, v] = coordinates(p);
    const [right, down] = [slope(moved, p, 1), slope(moved, p, SIDE)];
    const towards = -(right * x + down * y);
    const row = [right, right * u, right * v, down, down * u, down * v, towards * u, towards * v, -1];
    for (let i = 0; i < UNKNOWNS; i++) {
      side[i] += weight * row[i] * rest;
      for (let j = 0; j < UNKNOWNS; j++) matrix[i * UNKNOWNS + j] += weight * row[i] * row[j];
    }
  }
  for (let i = 0; i < UNKNOWNS; i++) matrix[i * UNKNOWNS + i] += 1e-3;
  return [matrix, side];
}

/** The slope at a pixel along a row (stride 1) or a column (stride SIDE), in sides of [-1, 1]; as numpy's gradient. */
function slope(picture, p, stride) {
  const at = stride === 1 ? p % SIDE : Math.floor(p / SIDE);
  const [low, high] = [at > 0 ? p - stride : p, at < SIDE - 1 ? p + stride : p];
  return ((picture[high] - picture[low]) / ((high - low) / stride)) * (SIDE / 2);
}

/** The solution of a symmetric positive definite system, by Gaussian elimination. */
function solved(matrix, side) {
  const n = side.length;
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const factor = matrix[j * n + i] / matrix[i * n + i];
      for (let k = i; k < n; k++) matrix[j * n + k] -= factor * matrix[i * n + k];
      side[j] -= factor * side[i];
    }
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) side[i] -= matrix[i * n + k] * side[k];
    side[i] /= matrix[i * n + i];
  }
  return side;
}

function coordinates(p) {
  return [(((p % SIDE) + 0.5) * 2) / SIDE - 1, ((Math.floor(p / SIDE) + 0.5) * 2) / SIDE - 1];
}

function placeOf(p, m) {
  const [u, v] = coordinates(p);
  const depth = Math.max(1 + m[6] * u + m[7] * v, 0.1);
  return [(u + m[0] + m[1] * u + m[2] * v) / depth, (v + m[3] + m[4] * u + m[5] * v) / depth];
}

function isInside(x, y) {
  return Math.abs(x) < 1 - 1 / SIDE && Math.abs(y) < 1 - 1 / SIDE;
}

/** A channel of a picture at a place in [-1, 1], bilinearly; beyond its borders as at them. */
function sampled(picture, channels, x, y, channel) {
  const within = (value) => Math.min(Math.max(value, 0), SIDE - 1);
  const [column, row] = [((x + 1) * SIDE) / 2 - 0.5, ((y + 1) * SIDE) / 2 - 0.5];
  const [left, top] = [Math.floor(column), Math.floor(row)];
  const value = (r, c) => picture[channels * (within(r) * SIDE + within(c)) + channel];
  const [across, down] = [column - left, row - top];
  const upper = value(top, left) + across * (value(top, left + 1) - value(top, left));
  const lower = value(top + 1, left) + across * (value(top + 1, left + 1) - value(top + 1, left));
  return upper + down * (lower - upper);
}

/** By how much most pixels of `same` are brighter now; of too few that are not clipped nothing is known. */
function ratioOf(before, now, motion, same) {
  const logs = [[], [], []];
  for (const p of same) {
    const [x, y] = placeOf(p, motion);
    const pairs = [0, 1, 2].map((c) => [before[3 * p + c], sampled(now, 3, x, y, c)]);
    if (!pairs.flat().every((value) => value > DARKEST && value < BRIGHTEST)) continue;
    pairs.forEach(([then, current], c) => logs[c].push(Math.log(current / then)));
  }
  return logs[0].length < LEAST_PIXELS ? [1, 1, 1] : logs.map((values) => Math.exp(median(values)));
}

function median(values) {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** A row of sums of things whose sRGB is `gain` times what it was. */
export function relit(row, gain) {
  const found = Float64Array.from(row);
  const turned = changeOf(gain);
  for (let i = 0; i < 3; i++) found[1 + i] = turned[i].reduce((sum, value, j) => sum + value * row[1 + j], 0);
  const second = [[0, 0, 0], [0, 0, 0], [0, 0, 0]];
  PAIRS.forEach(([i, j], k) => { second[i][j] = second[j][i] = row[4 + k]; });
  PAIRS.forEach(([i, j], k) => {
    let sum = 0;
    for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++) sum += turned[i][a] * second[a][b] * turned[j][b];
    found[4 + k] = sum;
  });
  moveBins(row, found, gain);
  return found;
}

/** What `gain` does to opponent colours: OPPONENT diag(gain) OPPONENT^-1. */
function changeOf(gain) {
  const [[a, b, c], [d, e, f], [g, h, i]] = OPPONENT;
  const determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  const inverse = [
    [e * i - f * h, c * h - b * i, b * f - c * e],
    [f * g - d * i, a * i - c * g, c * d - a * f],
    [d * h - e * g, b * g - a * h, a * e - b * d],
  ].map((row) => row.map((value) => value / determinant));
  return OPPONENT.map((row) => [0, 1, 2].map((j) => row.reduce((s, value, k) => s + value * gain[k] * inverse[k][j], 0)));
}

/** The histogram of a row, each bin moved to where its mean luma comes to lie, shared by the two bins there. */
function moveBins(row, found, gain) {
  found.fill(0, 10, 10 + 4 * BINS);
  for (let bin = 0; bin < BINS; bin++) {
    const [mass, ...colour] = row.slice(10 + 4 * bin, 14 + 4 * bin);
    const brighter = colour.map((value, c) => value * gain[c]);
    const rise = brighter.reduce((sum, value, c) => sum + LUMA[c] * (value - colour[c]), 0);
    const place = Math.min(Math.max(bin + (BINS * rise) / Math.max(mass, 1e-12), 0), BINS - 1);
    for (const to of [Math.floor(place), Math.floor(place) + 1]) {
      const share = Math.max(0, 1 - Math.abs(place - to));
      if (share > 0) [mass, ...brighter].forEach((value, k) => { found[10 + 4 * to + k] += share * value; });
    }
  }
}
