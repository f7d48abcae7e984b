// Grids from `hueglass serve`: a thumbnail goes out over a WebSocket, the smoothed grid comes back.
//
// After start() a lost connection is taken up again, with the look that was chosen; onTrouble says so, and says "" when
// all is well again.

import { halfFloats } from "./smoother.js";

const SILENCE = 5000;     // milliseconds after which an answer is no longer expected
const SILENT = "The server does not answer. Start `hueglass serve` and open the link that it prints.";
const STEP = 1 / 256;     // of coefficients, as the server rounds them (infer/screen/web/messages.py)
const UPLOAD_SIDE = 2048; // a reference photo is sent no larger than this: the network sees far fewer pixels

export class ServerPredictor {
  onGrid = () => {};
  onTrouble = () => {};

  #base;
  #socket = null;
  #closed = false;
  #pause = 500;      // milliseconds before the next attempt
  #sequence = 0;
  #asked = null;     // {sequence, time, sent} of the thumbnail under way
  #answers = [];     // {name, resolve, reject} of setLook calls under way
  #look = null;
  #troubled = false; // the server said that it cannot predict
  #sizes = null;     // {size, grid} of the hello
  #packing = null;   // what of the connection's grids is kept, and when the last one is unpacked

  // `url`: where the server's page is.
  constructor(url) {
    this.#base = new URL(url, document.baseURI);
  }

  async start() {
    const hello = await this.#connect();
    return { size: hello.size, grid: hello.grid, looks: hello.looks, model: hello.model };
  }

  predict(rgb, time) {
    const now = performance.now();
    if (this.#asked && now - this.#asked.sent > SILENCE) this.#expire();
    if (this.#asked || this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#sequence = (this.#sequence + 1) >>> 0;
    const message = new Uint8Array(8 + rgb.length);
    const head = new DataView(message.buffer);
    head.setUint32(0, this.#sequence, true);
    head.setUint32(4, Math.round(time) >>> 0, true);
    message.set(rgb, 8);
    this.#socket.send(message);
    this.#asked = { sequence: this.#sequence, time, sent: now };
    return true;
  }

  // Without a connection the look is kept, and asked for when there is one again.
  async setLook(name, fadeSeconds) {
    this.#look = name;
    if (this.#socket?.readyState === WebSocket.OPEN) await this.#askLook(name, fadeSeconds);
  }

  async addLook(file) {
    const body = await smaller(file);
    let answer;
    try {
      const headers = { "Content-Type": body.type };
      const address = new URL("api/looks", this.#base);
      answer = await fetch(address, { method: "POST", body, headers, credentials: "same-origin" });
    } catch {
      throw new Error("The photo did not reach the server. Is the connection there?");
    }
    if (answer.status !== 201) throw new Error(await refusal(answer));
    return answer.json();
  }

  close() {
    this.#closed = true;
    this.#forget();
    this.#socket?.close();
  }

  #connect() {
    const address = new URL("ws", this.#base);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    return new Promise((resolve, reject) => {
      let greeted = false;
      const late = setTimeout(() => socket.close(), 2 * SILENCE);
      socket.onmessage = ({ data }) => {
        if (typeof data !== "string") return void this.#receiveGrid(data);
        const message = JSON.parse(data);
        if (message.type !== "hello") return this.#receiveText(message);
        clearTimeout(late);
        greeted = true;
        this.#pause = 500;
        this.#sizes = { size: message.size, grid: message.grid };
        this.#packing = { steps: new Int16Array(message.grid.reduce((a, b) => a * b)), last: Promise.resolve() };
        resolve(message);
      };
      socket.onclose = ({ reason }) => {
        clearTimeout(late);
        const why = reason && `The server ended the connection: ${reason}`;
        if (greeted) this.#lost(why || "The connection to the server is lost. Trying again.");
        else reject(new Error(why || SILENT));
      };
    });
  }

  async #receiveGrid(data) {
    const head = new DataView(data);
    const sequence = head.getUint32(0, true);
    const packing = this.#packing;
    packing.last = packing.last.then(() => unpacked(data.slice(8), this.#sizes.grid, packing));
    const grid = await packing.last.catch(() => null);
    if (packing !== this.#packing || sequence !== this.#asked?.sequence) return;
    if (grid === null) return this.#expire();
    const { time } = this.#asked;
    this.#asked = null;
    if (this.#troubled) this.onTrouble("");
    this.#troubled = false;
    this.onGrid(grid, { time, milliseconds: head.getUint32(4, true) / 1000 });
  }

  #receiveText(message) {
    if (message.type === "look") {
      const at = this.#answers.findIndex(({ name }) => name === message.name);
      if (at >= 0) this.#answers.splice(at, 1)[0].resolve();
    } else if (message.type === "error") {
      const waiting = this.#answers.shift();
      if (waiting) return waiting.reject(new Error(message.message));
      this.#asked = null; // no grid comes of it
      this.#troubled = true;
      this.onTrouble(message.message);
    }
  }

  #askLook(name, fade) {
    this.#socket.send(JSON.stringify({ type: "look", name, fade }));
    return new Promise((resolve, reject) => this.#answers.push({ name, resolve, reject }));
  }

  // Gives up an answer; and the connection too, unless it is known why: the browser itself would notice minutes later.
  #expire() {
    this.#asked = null;
    if (this.#troubled) return;
    this.#socket.onclose = null;
    this.#socket.onmessage = null;
    this.#socket.close();
    this.#lost("The server has stopped answering. Trying again.");
  }

  #lost(message) {
    this.#forget();
    this.#troubled = false;
    if (this.#closed) return;
    this.onTrouble(message);
    setTimeout(() => this.#again(), this.#pause);
    this.#pause = Math.min(2 * this.#pause, 8000);
  }

  async #again() {
    if (this.#closed) return;
    const before = String(this.#sizes.grid);
    try {
      await this.#connect();
    } catch (error) {
      return this.#lost(error.message);
    }
    if (String(this.#sizes.grid) !== before) {
      this.close();
      return this.onTrouble("The server has another model now. Reload the page.");
    }
    this.onTrouble("");
    if (this.#look === null) return;
    try {
      await this.#askLook(this.#look, 0);
    } catch (error) { // a server that was started anew has no looks of photos
      this.#look = null;
      this.onTrouble(error.message);
      setTimeout(() => this.onTrouble(""), SILENCE);
    }
  }

  #forget() {
    this.#asked = null;
    for (const { resolve } of this.#answers.splice(0)) resolve(); // asked for again with the next connection
  }
}

// Half floats (Uint16Array) of a grid of that shape: see `Packing` there. Of the packing the steps become this grid's.
async function unpacked(message, [depth, height, width, entries], { steps }) {
  const whole = new Blob([message.slice(1)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const bytes = new Uint8Array(await new Response(whole).arrayBuffer());
  if (bytes.length !== 2 * steps.length) throw new Error("a grid of another size");
  const alone = new Uint8Array(message)[0] === 0;
  const plane = height * width;
  const grid = new Float32Array(steps.length);
  for (let at = 0; at < steps.length; at++) {
    const zigzag = bytes[at] | (bytes[steps.length + at] << 8);
    const [map, p] = [Math.floor(at / plane), at % plane]; // an entry at a depth
    const [x, y] = [p % width, Math.floor(p / width)];
    const expected = (x ? steps[at - 1] : 0) + (y ? steps[at - width] : 0) - (x && y ? steps[at - width - 1] : 0);
    steps[at] = (alone ? expected : steps[at]) + ((zigzag >> 1) ^ -(zigzag & 1));
    grid[((map % depth) * plane + p) * entries + Math.floor(map / depth)] = steps[at] * STEP;
  }
  return halfFloats(grid);
}

// The photo as the server takes it: JPEG, PNG or WebP of a sensible size, turned as its camera was held.
async function smaller(file) {
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    throw new Error("This file is not a photo that the browser can read. JPEG, PNG and WebP work.");
  }
  const scale = Math.min(1, UPLOAD_SIDE / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  if (!blob) throw new Error("This photo is too large for the browser.");
  return blob;
}

async function refusal(answer) {
  const text = await answer.text();
  try {
    const body = JSON.parse(text);
    const said = body.message ?? body.error ?? body.detail;
    if (typeof said === "string") return said;
  } catch {
    const words = answer.headers.get("Content-Type")?.startsWith("text/plain") && text.length < 200;
    if (words) return `The server did not take the photo: ${text}`;
  }
  return `The server did not take the photo (status ${answer.status}).`;
}
