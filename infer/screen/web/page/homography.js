// Homographies of places in [-1, 1], row after row in an array of nine, and maps seen through them or at another size.
// Maps are square and lie one after another in a Float32Array.

import { sharesOf } from "./smoother.js";

export const IDENTITY = [1, 0, 0, 0, 1, 0, 0, 0, 1];

export function product(a, b) {
  return a.map((_, i) => [0, 1, 2].reduce((sum, k) => sum + a[3 * Math.floor(i / 3) + k] * b[3 * k + (i % 3)], 0));
}

/** By its cofactors. */
export function inverse(m) {
  const cofactor = (i, j) => {
    const at = (r, c) => m[3 * ((i + r) % 3) + ((j + c) % 3)];
    return at(1, 1) * at(2, 2) - at(1, 2) * at(2, 1);
  };
  const determinant = m[0] * cofactor(0, 0) + m[1] * cofactor(0, 1) + m[2] * cofactor(0, 2);
  return m.map((_, i) => cofactor(i % 3, Math.floor(i / 3)) / determinant);
}

/**
 * Maps, `side` wide, moved by a homography, `size` wide, bilinear; outside of them is 0
 * or, if they are `replicated`, what lies at their border.
 */
export function warped(maps, side, matrix, size, replicated = false) {
  const [pixels, count] = [side * side, maps.length / (side * side)];
  const [a, b, c, d, e, f, g, h, i] = inverse(matrix);
  const moved = new Float32Array(count * size * size);
  const inside = (value) => (replicated ? Math.min(Math.max(value, 0), side - 1) : value);
  for (let p = 0; p < size * size; p++) {
    const [u, v] = [(((p % size) + 0.5) * 2) / size - 1, ((Math.floor(p / size) + 0.5) * 2) / size - 1];
    const depth = g * u + h * v + i;
    const x = inside((((a * u + b * v + c) / depth + 1) * side) / 2 - 0.5);
    const y = inside((((d * u + e * v + f) / depth + 1) * side) / 2 - 0.5);
    const [left, top] = [Math.floor(x), Math.floor(y)];
    if (!(left >= -1 && left < side && top >= -1 && top < side)) continue;
    for (const [row, down] of [[top, 1 - y + top], [top + 1, y - top]]) {
      if (row < 0 || row >= side || down === 0) continue;
      for (const [column, right] of [[left, 1 - x + left], [left + 1, x - left]]) {
        if (column < 0 || column >= side || right === 0) continue;
        const at = row * side + column;
        for (let k = 0; k < count; k++) moved[k * size * size + p] += down * right * maps[k * pixels + at];
      }
    }
  }
  return moved;
}

/** Maps, `side` wide, at another size: means over the area of each pixel, or between pixels where it is larger. */
export function resized(maps, side, size) {
  if (size >= side) return size === side ? maps : warped(maps, side, IDENTITY, size, true);
  const shares = sharesOf(side, size);
  const [from, to] = [side * side, size * size];
  const found = new Float32Array((maps.length / from) * to);
  for (let k = 0; k < maps.length / from; k++) {
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const value = maps[k * from + y * side + x];
        for (const [row, high] of shares[y]) {
          for (const [column, wide] of shares[x]) found[k * to + row * size + column] += high * wide * value;
        }
      }
    }
  }
  return found;
}
