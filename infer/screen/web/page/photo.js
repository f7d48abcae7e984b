// A reference photograph: what its header says, and the thumbnail that the look encoder is given.

import { rounded, sharesOf } from "./smoother.js";

export const MAX_BYTES = 16 << 20;
export const MAX_PIXELS = 50e6;
/** What canvases hold on every browser. */
const MAX_SIDE = 16384;
/** Pixels are read this many at a time, so that memory does not grow with the photograph. */
const BAND = 1 << 20;

/** The photograph in a Blob as {thumbnail: size x size x 3 bytes, preview: a small JPEG}; Error says what is wrong. */
export async function readPhoto(blob, size) {
  if (blob.size > MAX_BYTES) throw new Error(`the photo is larger than ${MAX_BYTES >> 20} MiB`);
  check(imageSize(new Uint8Array(await blob.arrayBuffer())));
  const bitmap = await decoded(blob);
  try {
    check([bitmap.width, bitmap.height]);
    return { thumbnail: thumbnailOf(bitmap, size), preview: await previewOf(bitmap) };
  } finally {
    bitmap.close();
  }
}

function check(sides) {
  if (sides === null) throw new Error("this is no photo that can be read: expected JPEG, PNG or WebP");
  const [width, height] = sides;
  if (!(width > 0 && height > 0) || width * height > MAX_PIXELS || Math.max(width, height) > MAX_SIDE) {
    const most = `${MAX_PIXELS / 1e6} million pixels and sides of ${MAX_SIDE}`;
    throw new Error(`the photo has ${width} x ${height} pixels, expected at most ${most}`);
  }
}

/** Upright, and its numbers as they are: a colour profile is not applied, as `read_image` does not. */
async function decoded(blob) {
  try {
    return await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Error("the photo is cut short or damaged");
  }
}

/** The mean over the exact area of each pixel, on white where it is transparent; a smaller photograph is enlarged. */
export function thumbnailOf(bitmap, size) {
  const [width, height] = [Math.max(bitmap.width, size), Math.max(bitmap.height, size)];
  const rows = Math.min(height, Math.max(1, Math.floor(BAND / width)));
  const context = whiteCanvas(width, rows);
  const [across, down] = [sharesOf(width, size), sharesOf(height, size)];
  const sums = new Float64Array(size * size * 3);
  for (let top = 0; top < height; top += rows) {
    context.fillRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, -top, width, height);
    const { data } = context.getImageData(0, 0, width, rows);
    for (let y = 0; y < Math.min(rows, height - top); y++) {
      const line = averagedLine(data.subarray(4 * width * y, 4 * width * (y + 1)), across, size);
      for (const [row, share] of down[top + y]) {
        line.forEach((value, i) => { sums[3 * size * row + i] += share * value; });
      }
    }
  }
  return Uint8Array.from(sums, rounded);
}

/** A row of RGBA pixels as size x 3 means. */
function averagedLine(pixels, across, size) {
  const line = new Float64Array(3 * size);
  for (let x = 0; x < across.length; x++) {
    for (const [column, share] of across[x]) {
      for (let c = 0; c < 3; c++) line[3 * column + c] += share * pixels[4 * x + c];
    }
  }
  return line;
}

async function previewOf(bitmap) {
  const scale = Math.min(1, 320 / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const context = whiteCanvas(width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return context.canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
}

function whiteCanvas(width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (context === null) throw new Error("this browser gives no memory for the photo");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  return context;
}

/** [width, height] as the header of a JPEG, PNG or WebP file says, before a pixel is decoded; null if it is none. */
export function imageSize(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (at, length) => String.fromCharCode(...bytes.subarray(at, at + length));
  try {
    if (view.getUint16(0) === 0xffd8) return jpegSize(view);
    if (text(0, 8) === "\x89PNG\r\n\x1a\n") return [view.getUint32(16), view.getUint32(20)];
    if (text(0, 4) === "RIFF" && text(8, 4) === "WEBP") return webpSize(view, text(12, 4));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // cut short
  }
  return null;
}

/** That of the start of frame (markers C0 to CF but C4, C8, CC), behind any number of other segments. */
function jpegSize(view) {
  let at = 2;
  for (;;) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff) {
      at += 1; // filling
    } else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return [view.getUint16(at + 7), view.getUint16(at + 5)];
    } else {
      at += 2 + view.getUint16(at + 2);
    }
  }
}

function webpSize(view, chunk) {
  if (chunk === "VP8X") {
    const three = (at) => 1 + view.getUint16(at, true) + 65536 * view.getUint8(at + 2);
    return [three(24), three(27)];
  }
  if (chunk === "VP8L") {
    const bits = view.getUint32(21, true);
    return [1 + (bits & 0x3fff), 1 + ((bits >>> 14) & 0x3fff)];
  }
  return chunk === "VP8 " ? [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff] : null;
}
