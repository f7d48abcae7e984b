// What has been seen of a scene: the same arithmetic as infer/scene/memory.py, whose comments say why. A row is a
// Float64Array of sums; regions are rows by their names.

import { LightFollower, relit } from "./light.js";
import { Places } from "./places.js";

const SECONDS = 600;
const GROWTH = 0.1;
const WEIGHT = 1000;
const SLIVER = 0.002;
const NOTHING = 1e-12;
const FAINT = 0.01;
const PICTURES = 4;
const NEW = 0.15;

export class SceneMemory {
  /** `slots`: regions that the student takes; `remembered`: numbers in a row. */
  constructor(slots, remembered, seconds = SECONDS) {
    Object.assign(this, { slots, remembered, seconds, began: 0, time: 0, light: new LightFollower() });
    this.forget();
  }

  forget() {
    Object.assign(this, { regions: new Map(), rest: null, gain: [1, 1, 1], pictures: [], pictured: new Map() });
    Object.assign(this, { places: new Places(), namedAt: 0 });
    this.light.forget();
  }

  get known() {
    return this.rest === null ? 0 : this.time - this.began;
  }

  /** Everything that was seen is from now on in the light of this thumbnail. */
  follow(thumbnail, size) {
    const change = this.light.update(thumbnail, size).map(Math.log);
    this.gain = change.map((value) => Math.exp(Math.sign(value) * Math.max(Math.abs(value) - FAINT, 0)));
  }

  /** What a segmenter found in the frame that was followed last, in the light of what it found there before. */
  named(found, thumbnail, size, time) {
    const passed = Math.max(time - this.namedAt, 0);
    this.namedAt = time;
    const renewed = -Math.expm1(-passed / (GROWTH * this.seconds));
    return this.places.named(found, thumbnail, size, this.light, this.gain, renewed);
  }

  /** What the student is told (Float32Array, row after row) of regions `names` in its first slots; null: of nothing. */
  recall(names) {
    if (this.rest === null) return null;
    const told = new Float32Array((this.slots + this.rest.length) * this.remembered);
    const put = (row, index) => told.set(relit(row, this.gain).map((value) => WEIGHT * value), index * this.remembered);
    names.forEach((name, slot) => { if (this.regions.has(name)) put(this.regions.get(name), slot); });
    this.rest.forEach((row, i) => put(row, this.slots + i));
    return told;
  }

  /** Take in the sums (Float32Array) of a frame, `picture` {thumbnail, regions, gain}, with `names` in its first slots. */
  remember(sums, picture, names, time) {
    if (this.rest === null) this.began = this.time = time;
    const rows = this.#rows(sums);
    this.#take(rows, picture.gain, names, Math.max(time - this.time, 0));
    this.time = time;
    this.#keep(picture, rows, names);
  }

  /** The memory that another look has of the scene; `tell` gives the sums and names of a picture by it, in time. */
  async retold(tell) {
    const other = new SceneMemory(this.slots, this.remembered, this.seconds);
    const { began, time, light, gain, pictures, pictured, places, namedAt } = this;
    Object.assign(other, { began, time, light, gain, pictures, pictured, places, namedAt });
    for (const picture of this.pictures) {
      const { sums, names } = await tell(picture);
      other.#take(other.#rows(sums), picture.gain, names, GROWTH * this.seconds);
    }
    return other;
  }

  #rows(sums) {
    const count = sums.length / this.remembered;
    const row = (_, i) => Float64Array.from(sums.subarray(i * this.remembered, (i + 1) * this.remembered));
    return Array.from({ length: count }, row);
  }

  #take(rows, gain, names, passed) {
    const back = gain.map((value) => 1 / value);
    const renew = (kept, row) => renewed(kept, relit(row, back), passed, this.seconds);
    names.forEach((name, slot) => this.regions.set(name, renew(this.regions.get(name), rows[slot])));
    this.rest = rows.slice(this.slots).map((row, i) => renew(this.rest?.[i], row));
  }

  #keep(picture, rows, names) {
    if (this.pictures.length === PICTURES) return;
    const tones = rows.slice(this.slots, -1).map((row, i) => [String(i), row[0]]);
    const masses = [...names.map((name, slot) => [name, rows[slot][0]]), ...tones];
    const beyond = ([name, mass]) => Math.max(mass - (this.pictured.get(name) ?? 0), 0);
    if (this.pictures.length && masses.reduce((sum, one) => sum + beyond(one), 0) <= NEW) return;
    this.pictures.push(picture);
    masses.forEach(([name, mass]) => this.pictured.set(name, Math.max(mass, this.pictured.get(name) ?? 0)));
  }
}

/** A row `passed` seconds later, now that `seen` is in the picture. */
function renewed(kept, seen, passed, seconds) {
  if (kept === undefined || kept[0] <= NOTHING) return seen;
  const [mass, now] = [kept[0], seen[0]];
  const replaced = -Math.expm1(-passed / seconds) * Math.min(mass, now);
  const more = Math.min(Math.max(now - mass, 0), mass + SLIVER);
  const added = -Math.expm1(-passed / (GROWTH * seconds)) * more;
  const [stays, comes] = [1 - replaced / (mass + NOTHING), (replaced + added) / (now + NOTHING)];
  return kept.map((value, i) => value * stays + seen[i] * comes);
}
