// The worker of LocalPredictor: everything between a thumbnail and a smoothed grid, off the thread that draws.
// It is sent {id, call, given} and answers {id, value} or {id, error}, in the order of the calls.

import { SceneMemory } from "./memory.js";
import { fetched, Networks } from "./networks.js";
import { readPhoto } from "./photo.js";
import { confident, mixed, NO_REGIONS, RegionSmoother } from "./regions.js";
import { blend, CutDetector, halfFloats, Smoother } from "./smoother.js";

/** Seconds: within a shot, regions are found five times a second, and twice as often while the picture moves by more
 * than this share of it (infer/scene/stylizer.py). */
const REGION_PERIOD = 0.2;
const TURNED = 0.02;
/** Seconds over which their maps are averaged (infer/smoothing.py). */
const REGION_SECONDS = 0.35;
/** So many photographs are kept as looks; the oldest is dropped. */
const MAX_PHOTOS = 64;

const smoother = new Smoother();
const regionSmoother = new RegionSmoother(REGION_SECONDS);
const cuts = new CutDetector();
/** Looks by name: those of the site as they are asked for, and those of photographs. */
const known = new Map();
const photos = [];
let base, site, networks;
/** From one look to another, from the moment of the first frame after it was asked for (ms). */
let fade = null;
let look = null;
/** What was seen of the scene by `look`, and by the look that fades away. */
let memory = null;
let faded = null;
/** The regions of the last thumbnail in which they were looked for, and its time in seconds. */
let found = { regions: NO_REGIONS, time: null, turned: 0 };

const calls = {
  async start({ base: where }) {
    base = where;
    site = await (await fetched(new URL("site.json", base))).json();
    networks = await Networks.open(base, site.regions);
    look = await lookOf(site.looks[0]);
    memory = new SceneMemory(networks.manifest.slots, networks.manifest.remembered);
    const looks = site.looks.map((name) => ({ name, preview: fileOf(name, "jpg").href }));
    return { size: networks.size, grid: networks.grid, looks, model: networks.manifest.model };
  },

  async setLook({ name, seconds }) {
    const to = await lookOf(name);
    faded = memory;
    memory = await memory.retold(({ thumbnail, regions }) => networks.predict(thumbnail, regions, to));
    fade = { from: look, to, began: null, seconds };
    if (!seconds) smoother.reset(); // it is there at once
  },

  async addLook({ file, name }) {
    const { thumbnail, preview } = await readPhoto(file, networks.size);
    const own = await networks.encode(thumbnail);
    const free = freeName(name);
    known.set(free, own);
    photos.push(free);
    if (photos.length > MAX_PHOTOS) known.delete(photos.shift());
    return { name: free, preview };
  },

  async predict({ rgb, time }) {
    const began = performance.now();
    const seconds = time / 1000;
    const fresh = cuts.update(rgb, networks.size, seconds);
    const way = fadeOf(time);
    look = fade === null ? look : fadedLook(way);
    if (fresh) {
      memory.forget();
      faded = null;
    }
    memory.follow(rgb, networks.size);
    const regions = await regionsAt(rgb, seconds, fresh);
    const { coefficients, sums, names } = await networks.predict(rgb, regions, look, (known) => told(known, way));
    if (fade === null) memory.remember(sums, { thumbnail: rgb, regions, gain: memory.gain }, names, seconds);
    const grid = halfFloats(smoother.update(coefficients, seconds, fresh));
    return { grid, milliseconds: performance.now() - began };
  },
};

async function regionsAt(rgb, seconds, fresh) {
  const { moved } = memory.light;
  if (!fresh && found.time !== null && moved !== null) {
    found = { ...found, regions: regionSmoother.move(moved) };
    found.turned += Math.max(Math.abs(moved[2]), Math.abs(moved[5])) / 2;
  }
  const period = REGION_PERIOD / (found.turned > TURNED ? 2 : 1);
  const passed = found.time === null ? -1 : seconds - found.time;
  if (site.regions && (fresh || !(passed >= 0 && passed < period))) {
    const seen = memory.named(await networks.segment(rgb), rgb, networks.size, seconds);
    found = { regions: regionSmoother.update(confident(seen), seconds, fresh), time: seconds, turned: 0 };
  }
  return found.regions;
}

/** How far the fade is at `time` (ms), 0 to 1; 1 without one. */
function fadeOf(time) {
  if (fade === null) return 1;
  fade.began ??= time;
  return fade.seconds ? Math.min(Math.max((time - fade.began) / (1000 * fade.seconds), 0), 1) : 1;
}

/** The look so far on its way; at its end the fade is over. */
function fadedLook(way) {
  const { from, to } = fade;
  if (way === 1) fade = null;
  return way === 1 ? to : mixed(from, to, way, networks.manifest.code);
}

/** What was seen of the scene: during a fade by both looks, the more by the one that is nearer. */
function told(names, way) {
  const now = memory.recall(names);
  if (fade === null || faded === null || now === null) return now;
  faded.gain = memory.gain;
  const before = faded.recall(names);
  return before === null ? now : blend(before, now, way);
}

async function lookOf(name) {
  if (!known.has(name)) {
    if (!site.looks.includes(name)) throw new Error(`there is no look named ${name}`);
    const { model, names, shares, codes, tones } = await (await fetched(fileOf(name, "json"))).json();
    if (model !== networks.manifest.model) throw new Error(`the look ${name} is of another model: reload the page`);
    known.set(name, { names, shares, codes: numbersOf(codes), tones: numbersOf(tones) });
  }
  return known.get(name);
}

function fileOf(name, suffix) {
  return new URL(`looks/${encodeURIComponent(name)}.${suffix}`, base);
}

/** Base64 of little-endian float32 to a Float32Array. */
function numbersOf(text) {
  return new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}

function freeName(wanted) {
  const taken = (name) => known.has(name) || site.looks.includes(name);
  let name = wanted;
  for (let i = 2; taken(name); i++) name = `${wanted} ${i}`;
  return name;
}

async function answer({ id, call, given }) {
  try {
    const value = await calls[call](given);
    self.postMessage({ id, value }, value?.grid instanceof Uint16Array ? [value.grid.buffer] : []);
  } catch (error) {
    self.postMessage({ id, error: error.message || String(error) });
  }
}

// One after another: the networks share one memory, and a look that is being read must not be overtaken.
let queue = Promise.resolve();
self.onmessage = ({ data }) => { queue = queue.then(() => answer(data)); };
