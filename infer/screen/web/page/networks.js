// The networks of a site, run by onnxruntime-web. Nothing here knows of frames or time.

import * as ort from "../vendor/ort.wasm.min.mjs";

import { assign, confident, named, NO_REGIONS, present } from "./regions.js";

const MAX_THREADS = 4;

export class Networks {
  /**
   * `base`: URL of the site's folder, with a slash at its end; with `regions`, it has a segmenter. Rejects with an Error
   * in plain words.
   */
  static async open(base, regions = false, threads = threadsHere()) {
    ort.env.wasm.wasmPaths = new URL("vendor/", base).href;
    ort.env.wasm.numThreads = threads;
    const networks = new Networks();
    networks.base = base;
    networks.manifest = await (await fetched(new URL("model/bundle.json", base))).json();
    networks.student = await networks.#session("student.onnx");
    if (regions) networks.segmenter = await networks.#session("segmenter.onnx");
    return networks;
  }

  async #session(name) {
    const response = await fetched(new URL(`model/${name}`, this.base));
    try {
      return await ort.InferenceSession.create(await response.arrayBuffer(), { executionProviders: ["wasm"] });
    } catch (error) {
      throw new Error(`the network ${name} cannot be run in this browser: ${error.message}`);
    }
  }

  get size() {
    return this.manifest.thumbnail;
  }

  /** Depth, height, width and 12: the shape of what `predict` gives. */
  get grid() {
    return [this.manifest.depth, this.manifest.cells, this.manifest.cells, 12];
  }

  /** The regions that a thumbnail of size x size x 3 bytes shows. */
  async segment(thumbnail) {
    if (this.segmenter === undefined) return NO_REGIONS;
    const { maps } = await this.segmenter.run({ thumbnail: this.#planar(thumbnail) });
    return named(maps.data, this.manifest.regions);
  }

  /**
   * {coefficients, sums, names} for a thumbnail of size x size x 3 bytes, its regions, and a look: the first two
   * Float32Arrays in C order, `names` of the regions that the look knows. `recall` gives what is known of the scene around
   * regions of such names, as sums; null: nothing.
   */
  async predict(thumbnail, regions, look, recall = () => null) {
    const { maps, codes, names } = assign(look, regions, this.manifest);
    const { slots, tones, code, remembered } = this.manifest;
    const rows = slots + tones + 1;
    const told = recall(names) ?? new Float32Array(rows * remembered);
    const { coefficients, sums } = await this.student.run({
      thumbnail: this.#planar(thumbnail),
      regions: this.#slots(maps),
      codes: new ort.Tensor("float32", codes, [1, codes.length / code, code]),
      memory: new ort.Tensor("float32", told, [1, rows, remembered]),
    });
    return { coefficients: coefficients.data, sums: sums.data, names };
  }

  /** The look of a reference photograph, from its thumbnail; loads the encoder when it is first needed. */
  async encode(thumbnail) {
    this.encoder ??= await this.#session("look_encoder.onnx");
    const { slots, code } = this.manifest;
    const found = this.segmenter === undefined ? NO_REGIONS : present(confident(await this.segment(thumbnail)));
    const names = found.names.slice(0, slots);
    const maps = new Float32Array(slots * this.#mapPixels);
    maps.set(found.maps.subarray(0, names.length * this.#mapPixels));
    const { codes } = await this.encoder.run({ reference: this.#planar(thumbnail), regions: this.#slots(maps) });
    const [own, tones] = [codes.data.slice(0, names.length * code), codes.data.slice(slots * code)];
    return { names, shares: names.map(() => 1), codes: own, tones };
  }

  #planar(thumbnail) {
    const pixels = this.size ** 2;
    const planes = new Float32Array(3 * pixels);
    for (let i = 0; i < pixels; i++) {
      for (let c = 0; c < 3; c++) planes[c * pixels + i] = thumbnail[3 * i + c] / 255;
    }
    return new ort.Tensor("float32", planes, [1, 3, this.size, this.size]);
  }

  /** Maps of all slots, as the networks take them. */
  #slots(maps) {
    const side = this.size / 2;
    return new ort.Tensor("float32", maps, [1, this.manifest.slots, side, side]);
  }

  get #mapPixels() {
    return (this.size / 2) ** 2;
  }
}

/**
 * Threads need shared memory, which a page has where its host sends the two headers that isolate it. One core is left to
 * the picture.
 */
function threadsHere() {
  const cores = navigator.hardwareConcurrency || 1;
  return self.crossOriginIsolated ? Math.min(MAX_THREADS, Math.max(1, cores - 1)) : 1;
}

/** The answer to a GET; an Error that names the file if there is none. */
export async function fetched(url) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) {
    throw new Error(`${url.pathname} cannot be loaded (${response ? response.status : "no connection"}): reload the page`);
  }
  return response;
}
