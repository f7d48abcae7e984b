// Slices video frames through the newest grid, at full size, in WebGL2.
//
// The contract is infer/grid/bilateral.py: a grid of 3x4 matrices is, row by row, three LINEAR, CLAMP_TO_EDGE 3-D textures,
// so the hardware's trilinear filter is the slice. Nothing here converts colours: what the frame holds is what is
// multiplied.

const VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }`;

const SLICE = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp sampler3D;
uniform sampler2D frame;
uniform sampler3D red, green, blue;  // rows of the matrices
uniform float height;                // of the canvas
uniform vec4 place;                  // left, top, width, height of the whole frame on the canvas, in pixels
uniform vec3 lens;                   // centre of the lens and the radius that k1 and k2 are for, in pixels
uniform vec2 barrel;                 // k1, k2
uniform bool mirror;
uniform float strength;              // 0: the frame as it is
uniform float split;                 // left of this pixel the frame is as it is
out vec4 color;

void main() {
  vec2 at = vec2(gl_FragCoord.x, height - gl_FragCoord.y);
  bool styled = strength != 0.0 && at.x >= split;
  vec2 away = at - lens.xy;
  float r2 = dot(away, away) / (lens.z * lens.z);
  at += away * (r2 * (barrel.x + barrel.y * r2));
  vec2 uv = (at - place.xy) / place.zw;
  color = vec4(0.0, 0.0, 0.0, 1.0);
  if (any(lessThan(uv, vec2(0.0))) || any(greaterThan(uv, vec2(1.0)))) return;
  if (mirror) uv.x = 1.0 - uv.x;
  vec3 c = textureLod(frame, uv, 0.0).rgb;
  if (styled) {
    vec3 cell = vec3(uv, dot(c, vec3(0.299, 0.587, 0.114)));
    vec4 one = vec4(c, 1.0);
    vec3 look = vec3(dot(textureLod(red, cell, 0.0), one), dot(textureLod(green, cell, 0.0), one),
                     dot(textureLod(blue, cell, 0.0), one));
    c += strength * (look - c);
  }
  color.rgb = clamp(c, 0.0, 1.0);
}`;

// The network is to see thumbnails as it saw them in training: the mean over the exact area, bilinear where it grows.
const SHRINK = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
uniform sampler2D frame;
uniform float side;
out vec4 color;

void main() {
  vec2 size = vec2(textureSize(frame, 0));
  if (min(size.x, size.y) <= side) { color = textureLod(frame, gl_FragCoord.xy / side, 0.0); return; }
  vec2 cell = size / side, from = (gl_FragCoord.xy - 0.5) * cell, to = from + cell;
  ivec2 last = ivec2(size) - 1;
  vec3 sum = vec3(0.0);
  for (int y = int(from.y); y <= min(int(to.y), last.y); y++)
    for (int x = int(from.x); x <= min(int(to.x), last.x); x++) {
      vec2 pixel = vec2(x, y), part = max(min(to, pixel + 1.0) - max(from, pixel), 0.0);
      sum += part.x * part.y * texelFetch(frame, ivec2(x, y), 0).rgb;
    }
  color = vec4(sum / (cell.x * cell.y), 1.0);
}`;

export class Renderer {
  strength = 1;      // 0 as it is, 1 the look, up to 2
  split = 0;         // share of the width, from the left, that is left as it is
  mirror = false;
  stereo = false;    // one picture for each eye, side by side
  shift = 0;         // pixels by which each eye's picture moves outwards
  barrel = false;    // bends the picture against the pincushion of a pair of lenses
  k1 = 0.2;
  k2 = 0.1;
  whole = false;     // true: all of the frame, with black bars; false: it fills the screen
  size = null;       // [width, height] of the frame, null before the first
  grid = null;       // {values, shape} of the newest grid, null before the first
  onRestored = () => {};  // the graphics driver was reset: a frame has to be given again

  // Throws an Error that says in plain words what is missing.
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", {
      alpha: false, antialias: false, depth: false, stencil: false, preserveDrawingBuffer: false,
      powerPreference: "high-performance",
    });
    if (!this.gl) {
      throw new Error("This browser has no WebGL2, which draws the picture. "
        + "Use a newer browser, or turn on hardware acceleration in its settings.");
    }
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => this.#restore());
    this.#build();
  }

  // A picture or video, uploaded as it is.
  setFrame(source) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.frame);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, source);
    this.size = [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  }

  // `values`: Uint16Array of half floats in C order; `shape`: [depth, height, width, 12].
  setGrid(values, shape) {
    const { gl } = this;
    const [depth, height, width] = shape;
    const cells = depth * height * width;
    if (values.length !== cells * 12) throw new Error(`a grid of ${values.length} numbers, expected ${cells * 12}`);
    this.grid = { values, shape };
    const row = new Uint16Array(cells * 4);
    this.rows.forEach((texture, k) => {
      for (let cell = 0; cell < cells; cell++) {
        const from = cell * 12 + k * 4;
        row[cell * 4] = values[from];
        row[cell * 4 + 1] = values[from + 1];
        row[cell * 4 + 2] = values[from + 2];
        row[cell * 4 + 3] = values[from + 3];
      }
      gl.activeTexture(gl.TEXTURE1 + k);
      gl.bindTexture(gl.TEXTURE_3D, texture);
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.RGBA16F, width, height, depth, 0, gl.RGBA, gl.HALF_FLOAT, row);
    });
  }

  // Gives the canvas that many pixels; true if it had others.
  resize(width, height) {
    if (this.canvas.width === width && this.canvas.height === height) return false;
    this.canvas.width = width;
    this.canvas.height = height;
    return true;
  }

  draw() {
    const { gl, canvas } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.size) return;
    gl.useProgram(this.slice.program);
    for (const eye of this.#eyes()) this.#drawEye(eye);
  }

  #eyes() {
    const { width } = this.canvas;
    if (!this.stereo) return [{ left: 0, width, shift: 0 }];
    const half = width >> 1;
    return [{ left: 0, width: half, shift: -this.shift }, { left: width - half, width: half, shift: this.shift }];
  }

  #drawEye(eye) {
    const { gl, canvas, slice } = this;
    const [width, height] = this.size;
    const across = eye.width / width, down = canvas.height / height;
    const scale = this.whole ? Math.min(across, down) : Math.max(across, down);
    const left = eye.left + Math.round((eye.width - width * scale) / 2) + eye.shift;
    const top = Math.round((canvas.height - height * scale) / 2);
    // Pixel for pixel nothing is interpolated, so that what is to stay as it is does so exactly.
    this.#filter(scale === 1 && !this.barrel && Number.isInteger(eye.shift) ? gl.NEAREST : gl.LINEAR);
    gl.viewport(eye.left, 0, eye.width, canvas.height);
    gl.uniform1f(slice.height, canvas.height);
    gl.uniform4f(slice.place, left, top, width * scale, height * scale);
    const radius = Math.min(eye.width, canvas.height) / 2;
    gl.uniform3f(slice.lens, eye.left + eye.width / 2 + eye.shift, canvas.height / 2, radius);
    gl.uniform2f(slice.barrel, this.barrel ? this.k1 : 0, this.barrel ? this.k2 : 0);
    gl.uniform1i(slice.mirror, this.mirror);
    gl.uniform1f(slice.strength, this.grid ? this.strength : 0);
    gl.uniform1f(slice.split, eye.left + this.split * eye.width);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  // Starts to read the frame at `side` x `side`; takeThumbnail has it a little later, so that nothing waits
  // for the GPU.
  startThumbnail(side) {
    const { gl, shrink, small } = this;
    if (this.reading || !this.size || gl.isContextLost()) return false;
    if (small.side !== side) {
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, small.texture);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, side, side, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, small.buffer);
      gl.bufferData(gl.PIXEL_PACK_BUFFER, side * side * 4, gl.STREAM_READ);
      small.side = side;
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, small.framebuffer);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.frame);
    this.#filter(gl.LINEAR);
    gl.useProgram(shrink.program);
    gl.viewport(0, 0, side, side);
    gl.uniform1f(shrink.side, side);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, small.buffer);
    gl.readPixels(0, 0, side, side, gl.RGBA, gl.UNSIGNED_BYTE, 0);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    this.reading = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    return true;
  }

  // The thumbnail that was started, as RGB bytes from the top row down; null while it is not there yet.
  takeThumbnail() {
    const { gl, small } = this;
    if (!this.reading || gl.isContextLost()) return null;
    if (gl.getSyncParameter(this.reading, gl.SYNC_STATUS) !== gl.SIGNALED) return null;
    gl.deleteSync(this.reading);
    this.reading = null;
    const pixels = new Uint8Array(small.side * small.side * 4);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, small.buffer);
    gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, pixels);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    const rgb = new Uint8Array(small.side * small.side * 3);
    for (let from = 0, to = 0; from < pixels.length; from += 4) {
      rgb[to++] = pixels[from];
      rgb[to++] = pixels[from + 1];
      rgb[to++] = pixels[from + 2];
    }
    return rgb;
  }

  // Draws, and returns what the canvas holds as {width, height, pixels}: RGBA bytes from the top row down. In one task,
  // because the browser may clear a canvas once it was shown.
  readPixels() {
    const { gl } = this;
    const { width, height } = this.canvas;
    this.draw();
    const upwards = new Uint8Array(width * height * 4);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, upwards);
    const pixels = new Uint8Array(upwards.length);
    for (let y = 0; y < height; y++) {
      pixels.set(upwards.subarray((height - 1 - y) * width * 4, (height - y) * width * 4), y * width * 4);
    }
    return { width, height, pixels };
  }

  #build() {
    const { gl } = this;
    gl.disable(gl.DITHER);
    gl.clearColor(0, 0, 0, 1);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, false);
    const uniforms = ["height", "place", "lens", "barrel", "mirror", "strength", "split"];
    this.slice = this.#program(SLICE, uniforms, ["frame", "red", "green", "blue"]);
    this.shrink = this.#program(SHRINK, ["side"], ["frame"]);
    this.rows = [0, 1, 2].map((k) => this.#texture(gl.TEXTURE1 + k, gl.TEXTURE_3D));
    this.frame = this.#texture(gl.TEXTURE0, gl.TEXTURE_2D);
    const texture = this.#texture(gl.TEXTURE0, gl.TEXTURE_2D);
    this.small = { texture, framebuffer: gl.createFramebuffer(), buffer: gl.createBuffer(), side: 0 };
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.small.framebuffer);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.small.texture, 0);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    this.reading = null;
  }

  // {program, and the place of each uniform}; samplers[i] reads texture unit i.
  #program(fragment, uniforms, samplers) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
      const log = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader)).join(" ");
      throw new Error(`This device's graphics driver refuses the picture's program: ${log}`);
    }
    gl.useProgram(program);
    samplers.forEach((name, unit) => gl.uniform1i(gl.getUniformLocation(program, name), unit));
    return { program, ...Object.fromEntries(uniforms.map((name) => [name, gl.getUniformLocation(program, name)])) };
  }

  #texture(unit, target) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.activeTexture(unit);
    gl.bindTexture(target, texture);
    gl.texParameteri(target, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    gl.texParameteri(target, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
    for (const axis of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) {
      gl.texParameteri(target, axis, gl.CLAMP_TO_EDGE);
    }
    return texture;
  }

  #filter(way) {
    const { gl } = this;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.frame);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, way);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, way);
  }

  #restore() {
    this.size = null;
    this.#build();
    if (this.grid) this.setGrid(this.grid.values, this.grid.shape);
    this.onRestored();
  }
}
