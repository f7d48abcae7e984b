// Where frames come from: a camera, or a clip where there is none.
//
// A camera is chosen by what was remembered, by its label, or as `environment`: never by opening one after the other,
// since opening the wrong one has hung headsets.

const REMEMBERED = "hueglass camera"; // {id, label} in localStorage
const WAITS = "The browser plays nothing before it is touched. Tap the picture.";
const UNKNOWN = "The browser cannot play this clip. MP4 (H.264) and WebM work nearly everywhere.";
const OUTWARD = /\b(back|rear|environment|world|outward|passthrough|external)\b/i;
const INWARD = /\b(front|user|face|inward|eye)\b/i;

// What keeps every camera from being used, in plain words; "" if nothing does.
export function missing() {
  if (!window.isSecureContext) {
    return "Cameras need a secure connection. Open this page by its https:// address, "
      + "or on the computer itself as http://localhost.";
  }
  if (!navigator.mediaDevices?.getUserMedia) {
    return "This browser gives pages no camera. Use a newer browser, or choose a clip.";
  }
  return "";
}

// An error of getUserMedia in plain words.
export function explain(error) {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The camera is not allowed. Allow it for this page in the browser "
        + "(the camera sign beside the address), then try again.";
    case "NotFoundError":
      return "No camera was found. Connect one, or choose a clip.";
    case "OverconstrainedError":
      return "That camera is not there any more. Choose another one, or a clip.";
    case "NotReadableError":
    case "AbortError":
      return "The camera does not start. Another program may be using it: close that one, then try again.";
    default:
      return `The camera does not start: ${error.message}`;
  }
}

// The camera to open of those that the browser names: remembered, else one that looks outwards; null if no label tells.
export function choose(cameras, remembered) {
  return cameras.find(({ deviceId }) => deviceId && deviceId === remembered?.id)
    ?? cameras.find(({ label }) => label && label === remembered?.label)
    ?? cameras.find(({ label }) => OUTWARD.test(label) && !INWARD.test(label))
    ?? null;
}

export class Source {
  onEnd = () => {};      // the camera was unplugged, or taken away
  onCameras = () => {};  // cameras came or went

  // Frames appear in `video`, a muted element that plays inline.
  constructor(video) {
    this.video = video;
    this.stream = null;
    this.address = null;
    this.calls = 0;
    navigator.mediaDevices?.addEventListener("devicechange", () => this.onCameras());
  }

  // [{id, label}]; labels are empty until a camera was allowed.
  async cameras() {
    const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    return devices.filter(({ kind }) => kind === "videoinput").map(({ deviceId, label }) => ({ id: deviceId, label }));
  }

  // The id of the camera in use, "" for a clip.
  get camera() {
    return this.stream?.getVideoTracks()[0]?.getSettings().deviceId ?? "";
  }

  // Opens one camera: that of `id`, which is then remembered, or the best known. Throws Errors in plain words.
  async openCamera(id = "") {
    const why = missing();
    if (why) throw new Error(why);
    const call = ++this.calls;
    let stream;
    try {
      const constraints = await this.#constraints(id);
      if (call !== this.calls) return;
      this.#stop(); // many devices refuse a second camera while the first one is open
      stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: constraints });
    } catch (error) {
      throw new Error(explain(error), { cause: error });
    }
    if (call !== this.calls) return stream.getTracks().forEach((track) => track.stop());
    this.stream = stream;
    const [track] = stream.getVideoTracks();
    track.onended = () => this.stream === stream && this.onEnd();
    if (id) remember({ id, label: track.label });
    this.video.srcObject = stream;
    await this.#play();
  }

  // Plays a file or an address, again and again.
  async openClip(clip) {
    this.calls++;
    this.#stop();
    if (clip instanceof Blob) this.address = URL.createObjectURL(clip);
    this.video.src = this.address ?? clip;
    this.video.loop = true;
    await this.#play();
  }

  async #constraints(id) {
    const wanted = { width: { ideal: 1920 }, height: { ideal: 1080 }, frameRate: { ideal: 60 } };
    if (id) return { ...wanted, deviceId: { exact: id } };
    const remembered = recall();
    const devices = await navigator.mediaDevices.enumerateDevices();
    const chosen = choose(devices.filter(({ kind }) => kind === "videoinput"), remembered);
    if (chosen) return { ...wanted, deviceId: { exact: chosen.deviceId } };
    if (remembered?.id) wanted.deviceId = { ideal: remembered.id };
    return { ...wanted, facingMode: { ideal: "environment" } };
  }

  async #play() {
    const { video } = this;
    try {
      await video.play();
    } catch (error) {
      if (error.name === "AbortError") return; // another source took its place
      if (error.name !== "NotAllowedError") throw new Error(UNKNOWN, { cause: error });
      window.addEventListener("pointerdown", () => video.play(), { once: true });
      throw new Error(WAITS, { cause: error });
    }
  }

  #stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = null;
    this.video.srcObject = null;
    this.video.removeAttribute("src");
  }
}

function recall() {
  try {
    return JSON.parse(localStorage.getItem(REMEMBERED));
  } catch {
    return null; // storage is switched off, or holds something else
  }
}

function remember(camera) {
  try {
    localStorage.setItem(REMEMBERED, JSON.stringify(camera));
  } catch {
    // storage is switched off: the camera is chosen anew next time
  }
}
