// Coefficients that follow the light without flicker, and what finds cuts: the same arithmetic as
// infer/scene/smoother.py and infer/scene/scene_cut.py, whose comments say why. Plain functions and classes: they run in
// a worker and in node alike.

const SECONDS = 0.1;
const FAR = 0.05;
const THRESHOLD = 0.5;
const SIZE = 32;
const BINS = 8;

/** (1 - t) a + t b, as float32. */
export function blend(a, b, t) {
  const weight = Math.fround(t);
  return a.map((value, i) => value + weight * (b[i] - value));
}

/** Exponential moving average of coefficients (Float32Array), started afresh at a cut; `seconds` 0 switches it off. */
export class Smoother {
  constructor(seconds = SECONDS) {
    this.seconds = seconds;
    this.average = null;
    this.time = 0;
  }

  /** The smoothed coefficients at `time` seconds, given the predicted ones; `fresh` at the start of a shot. */
  update(coefficients, time, fresh = false) {
    if (this.average === null || fresh || time < this.time) {
      this.average = coefficients;
    } else {
      this.average = blend(this.average, coefficients, this.#weight(coefficients, time - this.time));
    }
    this.time = time;
    return this.average;
  }

  #weight(coefficients, passed) {
    if (!this.seconds) return 1;
    const far = meanDistance(coefficients, this.average) / FAR;
    const decay = Math.exp((-2 * passed) / this.seconds);
    return 1 - Math.sqrt(decay / (1 + far ** 2 * (1 - decay)));
  }

  /** Forget everything: the next frame is the first. */
  reset() {
    this.average = null;
  }
}

/** Says of each frame whether it is the first of a shot. */
export class CutDetector {
  constructor() {
    this.before = null;
    this.time = 0;
  }

  /** True for the first frame, after a cut, and where time goes back; `thumbnail` of size x size x 3 bytes, sRGB. */
  update(thumbnail, size, time) {
    const [before, after] = [this.before, summary(thumbnail, size)];
    const backwards = time < this.time;
    this.before = after;
    this.time = time;
    return before === null || backwards || distance(before, after) > THRESHOLD;
  }
}

/** 0 (the same picture) to 1 for two thumbnails of size x size x 3 bytes. */
export function cutScore(before, after, size) {
  return distance(summary(before, size), summary(after, size));
}

function summary(thumbnail, size) {
  return { grey: standardised(areaAverage(thumbnail, size)), histogram: blurred(counted(thumbnail)) };
}

/** The geometric mean of 1 - correlation of the grey copies and of the share of pixels that changed their bin. */
function distance(before, after) {
  const correlation = before.grey.reduce((sum, value, i) => sum + value * after.grey[i], 0) / before.grey.length;
  const structure = Math.min(Math.max(1 - correlation, 0), 1);
  const changed = 0.5 * before.histogram.reduce((sum, value, i) => sum + Math.abs(value - after.histogram[i]), 0);
  return Math.sqrt(structure * changed);
}

/** `small` x `small` x 3 whole levels: the mean over the exact area of each pixel. */
export function areaAverage(thumbnail, size, small = SIZE) {
  const shares = sharesOf(size, small);
  const sums = new Float64Array(small * small * 3);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const from = 3 * (y * size + x);
      for (const [row, high] of shares[y]) {
        for (const [column, wide] of shares[x]) {
          const to = 3 * (row * small + column);
          for (let c = 0; c < 3; c++) sums[to + c] += high * wide * thumbnail[from + c];
        }
      }
    }
  }
  return sums.map(rounded);
}

/** Of each of `from` pixels in a row: which of `to` larger ones it falls into, and its part in their mean. */
export function sharesOf(from, to) {
  return Array.from({ length: from }, (_, i) => {
    const [begin, end] = [(i * to) / from, ((i + 1) * to) / from];
    const first = Math.floor(begin);
    const border = Math.min(end, first + 1);
    const second = end - border > 1e-9 ? [[first + 1, end - border]] : [];
    return [[first, border - begin], ...second];
  });
}

/** To the nearest whole number, halves to the even one. */
export function rounded(value) {
  const low = Math.floor(value);
  const rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
}

/** Luma in whole levels, brought to mean 0 and contrast 1. */
function standardised(small) {
  const grey = new Float64Array(small.length / 3);
  for (let i = 0; i < grey.length; i++) {
    // Weights of 32768 in all, as OpenCV has them.
    grey[i] = (9798 * small[3 * i] + 19235 * small[3 * i + 1] + 3735 * small[3 * i + 2] + 16384) >> 15;
  }
  const mean = grey.reduce((sum, value) => sum + value, 0) / grey.length;
  const deviation = Math.sqrt(grey.reduce((sum, value) => sum + (value - mean) ** 2, 0) / grey.length);
  return grey.map((value) => (value - mean) / (deviation + 0.2));
}

/** Share of the pixels in each of BINS x BINS x BINS bins of colour. */
function counted(thumbnail) {
  const share = 3 / thumbnail.length;
  const bins = new Float64Array(BINS ** 3);
  for (let i = 0; i < thumbnail.length; i += 3) {
    bins[((thumbnail[i] >> 5) * BINS + (thumbnail[i + 1] >> 5)) * BINS + (thumbnail[i + 2] >> 5)] += share;
  }
  return bins;
}

/** The bins as a table of 64 rows (red, green) and 8 columns (blue), through a 3x3 Gaussian with mirrored borders. */
function blurred(bins) {
  const [rows, columns] = [BINS * BINS, BINS];
  const mirrored = (i, count) => (i < 0 ? 1 : i === count ? count - 2 : i);
  const across = bins.map((value, i) => {
    const [row, column] = [i - (i % columns), i % columns];
    return (bins[row + mirrored(column - 1, columns)] + 2 * value + bins[row + mirrored(column + 1, columns)]) / 4;
  });
  return across.map((value, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const near = across[mirrored(row - 1, rows) * columns + column] + across[mirrored(row + 1, rows) * columns + column];
    return (near + 2 * value) / 4;
  });
}

function meanDistance(a, b) {
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]), 0) / a.length;
}

/** Float32Array to half floats (Uint16Array), to the nearest, halves to even; too large becomes infinity. */
export function halfFloats(values) {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(bits.length);
  bits.forEach((value, i) => { halves[i] = halfOf(value); });
  return halves;
}

function halfOf(bits) {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // not a number
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    // The exponent counts from another place; what is cut off, 13 bits, is rounded. A carry goes into the exponent.
    return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  }
  const shift = 126 - (magnitude >>> 23); // below the smallest normal half: steps of 2^-24
  if (shift > 24) return sign;
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  return sign | rounded(fraction / 2 ** shift);
}
