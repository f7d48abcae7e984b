// The page: what is on the screen, and the loop that moves it.
//
// Every new frame is drawn through the newest grid, whatever the delay of the network: predictions run beside the
// picture and never hold it up. The address takes settings for kiosks and tests:
// ?clip=ADDRESS &look=NAME &strength=0..2 &split=0..1 &mirror=1 &whole=1 &stereo=1 &shift=PIXELS &barrel=1 &k1= &k2=
// &numbers=1 &controls=0

import { Renderer } from "./renderer.js";
import { Source } from "./camera.js";

const FADE = 0.6;         // seconds from one look to the next
const ANSWER = 2000;      // milliseconds until a prediction that does not come counts as lost
const POLL = 3;           // milliseconds between looks at whether a thumbnail is read
const REST = 6000;        // milliseconds until controls leave a side-by-side picture
const AGAIN = 3000;       // milliseconds until a server that does not answer is tried again
const asked = new URLSearchParams(location.search);
const at = (id) => document.getElementById(id);
const byName = (name) => app.looks.find((look) => look.name === name);

// In sight of tests and of the browser's console.
const app = {
  renderer: null, predictor: null, source: null, model: null, looks: [], look: null,
  counts: { drawn: 0, predicted: 0, dropped: 0 },
};
window.hueglass = app;

let stale = true;      // the canvas shows something older than what is known
let fresh = false;     // the video has a frame that is not uploaded
let unseen = false;    // the frame on the screen has not been given to the predictor
let waiting = 0;       // since when a prediction is under way, 0: none is
let frameTime = 0;     // when the frame on the screen came
let thumbnailTime = 0; // when the frame came that is being read as a thumbnail
let delay = null;      // from frame to grid, milliseconds
let lastTime = -1;     // of the video, where the browser does not announce frames
let trouble = "";      // of the predictor
let sourceTrouble = "";

// ---- the loop

function watchFrames(video) {
  if (!video.requestVideoFrameCallback) return;
  const seen = () => {
    fresh = true;
    video.requestVideoFrameCallback(seen);
  };
  video.requestVideoFrameCallback(seen);
}

function takeFrame(video, now) {
  if (!video.requestVideoFrameCallback && video.currentTime !== lastTime) fresh = true;
  if (!fresh || video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || !video.videoWidth) return;
  lastTime = video.currentTime;
  frameTime = now;
  fresh = false;
  app.renderer.setFrame(video);
  app.counts.drawn++;
  if (unseen) app.counts.dropped++;
  unseen = true;
  stale = true;
}

function fitCanvas() {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth, clientHeight } = app.renderer.canvas;
  const [width, height] = [clientWidth, clientHeight].map((length) => Math.max(1, Math.round(length * scale)));
  if (app.renderer.resize(width, height)) stale = true;
}

function predict() {
  if (waiting && performance.now() - waiting > ANSWER) waiting = 0;
  if (!app.model || !unseen || waiting || !app.renderer.startThumbnail(app.model.size)) return;
  thumbnailTime = frameTime;
  unseen = false;
  setTimeout(sendThumbnail, POLL);
}

// Not left to the next display frame: the grid would come that much later.
function sendThumbnail() {
  if (!app.renderer.reading) return; // the graphics driver was reset
  const rgb = app.renderer.takeThumbnail();
  if (!rgb) setTimeout(sendThumbnail, POLL);
  else if (app.predictor.predict(rgb, thumbnailTime)) waiting = performance.now();
  else unseen = true; // not taken: tried again, unless a newer frame comes first
}

function turn(now) {
  requestAnimationFrame(turn);
  takeFrame(at("video"), now);
  fitCanvas();
  predict();
  if (stale) app.renderer.draw();
  stale = false;
}

function takeGrid(grid, info) {
  waiting = 0;
  delay = performance.now() - info.time;
  app.counts.predicted++;
  app.renderer.setGrid(grid, app.model.grid);
  stale = true;
  predict();
}

function countEverySecond() {
  let before = { ...app.counts }, then = performance.now();
  setInterval(() => {
    const now = performance.now();
    const rate = (name) => ((app.counts[name] - before[name]) * 1000) / (now - then);
    const parts = [`${rate("drawn").toFixed(0)} fps`];
    if (app.model) parts.push(`${rate("predicted").toFixed(0)} predicted`, `${rate("dropped").toFixed(0)} dropped`);
    if (delay !== null) parts.push(`${delay.toFixed(0)} ms`);
    at("numbers").textContent = parts.map((part) => part.replace(" ", "\u00a0")).join(" · ");
    [before, then] = [{ ...app.counts }, now];
  }, 1000);
}

// ---- what is said

const sentence = (text) => text.replace(/^./, (first) => first.toUpperCase());

function say() {
  const { hidden } = at("message");
  at("message").querySelector("p").textContent = sentence(sourceTrouble || trouble);
  at("message").hidden = !sourceTrouble && !trouble;
  for (const id of ["retry", "other"]) at(id).hidden = !sourceTrouble;
  if (hidden && sourceTrouble) wake();
}

function notice(text, seconds = 4) {
  at("notice").textContent = sentence(text);
  at("notice").hidden = !text;
  clearTimeout(notice.timer);
  if (text && seconds) notice.timer = setTimeout(() => notice(""), seconds * 1000);
}

// ---- looks

const spoken = (name) => sentence(name.replace(/[-_]+/g, " "));

function showLooks() {
  const tiles = app.looks.map(({ name, preview }) => {
    const tile = document.createElement("button");
    const picture = document.createElement("img");
    const label = document.createElement("span");
    tile.type = "button";
    tile.dataset.look = name;
    tile.ariaPressed = String(name === app.look);
    picture.src = new URL(preview, document.baseURI);
    picture.alt = "";
    picture.draggable = false;
    label.textContent = spoken(name);
    tile.append(picture, label);
    tile.onclick = () => chooseLook(name);
    return tile;
  });
  const add = document.createElement("button");
  add.type = "button";
  add.className = "add";
  add.innerHTML = "<b>+</b>From a photo";
  add.onclick = () => at("photos").click();
  at("looks").replaceChildren(...tiles, add);
}

async function chooseLook(name, fade = FADE) {
  app.look = name;
  for (const tile of at("looks").children) {
    if (tile.dataset.look) tile.ariaPressed = String(tile.dataset.look === name);
    if (tile.dataset.look === name) tile.scrollIntoView({ inline: "nearest", block: "nearest" });
  }
  if (document.body.classList.contains("quiet")) notice(spoken(name), 1.5);
  try {
    await app.predictor.setLook(name, fade);
  } catch (error) {
    notice(error.message);
  }
}

function stepLook(by) {
  if (!app.looks.length) return;
  const now = app.looks.findIndex(({ name }) => name === app.look);
  const next = now < 0 ? 0 : (now + by + app.looks.length) % app.looks.length;
  chooseLook(app.looks[next].name);
}

async function addPhoto(file) {
  if (!app.model) return notice("Looks can be added once the predictor is there.");
  notice("Taking the light of this photo…", 0);
  try {
    const look = await app.predictor.addLook(file);
    app.looks = [look, ...app.looks.filter(({ name }) => name !== look.name)];
    app.look = look.name;
    showLooks();
    await chooseLook(look.name);
    notice(`New look: ${spoken(look.name)}`);
  } catch (error) {
    notice(error.message, 8);
  }
}

function takeFile(file) {
  if (file?.type.startsWith("video/")) openSource(() => app.source.openClip(file));
  else if (file?.type.startsWith("image/")) addPhoto(file);
  else if (file) notice("Neither a photo nor a clip.");
}

// ---- settings: each is a property of the renderer and an input of the page

const RANGES = {
  strength: (value) => `${Math.round(value * 100)} %`,
  shift: (value) => `${value} px`,
  k1: (value) => value.toFixed(2),
  k2: (value) => value.toFixed(2),
};
const SWITCHES = ["mirror", "whole", "stereo", "barrel"];

function set(name, value) {
  app.renderer[name] = value;
  stale = true;
  if (name in RANGES) {
    at(name).value = value;
    document.querySelector(`output[for=${name}]`).textContent = RANGES[name](value);
  } else if (name === "split") {
    at("split").hidden = !value;
    at("split").style.left = `${value * 100}%`;
    at("split").ariaValueNow = String(Math.round(value * 100));
    at("splitting").ariaPressed = String(value > 0);
  } else {
    at(name).checked = value;
  }
  if (name === "stereo") {
    document.body.classList.toggle("stereo", value);
    wake();
  }
}

const flip = (name) => set(name, !app.renderer[name]);
const within = (low, value, high) => Math.min(high, Math.max(low, value));
const stepStrength = (by) => set("strength", within(0, Math.round((app.renderer.strength + by) * 20) / 20, 2));
const flipSplit = () => set("split", app.renderer.split ? 0 : 0.5);

function showNumbers(on) {
  at("numbers").hidden = !on;
  at("showing").checked = on;
}

function readAddress() {
  for (const name of [...Object.keys(RANGES), "split"]) {
    const value = asked.has(name) ? Number(asked.get(name)) : NaN;
    set(name, Number.isFinite(value) ? value : app.renderer[name]);
  }
  for (const name of SWITCHES) set(name, asked.get(name) === "1");
  showNumbers(asked.get("numbers") === "1");
  if (asked.get("controls") === "0") document.body.classList.add("quiet");
}

// ---- sources

async function openSource(open) {
  sourceTrouble = "";
  say();
  try {
    await open();
  } catch (error) {
    sourceTrouble = error.message;
    say();
  }
  listCameras();
}

const openCamera = (id = "") => openSource(() => app.source.openCamera(id));

async function listCameras() {
  const cameras = await app.source.cameras();
  const options = cameras.map(({ id, label }, k) => new Option(label || `Camera ${k + 1}`, id));
  if (!app.source.camera) options.unshift(new Option(cameras.length ? "None" : "No camera", "", true, true));
  at("camera").replaceChildren(...options);
  at("camera").value = app.source.camera;
  at("camera").disabled = !cameras.length;
}

// ---- hands and keys

function rest() {
  if (!sourceTrouble && !document.querySelector("dialog[open]")) document.body.classList.add("quiet");
}

// In side-by-side the controls would hang before one eye: they go by themselves.
function wake() {
  clearTimeout(wake.timer);
  if (app.renderer?.stereo) wake.timer = setTimeout(rest, REST);
}

function dragSplit() {
  const handle = at("split");
  const move = (event) => set("split", within(0.02, event.clientX / at("ui").clientWidth, 0.98));
  handle.onpointerdown = (event) => {
    handle.setPointerCapture(event.pointerId);
    handle.onpointermove = move;
  };
  handle.onpointerup = handle.onpointercancel = () => (handle.onpointermove = null);
  handle.onkeydown = (event) => {
    const by = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
    if (!by) return;
    event.stopPropagation();
    event.preventDefault();
    set("split", within(0.02, app.renderer.split + by, 0.98));
  };
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.({ navigationUI: "hide" }).catch((error) => notice(error.message));
}

const open = (id) => document.querySelector("dialog[open]") ?? at(id).showModal();

const KEYS = [
  [["n", "ArrowRight"], "n →", "next look", () => stepLook(1)],
  [["p", "ArrowLeft"], "p ←", "previous look", () => stepLook(-1)],
  [["+", "=", "ArrowUp"], "+ ↑", "stronger", () => stepStrength(0.05)],
  [["-", "ArrowDown"], "− ↓", "weaker", () => stepStrength(-0.05)],
  [["s"], "s", "split: left as it is, right restyled", flipSplit],
  [["m"], "m", "mirror", () => flip("mirror")],
  [["w"], "w", "all of the frame, or fill the screen", () => flip("whole")],
  [["g"], "g", "side by side, for glasses", () => flip("stereo")],
  [["b"], "b", "correct the lenses", () => flip("barrel")],
  [["f"], "f", "full screen", fullScreen],
  [["i"], "i", "frame rate and delays", () => showNumbers(at("numbers").hidden)],
  [["h"], "h", "hide or show the controls", () => document.body.classList.toggle("quiet")],
  [["o"], "o", "a look from a photo", () => at("photos").click()],
  [["v"], "v", "play a clip", () => at("clips").click()],
  [["c"], "c", "cameras and settings", () => open("settings")],
  [["?"], "?", "these keys", () => open("keys")],
];

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const arrow = event.key.startsWith("Arrow");
  if (arrow && event.target.matches("input, select")) return; // theirs
  const found = KEYS.find(([keys]) => keys.includes(arrow ? event.key : event.key.toLowerCase()));
  if (!found) return;
  event.preventDefault();
  found[3]();
}

function listKeys() {
  at("keys").querySelector("dl").append(...KEYS.flatMap(([, shown, what]) => {
    const key = document.createElement("dt"), meaning = document.createElement("dd");
    for (const name of shown.split(" ")) {
      key.append(Object.assign(document.createElement("kbd"), { textContent: name }), " ");
    }
    meaning.textContent = what;
    return [key, meaning];
  }));
}

function takeDrops() {
  const over = (on) => (event) => {
    event.preventDefault();
    at("drop").hidden = !on;
  };
  window.addEventListener("dragover", over(true));
  window.addEventListener("dragleave", (event) => event.relatedTarget ?? over(false)(event));
  window.addEventListener("drop", (event) => {
    over(false)(event);
    takeFile(event.dataTransfer.files[0]);
  });
  for (const id of ["clips", "photos"]) {
    at(id).onchange = () => {
      takeFile(at(id).files[0]);
      at(id).value = "";
    };
  }
}

function connectControls() {
  for (const name of Object.keys(RANGES)) at(name).oninput = () => set(name, at(name).valueAsNumber);
  for (const name of SWITCHES) at(name).onchange = () => set(name, at(name).checked);
  at("showing").onchange = () => showNumbers(at("showing").checked);
  at("splitting").onclick = flipSplit;
  at("full").onclick = fullScreen;
  at("full").hidden = !document.fullscreenEnabled;
  document.addEventListener("fullscreenchange", () => {
    at("full").ariaPressed = String(document.fullscreenElement !== null);
  });
  at("more").onclick = () => open("settings");
  at("help").onclick = () => {
    at("settings").close();
    open("keys");
  };
  for (const button of document.querySelectorAll(".close")) button.onclick = () => button.closest("dialog").close();
  const dialogs = document.querySelectorAll("dialog");
  for (const dialog of dialogs) dialog.onclick = (event) => event.target === dialog && dialog.close();
  at("camera").onchange = () => at("camera").value && openCamera(at("camera").value);
  at("retry").onclick = () => openCamera();
  at("clip").onclick = at("other").onclick = () => at("clips").click();
  at("photo").onclick = () => at("photos").click();
  app.renderer.canvas.onclick = () => document.body.classList.toggle("quiet");
  window.addEventListener("keydown", onKey);
  for (const kind of ["pointermove", "pointerdown", "keydown"]) window.addEventListener(kind, wake, { passive: true });
}

// ---- start

async function keepAwake() {
  if (document.visibilityState !== "visible") return;
  await navigator.wakeLock?.request("screen").catch(() => {}); // a low battery may refuse: then the screen may sleep
}

async function makePredictor() {
  if (document.querySelector('meta[name="hueglass"][content="local"]')) {
    const { LocalPredictor } = await import("./local_predictor.js");
    return new LocalPredictor(new URL(".", document.baseURI).href);
  }
  const { ServerPredictor } = await import("./server_predictor.js");
  return new ServerPredictor(new URL(".", document.baseURI).href);
}

async function startPredictor() {
  const predictor = await makePredictor();
  const tell = (message) => {
    trouble = message;
    say();
  };
  predictor.onGrid = takeGrid;
  predictor.onTrouble = tell;
  try {
    const model = await predictor.start();
    Object.assign(app, { predictor, model, looks: model.looks });
  } catch (error) {
    predictor.close();
    tell(error.message);
    setTimeout(startPredictor, AGAIN);
    return;
  }
  tell("");
  const wanted = byName(asked.get("look")) ?? byName(app.look) ?? app.looks[0];
  if (asked.has("look") && !byName(asked.get("look"))) notice(`There is no look named ${asked.get("look")}.`);
  showLooks();
  if (wanted) chooseLook(wanted.name, 0);
}

function start() {
  try {
    app.renderer = new Renderer(at("picture"));
  } catch (error) {
    trouble = error.message;
    at("controls").hidden = true;
    return say();
  }
  app.renderer.onRestored = () => ([fresh, stale] = [true, true]);
  app.source = new Source(at("video"));
  app.source.onEnd = () => {
    sourceTrouble = "The camera is gone. Connect it again, or choose a clip.";
    say();
    listCameras();
  };
  app.source.onCameras = listCameras;
  readAddress();
  showLooks();
  connectControls();
  dragSplit();
  takeDrops();
  listKeys();
  at("video").onplaying = () => {
    sourceTrouble = "";
    say();
  };
  watchFrames(at("video"));
  countEverySecond();
  requestAnimationFrame(turn);
  keepAwake();
  document.addEventListener("visibilitychange", keepAwake);
  if (asked.has("clip")) openSource(() => app.source.openClip(asked.get("clip")));
  else openCamera();
  startPredictor();
}

start();
