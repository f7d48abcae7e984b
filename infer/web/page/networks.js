// The student and the look encoder of a site, run by onnxruntime-web. Nothing here knows of frames, time or looks' names.

import * as ort from "../vendor/ort.wasm.min.mjs";

const MAX_THREADS = 4;

export class Networks {
  /** `base`: URL of the site's folder, with a slash at its end. Rejects with an Error in plain words. */
  static async open(base, threads = threadsHere()) {
    ort.env.wasm.wasmPaths = new URL("vendor/", base).href;
    ort.env.wasm.numThreads = threads;
    const networks = new Networks();
    networks.base = base;
    networks.manifest = await (await fetched(new URL("model/bundle.json", base))).json();
    networks.student = await networks.#session("student.onnx");
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

  /** Coefficients (Float32Array, C order) for a thumbnail of size x size x 3 bytes and the tones of a look. */
  async predict(thumbnail, tones) {
    const { slots, code } = this.manifest;
    const codes = new Float32Array(slots * code + tones.length);
    codes.set(tones, slots * code); // nothing is known of regions: their codes and maps are zero
    const { coefficients } = await this.student.run({
      thumbnail: this.#planar(thumbnail),
      regions: this.#noRegions(),
      codes: new ort.Tensor("float32", codes, [1, codes.length / code, code]),
    });
    return coefficients.data;
  }

  /** Tones (Float32Array) of a reference photograph, from its thumbnail; loads the encoder when it is first needed. */
  async encode(thumbnail) {
    this.encoder ??= await this.#session("look_encoder.onnx");
    const { slots, code } = this.manifest;
    const { codes } = await this.encoder.run({ reference: this.#planar(thumbnail), regions: this.#noRegions() });
    return codes.data.slice(slots * code);
  }

  #planar(thumbnail) {
    const pixels = this.size ** 2;
    const planes = new Float32Array(3 * pixels);
    for (let i = 0; i < pixels; i++) {
      for (let c = 0; c < 3; c++) planes[c * pixels + i] = thumbnail[3 * i + c] / 255;
    }
    return new ort.Tensor("float32", planes, [1, 3, this.size, this.size]);
  }

  #noRegions() {
    const { slots, thumbnail } = this.manifest;
    const side = thumbnail / 2;
    return new ort.Tensor("float32", new Float32Array(slots * side * side), [1, slots, side, side]);
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
