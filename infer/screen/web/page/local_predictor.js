// Prediction in the page itself, without a server: the static site's. The same face as ServerPredictor's.

export class LocalPredictor {
  /** `base`: URL of the site's folder; that of this module's site if left out. */
  constructor(base = new URL("..", import.meta.url)) {
    this.base = new URL(base, document.baseURI).href;
    this.onGrid = () => {};
    this.onTrouble = () => {};
    this.worker = null;
    this.waiting = new Map();
    this.lastId = 0;
    this.busy = false;
    this.previews = [];
  }

  /** {size, grid, looks, model}; rejects with an Error whose message a person understands. */
  async start() {
    if (!globalThis.Worker || !globalThis.WebAssembly || !globalThis.OffscreenCanvas) {
      throw new Error("this browser is too old: it lacks workers, WebAssembly or OffscreenCanvas");
    }
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.#settle(data);
    this.worker.onerror = (event) => this.#fail(event.message || "its program cannot be loaded: reload the page");
    try {
      return await this.#call("start", { base: this.base });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Starts a prediction; false, and the frame is dropped, while one is under way. `time` in milliseconds. */
  predict(rgb, time) {
    if (this.busy || this.worker === null) return false;
    this.busy = true;
    this.#call("predict", { rgb, time })
      .finally(() => { this.busy = false; })
      .then(({ grid, milliseconds }) => this.onGrid(grid, { time, milliseconds }))
      .catch((error) => this.onTrouble(error.message));
    return true;
  }

  /** Cross-fades to a look; with 0 seconds it is there at once. */
  async setLook(name, fadeSeconds = 0.6) {
    await this.#call("setLook", { name, seconds: fadeSeconds });
  }

  /** A photograph (File or Blob) becomes a look: {name, preview}. */
  async addLook(file) {
    const name = (file.name ?? "").replace(/\.[^.]*$/, "").slice(0, 64).trim() || "photo";
    const look = await this.#call("addLook", { file, name });
    const preview = URL.createObjectURL(look.preview);
    this.previews.push(preview);
    return { name: look.name, preview };
  }

  close() {
    this.worker?.terminate();
    this.worker = null;
    this.onTrouble = () => {};
    this.#rejectAll("the predictor is closed");
    this.previews.forEach((preview) => URL.revokeObjectURL(preview));
    this.previews = [];
  }

  #call(call, given) {
    if (this.worker === null) return Promise.reject(new Error("the predictor is closed"));
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, call, given });
    });
  }

  #settle({ id, value, error }) {
    const { resolve, reject } = this.waiting.get(id) ?? {};
    this.waiting.delete(id);
    if (error === undefined) resolve?.(value);
    else reject?.(new Error(error));
  }

  /** The worker itself broke: whoever waits is told, and so is the user. */
  #fail(reason) {
    const message = `the prediction stopped: ${reason}`;
    if (this.#rejectAll(message) === 0) this.onTrouble(message);
  }

  /** How many were waiting. */
  #rejectAll(message) {
    const waiting = [...this.waiting.values()];
    this.waiting.clear();
    waiting.forEach(({ reject }) => reject(new Error(message)));
    return waiting.length;
  }
}
