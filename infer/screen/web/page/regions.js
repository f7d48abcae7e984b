// What a segmenter finds, steady over time, and whose light each region takes: the same arithmetic as
// infer/regions/regions.py, infer/regions/region_smoother.py and infer/model/look.py, whose comments say why.
//
// Regions are {maps, names}: maps (Float32Array) one after another, `side` x `side` each, summing to at most 1 in a
// pixel. A look is {tones, codes, names, shares}: `tones` belong to the whole reference, `codes` to its regions, of which
// `shares` say how much takes them.

import { warped } from "./homography.js";
import { blend } from "./smoother.js";

const PRESENT = 0.01;
const [UNSURE, SURE] = [0.2, 0.6];
const [ENTERS, LEAVES] = [0.015, 0.005];
const LEAST_NAMED = 0.1;
const FADED = 1e-3;
const NOTHING = 1e-6;
const WHOLE = 0.999;
const MAX_REGIONS = 64;

/** Where nothing is known of the picture. */
export const NO_REGIONS = { maps: new Float32Array(0), names: [] };

/** What a segmenter gave, its scores scaled to sum to 1 in a pixel, or to less where none of them is likely. */
export function named(scores, names) {
  const maps = scores.map((value) => Math.max(value, 0));
  const totals = overRegions(maps, names.length, (sum, value) => sum + value);
  return { maps: scaled(maps, totals.map((total) => 1 / Math.max(total, LEAST_NAMED))), names };
}

/** A segmenter's maps with the likelier regions made likelier still, and unsure pixels left to nobody. */
export function confident({ maps, names }) {
  const likeliest = overRegions(maps, names.length, Math.max);
  const squares = maps.map((value) => value * value);
  const totals = overRegions(squares, names.length, (sum, value) => sum + value);
  const trust = likeliest.map((value, p) => {
    return Math.min(Math.max((value - UNSURE) / (SURE - UNSURE), 0), 1) / (totals[p] + 1e-6);
  });
  return { maps: scaled(squares, trust), names };
}

/** Those that were found in more than PRESENT of a single picture. */
export function present(regions) {
  const pixels = regions.maps.length / regions.names.length;
  return chosen(regions, shares(regions.maps, pixels).map((share) => share > PRESENT));
}

/** Maps that follow the frames, with a time constant in seconds, and regions that come and go without a pop. */
export class RegionSmoother {
  constructor(seconds) {
    this.seconds = seconds;
    this.average = null;
  }

  /** The regions as they are after the picture has moved by a homography of places in [-1, 1] (see light.js). */
  move(moved) {
    if (this.average !== null && this.names.length) {
      const side = Math.sqrt(this.known.length);
      this.average = warped(this.average, side, moved, side, true);
      this.known = warped(this.known, side, moved, side);
    }
    return this.#shown();
  }

  #shown() {
    return this.average === null ? NO_REGIONS : faded({ maps: this.average, names: this.names }, this.presence);
  }

  /** The regions that are there at `time` seconds, smoothed; `fresh` at the start of a shot. */
  update({ maps, names }, time, fresh = false) {
    let weight = 1;
    if (this.average === null || fresh || time < this.time) {
      this.average = maps.slice();
      this.names = names;
      this.there = names.map(() => false);
      this.presence = names.map(() => 0);
    } else {
      weight = this.seconds ? 1 - Math.exp((this.time - time) / this.seconds) : 1;
      const comes = (value, i) => (this.known[i % this.known.length] < WHOLE ? maps[i] : value); // into the picture
      this.average = blend(this.average.map(comes), maps, weight).map((value) => (value > NOTHING ? value : 0));
    }
    this.time = time;
    this.known = new Float32Array(maps.length / names.length).fill(1);
    const wide = shares(this.average, maps.length / names.length);
    this.there = wide.map((share, i) => share > (this.there[i] ? LEAVES : ENTERS));
    this.presence = this.presence.map((value, i) => {
      const goal = this.there[i] ? 1 : 0;
      const next = Math.fround(value + Math.fround(weight) * (goal - value));
      return Math.abs(next - goal) < FADED ? goal : next;
    });
    return this.#shown();
  }
}

/**
 * Those of any presence, each map times its own. What that frees in a pixel goes to the other regions there, in
 * proportion to what they have; where they have less than LEAST_NAMED, a part of it to none.
 */
function faded(regions, presence) {
  const found = chosen(regions, presence.map((value) => value > 0));
  const own = presence.filter((value) => value > 0);
  if (presence.every((value) => value === 1)) return found;
  const pixels = regions.maps.length / regions.names.length;
  const { maps } = found;
  for (let p = 0; p < pixels; p++) {
    let [total, freed] = [0, 0];
    for (let k = 0; k < own.length; k++) total += own[k] * maps[k * pixels + p];
    for (let i = 0; i < presence.length; i++) freed += presence[i] > 0 ? 0 : regions.maps[i * pixels + p];
    const left = own.map((value, k) => {
      const map = maps[k * pixels + p];
      return ((1 - value) * map) / Math.max(total - value * map, LEAST_NAMED);
    });
    const gain = freed / Math.max(total, LEAST_NAMED) + left.reduce((sum, value) => sum + value, 0) + 1;
    for (let k = 0; k < own.length; k++) maps[k * pixels + p] *= own[k] * (gain - left[k]);
  }
  return found;
}

/**
 * What the student of a manifest is given: the maps of the frame's regions that the look knows, one a slot, the look's
 * codes and tones, and the names of those regions. The student finds tones for whatever lies in no slot.
 */
export function assign(look, regions, { slots, code, thumbnail }) {
  const pixels = (thumbnail / 2) ** 2;
  const known = regions.names.map((name) => look.names.indexOf(name)).flatMap((own, i) => (own < 0 ? [] : [[i, own]]));
  const maps = new Float32Array(slots * pixels);
  const codes = new Float32Array(slots * code + look.tones.length);
  known.slice(0, slots).forEach(([i, own], slot) => {
    const share = look.shares[own];
    maps.set(regions.maps.subarray(i * pixels, (i + 1) * pixels).map((value) => value * share), slot * pixels);
    codes.set(look.codes.subarray(own * code, (own + 1) * code), slot * code);
  });
  codes.set(look.tones, slots * code);
  return { maps, codes, names: known.slice(0, slots).map(([i]) => regions.names[i]) };
}

/** A look on the way from `a` (weight 0) to `b` (weight 1); `code` is how many numbers a region has. */
export function mixed(a, b, weight, code) {
  const all = [...new Set([...a.names, ...b.names])].slice(0, MAX_REGIONS);
  const parts = all.map((name) => {
    const [mine, theirs] = [a, b].map((look) => look.names.indexOf(name));
    const own = mine < 0 ? 0 : (1 - weight) * a.shares[mine];
    const other = theirs < 0 ? 0 : weight * b.shares[theirs];
    return { name, mine, theirs, own, other, share: own + other };
  }).filter(({ share }) => share > 0);
  const codes = new Float32Array(parts.length * code);
  parts.forEach(({ mine, theirs, own, other, share }, i) => {
    for (let k = 0; k < code; k++) {
      const sum = (own && own * a.codes[mine * code + k]) + (other && other * b.codes[theirs * code + k]);
      codes[i * code + k] = sum / share;
    }
  });
  const [names, shares] = [parts.map(({ name }) => name), parts.map(({ share }) => share)];
  return { tones: blend(a.tones, b.tones, weight), codes, names, shares };
}

function chosen({ maps, names }, wanted) {
  const pixels = maps.length / names.length;
  const kept = names.flatMap((_, i) => (wanted[i] ? [i] : []));
  const found = new Float32Array(kept.length * pixels);
  kept.forEach((i, k) => found.set(maps.subarray(i * pixels, (i + 1) * pixels), k * pixels));
  return { maps: found, names: kept.map((i) => names[i]) };
}

/** Of each region, the mean of its map. */
function shares(maps, pixels) {
  return Array.from({ length: maps.length / pixels }, (_, i) => {
    let sum = 0;
    for (let p = i * pixels; p < (i + 1) * pixels; p++) sum += maps[p];
    return sum / pixels;
  });
}

/** Of each pixel, what its values in `count` maps come to, beginning with 0. */
function overRegions(maps, count, join) {
  const joined = new Float64Array(maps.length / count);
  for (let from = 0; from < maps.length; from += joined.length) {
    for (let p = 0; p < joined.length; p++) joined[p] = join(joined[p], maps[from + p]);
  }
  return joined;
}

/** Every map, in place, times `factors` of its pixels. */
function scaled(maps, factors) {
  for (let from = 0; from < maps.length; from += factors.length) {
    for (let p = 0; p < factors.length; p++) maps[from + p] *= factors[p];
  }
  return maps;
}
